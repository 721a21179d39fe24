"""The presets of MUD-HoG, and which options it takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .history import DTYPES

Preset = Literal["paper", "released_code", "robust", "general"]
NoiseTest = Literal["scatter", "jitter"]
Gate = Literal["none", "separation", "silhouette"]


@dataclass(frozen=True)
class Settings:
    """The options that presets differ in."""

    judgement: str = "counters"
    history: str = "moving"
    noise_test: str = "scatter"
    eps_mode: str = "relative"
    eps_factor: float = 0.7
    gap_anchor: bool = False
    flip_coherence: float = 0.0
    targeted_gate: str = "none"
    unreliable_minority: bool = False
    unreliable_weight: float = 0.5


PRESETS: Mapping[str | None, Settings] = {
    None: Settings(),
    "paper": Settings(eps_mode="absolute"),
    "released_code": Settings(history="frozen", eps_mode="absolute", unreliable_weight=1.0),
    "robust": Settings(
        noise_test="jitter",
        eps_factor=1.2,
        gap_anchor=True,
        flip_coherence=0.3,
        targeted_gate="separation",
        unreliable_minority=True,
    ),
    "general": Settings(judgement="tests", noise_test="jitter"),
}
GATE_THRESHOLDS = {"separation": 0.9, "silhouette": 0.125}
CHOICES: Mapping[str, tuple[str | None, ...]] = {
    "preset": tuple(PRESETS),
    "judgement": (None, "counters", "tests"),
    "history": (None, "moving", "frozen"),
    "noise_test": (None, "scatter", "jitter"),
    "eps_mode": (None, "relative", "absolute"),
    "targeted_gate": (None, "none", "separation", "silhouette"),
    "long_norm": ("auto", "sum", "mean"),
    "weighting": ("uniform", "num_examples"),
    "history_dtype": tuple(DTYPES),
}
LEAST = {
    "warmup_rounds": 0,
    "decision_rounds": 1,
    "short_window": 1,
    "min_pts": 1,
    "gate_threshold": 0,
    "kmeans_seed": 0,
    "kmeans_n_init": 1,
    "min_eligible": 1,
    "max_clients": 1,
}


def check(options: Any) -> None:
    """Refuse options out of range.

    Raises:
        ValueError: One is; the message says which, what came and what is allowed.
    """
    for name, allowed in CHOICES.items():
        if getattr(options, name) not in allowed:
            known = ", ".join(str(choice) for choice in allowed if choice is not None)
            raise ValueError(f"{name} must be one of {known}, got '{getattr(options, name)}'")
    for name, least in LEAST.items():
        value = getattr(options, name)
        if value is not None and not least <= value < np.inf:
            raise ValueError(f"{name} must be at least {least} and finite, got {value}")
    if options.settings.noise_test == "jitter" and options.short_window < 2:
        raise ValueError(
            f"short_window must be at least 2 where noise_test is jitter, got {options.short_window}: "
            "one update does not differ from itself"
        )
    for name in ("eps", "eps_factor"):
        reach = getattr(options, name)
        if reach is not None and not 0 < reach < np.inf:
            raise ValueError(f"{name} must be finite and above 0, got {reach}")
    if not 0 < options.level < 1:
        raise ValueError(f"level must be above 0 and below 1, got {options.level}")
    if not 1 <= options.jitter_factor < np.inf:
        raise ValueError(f"jitter_factor must be finite and at least 1, got {options.jitter_factor}")
    for name in ("flip_coherence", "unreliable_weight", "max_excluded_fraction"):
        share = getattr(options, name)
        if share is not None and not 0 <= share <= 1:
            raise ValueError(f"{name} must be between 0 and 1, got {share}")
