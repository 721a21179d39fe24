"""What a leakage attack rebuilt, read back from a result folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..clients.data.column import Column
from ..core.disk import read_plain
from ..core.errors import DataError, said
from .encoding import decoded
from .plain import read_json

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 2
TIMINGS = "timings.json"
"""What a clock measured, beside a result and apart from it."""


@dataclass(frozen=True)
class Approach:
    """How a reconstruction came about: what an attack would have returned after some of its steps.

    Attributes:
        x: The inputs at each of S steps, in the truth's order.  # [S, B, ...]
        psnr: Their mean PSNR over the batch, dB; NaN of tokens, and where the truth is not known.  # [S]
        cost: What the attack minimised; NaN where it was not finite.  # [S]
        closures: How often the cost and its gradient had been computed.  # [S]
        seconds: CPU seconds of the attack's thread since it began; NaN where they were not kept.  # [S]
    """

    x: np.ndarray[Any, Any]
    psnr: np.ndarray[Any, Any]
    cost: np.ndarray[Any, Any]
    closures: np.ndarray[Any, Any]
    seconds: np.ndarray[Any, Any]


@dataclass(frozen=True)
class Rebuilt:
    """A batch that an attack rebuilt, beside the truth, in the truth's order.

    Attributes:
        attack: The attack's name.
        settings: Its options, and what it was told (``labels_known``).
        round: The observed round.
        client_id: The observed client.
        sok: The SoK's letter of what the attack was told, A to H; None in results of earlier versions.
        truth: What the client trained on; NaN where that is not known (of tokens -1).  # [B, ...]
        rebuilt: What the attack made of its message.  # [B, ...]
        psnr: Peak signal-to-noise ratio of each, in dB; NaN of tokens.  # [B]
        ssim: Structural similarity of each; NaN where the inputs are no images.  # [B]
        truth_labels: True labels; -1 where they are not known.  # [B, ...]
        labels: Rebuilt labels.  # [B, ...]
        tokens: Of tokens, the share of each example's positions that is right; None of others.  # [B]
        mse: Mean squared error of each, values in [0, 1]; NaN of tokens.  # [B]
        oracle: What the attack was told that no attacker in its place could know.
        cpu_seconds: CPU seconds of the attack's thread; None where they were not kept.
        closures: How often it computed its cost and gradient; None where it does not say.
        baselines: By name, what no attack at all would score: means over the batch by score.
        progress: How it came about; None where the attack keeps no steps.
        codec_aware: Whether it took what the codec says of its frames; None of an attack that never does.
        contributors: Of how many clients the sum was that it saw; None where it saw one client's message.
        columns: How a table's columns became the inputs; empty where the data are no table.
    """

    attack: str
    settings: Mapping[str, Any]
    round: int
    client_id: int
    sok: str | None
    truth: np.ndarray[Any, Any]
    rebuilt: np.ndarray[Any, Any]
    psnr: np.ndarray[Any, Any]
    ssim: np.ndarray[Any, Any]
    truth_labels: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    tokens: np.ndarray[Any, Any] | None = None
    mse: np.ndarray[Any, Any] | None = None
    oracle: tuple[str, ...] = ()
    cpu_seconds: float | None = None
    closures: float | None = None
    baselines: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    progress: Approach | None = None
    codec_aware: bool | None = None
    contributors: int | None = None
    columns: tuple[Column, ...] = ()

    def table(self) -> "pd.DataFrame | None":
        """Return the true and the rebuilt rows under the names and in the units of the table's columns.

        None where the data are no table. The index is ``example`` and ``row``, ``"true"`` or ``"rebuilt"``;
        cells are words, and a missing number stands as the mean of the training rows.
        """
        import pandas as pd

        made, truth = decoded(self.columns, self.rebuilt), decoded(self.columns, self.truth)
        if made is None or truth is None:
            return None
        both = pd.concat([pd.DataFrame(truth), pd.DataFrame(made)], keys=["true", "rebuilt"])
        whole = both.rename_axis(["row", "example"]).swaplevel()
        return whole.sort_index(level="example", sort_remaining=False, kind="stable")


def _whole(found: Rebuilt) -> Rebuilt:
    """Return what was rebuilt if it has a score and a label for each example.

    Raises:
        ValueError: It has not.
    """
    scores = (found.psnr, found.ssim, *(s for s in (found.tokens, found.mse) if s is not None))
    sizes = {len(found.truth), *(column.size for column in scores)}
    flat = all(column.ndim == 1 for column in scores)
    flat = flat and found.labels.ndim > 0 and found.labels.shape == found.truth_labels.shape
    sizes.add(len(found.labels) if flat else 0)
    if len(sizes) != 1 or not found.truth.size or not flat or found.truth.shape != found.rebuilt.shape:
        raise ValueError("its examples, scores and labels do not fit together")
    _refuse_other_steps(found)
    if not all(isinstance(n, int | float | None) for n in (found.cpu_seconds, found.closures)):
        raise ValueError("its CPU seconds and closures must be numbers")
    if not all(isinstance(table, dict) for table in (found.baselines, *dict(found.baselines).values())):
        raise ValueError("its baselines must be tables of scores")
    if not (
        isinstance(found.attack, str) and isinstance(found.round, int) and isinstance(found.client_id, int)
    ):
        raise ValueError("it does not say which attack, round and client it is of")
    return found


def load_rebuilt(folder: Path, columns: tuple[Column, ...] = ()) -> Rebuilt:
    """Return a saved reconstruction beside its truth; ``columns`` as in ``Rebuilt``.

    Those of schema 1 bear no number; no attack made anything of known labels then.

    Raises:
        DataError: The folder cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        report = read_json(read_plain(folder / "reconstruction.json").decode("utf-8"))
        if not isinstance(report, dict) or report.get("schema", 1) not in (1, SCHEMA):
            raise ValueError(f"no reconstruction of schema 1 or {SCHEMA}")
        tensors = {name: t.numpy() for name, t in load(read_plain(folder / "tensors.safetensors")).items()}
        found = _whole(_rebuilt(report, tensors, times_at(folder / TIMINGS)))
    except (
        OSError,
        SafetensorError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
    ) as error:
        raise DataError(f"{folder} is not a readable reconstruction: {said(error)}") from error
    return replace(found, columns=columns)


