"""What a leakage attack rebuilt, read back from a result folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, said
from .plain import read_json

SCHEMA = 2


@dataclass(frozen=True)
class Rebuilt:
    """A batch that an attack rebuilt, beside the truth, in the truth's order.

    Attributes:
        attack: The attack's name.
        settings: Its options, and what it was told (``labels_known``).
        round: The observed round.
        client_id: The observed client.
        sok: The SoK's letter of what the attack was told, A to H; None in results of earlier versions.
        truth: What the client trained on.  # [B, ...]
        rebuilt: What the attack made of its message.  # [B, ...]
        psnr: Peak signal-to-noise ratio of each, in dB; NaN of tokens.  # [B]
        ssim: Structural similarity of each; NaN where the inputs are no images.  # [B]
        truth_labels: True labels.  # [B, ...]
        labels: Rebuilt labels.  # [B, ...]
        tokens: Of tokens, the share of each example's positions that is right; None of others.  # [B]
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


def _whole(found: Rebuilt) -> Rebuilt:
    """Return what was rebuilt if it has a score and a label for each example.

    Raises:
        ValueError: It has not.
    """
    scores = (found.psnr, found.ssim, *(() if found.tokens is None else (found.tokens,)))
    sizes = {len(found.truth), *(column.size for column in scores)}
    flat = all(column.ndim == 1 for column in scores)
    flat = flat and found.labels.ndim > 0 and found.labels.shape == found.truth_labels.shape
    sizes.add(len(found.labels) if flat else 0)
    if len(sizes) != 1 or not found.truth.size or not flat or found.truth.shape != found.rebuilt.shape:
        raise ValueError("its examples, scores and labels do not fit together")
    if not (
        isinstance(found.attack, str) and isinstance(found.round, int) and isinstance(found.client_id, int)
    ):
        raise ValueError("it does not say which attack, round and client it is of")
    return found


def load_rebuilt(folder: Path) -> Rebuilt:
    """Return a saved reconstruction beside its truth.

    Those of schema 1 bear no number; no attack made anything of known labels then.

    Raises:
        DataError: The folder cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        report = read_json((folder / "reconstruction.json").read_text(encoding="utf-8"))
        if not isinstance(report, dict) or report.get("schema", 1) not in (1, SCHEMA):
            raise ValueError(f"no reconstruction of schema 1 or {SCHEMA}")
        tensors = load_file(folder / "tensors.safetensors")
        return _whole(
            Rebuilt(
                attack=report["attack"],
                settings={**report["options"], "labels_known": report.get("labels_known", False)},
                round=report["round"],
                client_id=report["client_id"],
                sok=report.get("sok"),
                truth=tensors["truth"].numpy(),
                rebuilt=tensors["x"].numpy(),
                psnr=np.array(report["psnr"], dtype=float),
                ssim=np.array(report["ssim"], dtype=float),
                truth_labels=tensors["labels"].numpy(),
                labels=tensors["y"].numpy(),
                tokens=np.array(right, dtype=float) if (right := report.get("token_accuracy")) else None,
            )
        )
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{folder} is not a readable reconstruction: {said(error)}") from error
