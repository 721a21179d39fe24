"""The options that every adaptive clipping shares, and their ranges."""

from math import isfinite


def check_step(clip_lr: float, count_noise_std: float | None, clip_min: float, clip_max: float) -> None:
    """Check the step size, the noise on the statistic and the limits of C.

    Raises:
        ValueError: A value out of its range.
    """
    if not (isfinite(clip_lr) and clip_lr > 0):
        raise ValueError(f"clip_lr must be finite and above 0, got {clip_lr}")
    if count_noise_std is not None and not (isfinite(count_noise_std) and count_noise_std >= 0):
        raise ValueError(f"count_noise_std must be finite and at least 0, got {count_noise_std}")
    if not (0 < clip_min <= clip_max and isfinite(clip_max)):
        raise ValueError(
            "clip_min must be above 0 and clip_max finite and no less, "
            f"got clip_min {clip_min} and clip_max {clip_max}"
        )


def within(value: float, low: float, high: float) -> float:
    """Return ``value``, or the nearer end of [low, high] if it lies outside."""
    return min(max(value, low), high)
