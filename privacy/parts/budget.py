"""The options that every Gaussian mechanism shares, and their ranges."""

from math import isfinite

LEAST_CLIP = 1e-20
"""Below it float32 would have no numbers left for noise of a part of the clip norm."""


def check_budget(
    clip_norm: float, noise_multiplier: float | None, epsilon: float | None, delta: float | None
) -> None:
    """Check that a bound and exactly one way to set the noise were given.

    Either ``noise_multiplier`` and ``delta`` (epsilon follows), or ``epsilon`` and ``delta`` (the noise
    follows, see ``calibration``). ``noise_multiplier = 0`` clips without noise and needs no delta.

    Raises:
        ValueError: A value out of its range, or another combination.
    """
    if not (isfinite(clip_norm) and clip_norm >= LEAST_CLIP):
        raise ValueError(f"clip_norm must be finite and at least {LEAST_CLIP:g}, got {clip_norm}")
    if noise_multiplier is not None and not (isfinite(noise_multiplier) and noise_multiplier >= 0):
        raise ValueError(f"noise_multiplier must be finite and at least 0, got {noise_multiplier}")
    if epsilon is not None and not (isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"epsilon must be finite and above 0, got {epsilon}")
    if delta is not None and not 0 < delta < 1:
        raise ValueError(f"delta must be between 0 and 1, both excluded, got {delta}")
    if (noise_multiplier is None) == (epsilon is None) or (delta is None and noise_multiplier != 0):
        given = {"noise_multiplier": noise_multiplier, "epsilon": epsilon, "delta": delta}
        came = " and ".join(name for name, value in given.items() if value is not None) or "none of them"
        raise ValueError(f"give noise_multiplier and delta, or epsilon and delta, got {came}")


def known_multiplier(noise_multiplier: float | None) -> float:
    """Return the noise multiplier, once it is known.

    Raises:
        ValueError: It is to follow from epsilon, and has not been calculated yet.
    """
    if noise_multiplier is None:
        raise ValueError("noise_multiplier is not known yet: calibrate the mechanism to its epsilon first")
    return noise_multiplier


def check_participation(min_separation: int, max_participations: int | None) -> None:
    """Check bounds on how often a client may take part.

    Raises:
        ValueError: A bound below 1.
    """
    for name, value in (("min_separation", min_separation), ("max_participations", max_participations)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def check_shares(relation: str, bits: int, beta: float, k_stddevs: float, max_dropouts: int) -> None:
    """Check the options that integer mechanisms share.

    Raises:
        ValueError: A value out of its range.
    """
    if relation not in ("zero_out", "replace_one"):
        raise ValueError(
            f"relation must be one of zero_out, replace_one, got {relation!r}: whoever stays away adds no "
            "share of the noise, which its size tells"
        )
    if not 2 <= bits <= 40:
        raise ValueError(f"bits must be between 2 and 40, got {bits}")
    if not 0 <= beta < 1:
        raise ValueError(f"beta must be at least 0 and below 1, got {beta}")
    if not (isfinite(k_stddevs) and k_stddevs > 0):
        raise ValueError(f"k_stddevs must be finite and above 0, got {k_stddevs}")
    if max_dropouts < 0:
        raise ValueError(f"max_dropouts must be at least 0, got {max_dropouts}")