def timings_of(path: Path) -> Path:
    """Return where what a clock measured stands beside a result that is one JSON file."""
    return path.with_name(f"{path.stem}.{TIMINGS}")


def _rebuilt(
    report: Mapping[str, Any], tensors: Mapping[str, np.ndarray[Any, Any]], times: Mapping[str, Any]
) -> Rebuilt:
    """Return a reconstruction from what its files hold."""
    x, y, right = tensors["x"], tensors["y"], report.get("token_accuracy")
    if report.get("truth_known", True):
        truth, truth_labels = tensors["truth"], tensors["labels"]
    else:
        truth, truth_labels = np.full(x.shape, np.nan if x.dtype.kind == "f" else -1), np.full(y.shape, -1)
    return Rebuilt(
        attack=report["attack"],
        settings={**report["options"], "labels_known": report.get("labels_known", False)},
        round=report["round"],
        client_id=report["client_id"],
        sok=report.get("sok"),
        truth=truth,
        rebuilt=x,
        psnr=_column(report["psnr"]),
        ssim=_column(report["ssim"]),
        truth_labels=truth_labels,
        labels=y,
        tokens=_column(right) if right else None,
        mse=_column(report["mse"]) if "mse" in report else None,
        oracle=tuple(report.get("oracle", ())),
        cpu_seconds=times.get("cpu_seconds"),
        closures=report.get("closures"),
        baselines=report.get("baselines", {}),
        codec_aware=report.get("codec_aware"),
        contributors=report.get("contributors"),
        progress=_approach(report["progress"], tensors["steps"], times) if "progress" in report else None,
    )


def _approach(figures: Mapping[str, Any], steps: np.ndarray[Any, Any], times: Mapping[str, Any]) -> Approach:
    psnr, cost, closures = (_column(figures[name]) for name in ("psnr", "cost", "closures"))
    return Approach(steps, psnr, cost, closures, _column(times.get("progress", [None] * len(steps))))


def _column(values: Any) -> np.ndarray[Any, Any]:
    """Return numbers, NaN where there is none."""
    return np.array(values, dtype=float)


def times_at(path: Path) -> Mapping[str, Any]:
    """Return what a clock measured; nothing where it was not kept.

    Raises:
        ValueError: The file holds no table.
    """
    found = read_json(read_plain(path).decode("utf-8")) if path.is_file() else {}
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} holds no table")
    return found


def _refuse_other_steps(found: Rebuilt) -> None:
    """Raise ``ValueError`` unless every step has its figures, and inputs of the batch's shape."""
    steps = found.progress
    if steps is None:
        return
    sizes = {column.shape for column in (steps.psnr, steps.cost, steps.closures, steps.seconds)}
    if sizes != {(len(steps.x),)} or steps.x.shape[1:] != found.rebuilt.shape:
        raise ValueError("the steps that led to it do not fit together")
