"""Result folders as plain data: what a run recorded, without running one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest


@dataclass(frozen=True)
class Recorded:
    manifest: Mapping[str, Any]
    rounds: pd.DataFrame
    clients: pd.DataFrame
    items: Sequence[Any] = ()
    audit: Mapping[str, Any] | None = None
    origin: str = ""
    later: Sequence[Any] = ()
    frames: pd.DataFrame | None = None
    layers: pd.DataFrame | None = None
    work: pd.DataFrame | None = None

    def gallery(self) -> Sequence[Any]:
        return self.items

    def attacked(self) -> Sequence[Any]:
        return self.later


@dataclass(frozen=True)
class Item:
    truth: np.ndarray
    rebuilt: np.ndarray
    psnr: np.ndarray
    ssim: np.ndarray
    truth_labels: np.ndarray
    labels: np.ndarray
    attack: str = "dlg"
    round: int = 0
    client_id: int = 3
    sok: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    tokens: Any = None
    oracle: Sequence[str] = ()
    cpu_seconds: float | None = None
    closures: float | None = None
    baselines: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    progress: Any = None
    codec_aware: bool | None = None


@pytest.fixture
def recorded() -> Callable[..., Recorded]:
    """Make a run: keywords replace columns of its rounds, each a list of one value a round."""

    def make(
        label: str = "",
        seed: int = 0,
        *,
        manifest: Mapping[str, Any] = {},
        clients: pd.DataFrame | None = None,
        items: Sequence[Any] = (),
        audit: Mapping[str, Any] | None = None,
        later: Sequence[Any] = (),
        frames: pd.DataFrame | None = None,
        layers: pd.DataFrame | None = None,
        work: pd.DataFrame | None = None,
        scenario: Mapping[str, Any] = {},
        **columns: Any,
    ) -> Recorded:
        count = max((len(c) for c in columns.values() if isinstance(c, list)), default=1)
        plain = {
            "round": list(range(count)),
            "accuracy": 0.5,
            "loss": 1.0,
            "cohort_size": 2,
            "bytes_up": 200,
            "bytes_down": 800,
            "total_bytes_up": [200 * (t + 1) for t in range(count)],
            "epsilon": None,
            "epsilon_reason": "no_mechanism",
            "delta": None,
            "true_positives": 0,
            "false_positives": 0,
            "false_negatives": 0,
            "precision": np.nan,
            "recall": np.nan,
            "false_positive_rate": np.nan,
        }
        people = {"round": [0, 0], "client_id": [0, 1], "truth": "honest", "flag": None, "update_norm": 1.0}
        return Recorded(
            {
                "scenario": {"name": "tiny", "seed": seed, **scenario},
                "label": label,
                "seed": seed,
                **manifest,
            },
            pd.DataFrame({**plain, **columns}),
            pd.DataFrame(people) if clients is None else clients,
            items,
            audit,
            later=later,
            frames=frames,
            layers=layers,
            work=work,
        )

    return make


@pytest.fixture
def rebuilt() -> Callable[..., Item]:
    """Make a message with true examples and what was rebuilt from it."""

    def make(truth: Any, rebuilt: Any, psnr: Sequence[float], ssim: Sequence[float], **names: Any) -> Item:
        labels = np.arange(len(psnr))
        truth, rebuilt = np.asarray(truth, float), np.asarray(rebuilt, float)
        return Item(truth, rebuilt, np.asarray(psnr), np.asarray(ssim), labels, labels, **names)

    return make
