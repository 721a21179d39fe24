"""What a plot needs of a run, and the step from many seeds to one line with a band."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np
import pandas as pd

from ...core.errors import ScenarioError, unknown
from ..measures import measured
from ..naming import run_names

Array = np.ndarray[Any, Any]

MOST_LINES = 10  # that one picture can tell apart
EXACT = 120.0  # dB: where PSNR ends, at a mean squared error of 1e-12 of the squared range of values

BANDS: Mapping[str, str] = {
    "range": "min to max",
    "std": "± 1 standard deviation",
    "ci": "95 % confidence interval of the mean (t)",
}


class ApproachLike(Protocol):
    """What an attack would have returned after some of its steps: the best so far by its own cost.

    Attributes:
        x: The inputs at each of S steps, in the truth's order.  # [S, B, ...]
        psnr: Their mean PSNR over the batch, dB; NaN where it is not known.  # [S]
        cost: What the attack minimised.  # [S]
        closures: How often the cost and its gradient had been computed.  # [S]
        seconds: CPU seconds of the attack's thread since it began; NaN where they were not kept.  # [S]
    """

    @property
    def x(self) -> Array: ...
    @property
    def psnr(self) -> Array: ...
    @property
    def cost(self) -> Array: ...
    @property
    def closures(self) -> Array: ...
    @property
    def seconds(self) -> Array: ...


class RebuiltLike(Protocol):
    """One client's examples and what an attack made of its message, in the truth's order.

    Attributes:
        settings: The attack's options, and what it was told.
        sok: The SoK's letter of what it was told, A to H; None where that was not kept.
        truth: The examples that the client trained on.  # [B, ...]
        rebuilt: What the attack made of them.  # [B, ...]
        psnr: In dB, ``EXACT`` where exact; NaN where it is not known, and of tokens.  # [B]
        ssim: Up to 1; NaN where the examples are no images.  # [B]
        tokens: Of sequences of tokens, the share of positions that is right; None of others.  # [B]
        oracle: What the attack was told that no attacker in its place could know.
        cpu_seconds: CPU seconds of the attack's thread; None where they were not kept.
        closures: How often it computed its cost and gradient; None where it does not say.
        baselines: By name, what no attack at all would score: means over the batch by score.
        progress: How it came about; None where the attack keeps no steps.
        codec_aware: Whether it took what the codec says of its frames; None of an attack that never does.
    """

    @property
    def attack(self) -> str: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...
    @property
    def round(self) -> int: ...
    @property
    def client_id(self) -> int: ...
    @property
    def sok(self) -> str | None: ...
    @property
    def truth(self) -> Array: ...
    @property
    def rebuilt(self) -> Array: ...
    @property
    def psnr(self) -> Array: ...
    @property
    def ssim(self) -> Array: ...
    @property
    def tokens(self) -> Array | None: ...
    @property
    def oracle(self) -> Sequence[str]: ...
    @property
    def cpu_seconds(self) -> float | None: ...
    @property
    def closures(self) -> float | None: ...
    @property
    def baselines(self) -> Mapping[str, Mapping[str, float | None]]: ...
    @property
    def progress(self) -> ApproachLike | None: ...
    @property
    def codec_aware(self) -> bool | None: ...
    @property
    def truth_labels(self) -> Array: ...
    @property
    def labels(self) -> Array: ...


class RunLike(Protocol):
    """The part of a result folder that plots read.

    Attributes:
        origin: Which of several result folders the run comes from; empty where there is one.
    """

    @property
    def origin(self) -> str: ...
    @property
    def manifest(self) -> Mapping[str, Any]: ...
    @property
    def rounds(self) -> pd.DataFrame: ...
    @property
    def clients(self) -> pd.DataFrame: ...
    @property
    def frames(self) -> pd.DataFrame | None: ...
    @property
    def layers(self) -> pd.DataFrame | None: ...
    @property
    def work(self) -> pd.DataFrame | None: ...
    @property
    def audit(self) -> Mapping[str, Any] | None: ...
    def gallery(self) -> Sequence[RebuiltLike]: ...
    def attacked(self) -> Sequence[RebuiltLike]: ...


def metric_of(runs: Sequence[RunLike]) -> str:
    """Return the column that tells how well the runs do: ``"rmse"`` of regressions, else ``"accuracy"``.

    Of tasks without an accuracy it is the first thing that all of them measure.
    """
    errors = ["rmse" in run.rounds and bool(run.rounds["rmse"].notna().any()) for run in runs]
    if errors and all(errors):
        return "rmse"
    right = any("accuracy" in run.rounds and bool(run.rounds["accuracy"].notna().any()) for run in runs)
    others = [] if right else measured(runs)
    return others[0] if others else "accuracy"


def groups(runs: Sequence[RunLike]) -> dict[str, list[RunLike]]:
    """Return the runs that differ only in their seed, under the name that tells them from the rest.

    See ``naming.run_names``.

    Raises:
        ScenarioError: No run at all, or the same label and seed twice.
    """
    if not runs:
        raise ScenarioError("there is no run to draw: a plot needs at least one result folder")
    names = run_names(runs)
    found: dict[str, list[RunLike]] = {}
    for name, run in zip(names, runs, strict=True):
        found.setdefault(name, []).append(run)
    for name, members in found.items():
        seeds = [run.manifest["seed"] for run in members]
        if len(set(seeds)) < len(seeds):
            raise ScenarioError(
                f"several runs are '{name}' with the same seed (seeds {seeds}); "
                "runs drawn as one line must differ in their seed, other runs in their label"
            )
    return found


def first_labels(runs: Sequence[RunLike], most: int = MOST_LINES) -> tuple[list[RunLike], str]:
    """Return the runs of the first labels, and small print that says so where there are more of them.

    Raises:
        ScenarioError: As ``groups``.
    """
    found = groups(runs)
    shown = [run for label in list(found)[:most] for run in found[label]]
    return shown, left_out(len(found), most)


def left_out(labels: int, most: int = MOST_LINES, what: str = "labels") -> str:
    """Return the small print of a picture that draws the first ``most`` of so many labels; none if all."""
    if labels <= most:
        return ""
    note = f"The first {most} of {labels} {what}; gauntlet plot --only KEY=VALUE draws others."
    if (told := _LEFT_OUT.get()) is not None and note not in told:
        told.append(note)
    return note


_LEFT_OUT: ContextVar[list[str] | None] = ContextVar("what pictures leave out", default=None)


@contextmanager
def noting() -> Iterator[list[str]]:
    """Collect, once each, what pictures that are drawn within say of labels that they leave out."""
    told: list[str] = []
    token = _LEFT_OUT.set(told)
    try:
        yield told
    finally:
        _LEFT_OUT.reset(token)


def check_band(band: str) -> None:
    """Raise ``ScenarioError`` unless ``band`` is one of ``BANDS``."""
    if band not in BANDS:
        raise ScenarioError(unknown("band", band, BANDS))


def over_seeds(
    runs: Sequence[RunLike], values: Sequence[str], needed: Sequence[str] = (), band: str = "range"
) -> pd.DataFrame:
    """Return one row a label and round: each value's mean over seeds, its band, and the number of seeds.

    A round counts only where every seed of the label has it, so that a line never changes its members.

    Args:
        runs: Runs in the order in which their labels shall appear.
        values: Columns of ``rounds``; each gives ``value``, ``value_low`` and ``value_high``.
        needed: Those that a round must have: rounds where one is NaN are left out.
        band: ``"range"`` (least to largest seed), ``"std"`` (mean -+ sample standard deviation) or ``"ci"``
            (mean -+ ``half_width``).

    Raises:
        ScenarioError: As ``groups``; another band; seeds of a label without a common round.
    """
    check_band(band)
    tables = [_one_label(name, members, values, needed, band) for name, members in groups(runs).items()]
    return pd.concat(tables, ignore_index=True)


def _one_label(
    name: str, members: Sequence[RunLike], values: Sequence[str], needed: Sequence[str], band: str
) -> pd.DataFrame:
    parts = [run.rounds[["round", *values]].astype(float).dropna(subset=list(needed)) for run in members]
    by_round = pd.concat(parts).groupby("round", sort=True)
    whole = by_round.size() == len(members)
    if any(len(part) for part in parts) and not whole.any():
        raise ScenarioError(f"the {len(members)} seeds of '{name}' have no round in common")
    table = pd.DataFrame({"label": name, "round": whole.index[whole].astype(int)})
    for value in values:
        mean, low, high = _band(by_round[value], band)
        table[value] = mean[whole].to_numpy()
        table[f"{value}_low"] = low[whole].to_numpy()
        table[f"{value}_high"] = high[whole].to_numpy()
    table["seeds"] = len(members)
    return table


def _band(column: Any, band: str) -> tuple[pd.Series, pd.Series, pd.Series]:
    mean = column.mean()
    if band == "range":
        return mean, column.min(), column.max()
    half = column.std().fillna(0.0) * half_width(band, int(column.size().max()))
    return mean, mean - half, mean + half


def half_width(band: str, seeds: int) -> float:
    """Return half of a band's width, in sample standard deviations of that many seeds.

    Of ``"ci"``: t(0.975, n - 1) / sqrt(n), Student's interval for the mean of n normal values. Of one seed
    nothing is known: 0.
    """
    if band != "ci":
        return 1.0
    from scipy.stats import t

    return float(t.ppf(0.975, seeds - 1)) / seeds**0.5 if seeds > 1 else 0.0


def reach(middle: Any, low: Any, high: Any) -> Array:
    """Return how far a range goes down and up, at least 0: means of equal numbers are rounded.  # [2, N]"""
    return np.maximum([np.subtract(middle, low), np.subtract(high, middle)], 0.0)
