"""How much longer an update must be to stand in for the whole cohort's."""

from math import isfinite

from ....core.contracts import View
from ....core.updates import Updates


def check_boost(scale: float | None, server_lr: float) -> None:
    """Raise ``ValueError`` unless the options that boosting attacks share are in range."""
    if scale is not None and not (scale > 0 and isfinite(scale)):
        raise ValueError(f"scale must be finite and above 0, or None, got {scale}")
    if not (server_lr > 0 and isfinite(server_lr)):
        raise ValueError(f"server_lr must be finite and above 0, got {server_lr}")


def boost(own: Updates, view: View, scale: float | None, server_lr: float) -> float:
    """Return gamma: ``scale``, or what lets the attackers' mean update replace a uniform mean."""
    return scale if scale is not None else view.cohort_size / (server_lr * len(own))
