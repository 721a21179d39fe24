"""Scores of several examples in few numbers: their mean, median, worst and best."""

from collections.abc import Iterable
from typing import Any

import numpy as np

LESS_IS_BETTER = ("mse",)


def spread(values: Iterable[float | None], name: str) -> dict[str, float | None]:
    """Return ``mean``, ``median``, ``worst`` and ``best`` of the scores that are known; None of none.

    Args:
        values: One score an example; None or NaN where it is not known.
        name: What is scored: of ``"mse"`` the least is the best, of others the largest.
    """
    known = np.array([np.nan if value is None else value for value in values], dtype=float)
    known = known[~np.isnan(known)]
    if not known.size:
        return dict.fromkeys(("mean", "median", "worst", "best"))
    low, high = float(known.min()), float(known.max())
    worst, best = (high, low) if name in LESS_IS_BETTER else (low, high)
    return {"mean": float(known.mean()), "median": float(np.median(known)), "worst": worst, "best": best}


def in_words(found: dict[str, Any], form: str, order: Iterable[str] = ("mean", "median", "worst")) -> str:
    """Return ``"24.1, 25.0, 18.2"``; nothing where nothing is known."""
    return ", ".join(format(found[name], form) for name in order) if found["mean"] is not None else ""
