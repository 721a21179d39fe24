"""What an inference attack said of one client, beside what is true: read back for tables and pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from ..core.disk import read_plain
from ..core.errors import DataError, said
from .plain import LARGEST, read_json
from .rebuilt import TIMINGS


@dataclass(frozen=True)
class Inferred:
    """One attack's answer.

    Attributes:
        attack: Its name.
        options: Its options.
        sok: How much it was told, by the SoK's letters; None where the result does not say.
        oracle: What of it no attacker in its place could know.
        round: The last round that it looked at.
        rounds: How many rounds of the client it took together.
        client_id: Whom it is about.
        members: Candidates on which the client trained; None where it was not asked, or it is not known.
        others: Candidates on which it did not.
        scores: By name what it got right, of those that it was asked for: ``auc``, ``tpr_at_1e-2`` and so on
            (None where there are fewer non-members than that takes), ``label_accuracy``,
            ``existence_accuracy``, ``count_accuracy``, ``property_share`` and ``property_score``.
        contributors: As in ``Rebuilt``.
    """

    attack: str
    options: Mapping[str, Any]
    sok: str | None
    oracle: tuple[str, ...]
    round: int
    rounds: int
    client_id: int
    members: int | None
    others: int | None
    scores: Mapping[str, float | None]
    contributors: int | None = None


_SCORES = ("auc", "label_accuracy", "existence_accuracy", "count_accuracy", "property_share")


def load_inferred(path: Path) -> Inferred:
    """Return a saved answer.

    Raises:
        DataError: The file cannot be read, or holds something else.
    """
    try:
        report = read_json(read_plain(path, LARGEST).decode("utf-8"))
        return _inferred(report)
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise DataError(f"{path} is not a readable inference: {said(error)}") from error


def answers(folder: Path) -> list[Inferred]:
    """Return every answer in a folder of results, in the order of rounds and clients."""
    return [load_inferred(path) for path in sorted(folder.glob("*.json")) if not path.name.endswith(TIMINGS)]


def _inferred(report: Mapping[str, Any]) -> Inferred:
    marks, attack = report.get("members"), report["attack"]
    if not isinstance(attack, str):
        raise TypeError("it does not say which attack it is of")
    scores = {name: _number(report[name]) for name in _SCORES if name in report}
    rates = report.get("tpr_at_fpr") or {}
    scores |= {f"tpr_at_{rate}": _number(value) for rate, value in rates.items()}
    if "property_share" in scores:
        scores["property_score"] = _number(report["scores"][0])
    return Inferred(
        attack,
        dict(report["options"]),
        report.get("sok"),
        tuple(map(str, report.get("oracle") or ())),
        int(report["round"]),
        len(report.get("observations") or [0]),
        int(report["client_id"]),
        None if marks is None else sum(mark == 1 for mark in marks),
        None if marks is None else sum(mark == 0 for mark in marks),
        scores,
        report.get("contributors"),
    )


def _number(value: object) -> float | None:
    """Return a finite number, or None where there is none.

    Raises:
        TypeError: It is something else.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"a score must be a number, got {value!r:.40}")
    return float(value) if isfinite(value) else None
