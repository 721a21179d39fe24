"""From a finished round to what it says about attackers and the defense; definitions: robustness literature.

Three things are told apart: who is flagged in a round, who attacks in it, and who has ever attacked, in it or
before. A sleeper is honest until it wakes, and an unreliable client always is. An attacker that pauses is at
rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch

from ..core.declarations import DataAttacks, Defenses, declared
from ..server.mail.outcome import Outcome

if TYPE_CHECKING:
    from ..server.plan import Plan
    from ..server.scoring.evaluation import Score

CLASSES = pa.schema(
    [
        ("round", pa.int64()),
        ("class", pa.int64()),
        ("examples", pa.int64()),
        ("predicted", pa.int64()),
        ("right", pa.int64()),
        ("recall", pa.float64()),
        ("precision", pa.float64()),
        ("f1", pa.float64()),
    ]
)
ATTACKS = pa.schema(
    [
        ("round", pa.int64()),
        ("number", pa.int64()),
        ("attack", pa.string()),
        ("active", pa.bool_()),
        ("examples", pa.int64()),
        ("success_rate", pa.float64()),
        ("recall", pa.float64()),
    ]
)

_BLOCK = 2**20  # elements of a cohort's updates that are looked at together


def class_rows(round_: int, score: Score) -> pa.Table:
    """Return one row a class: recall (its accuracy), precision, F1; null where nothing was to count."""
    rows = [
        {
            "round": round_,
            "class": number,
            "examples": c.examples,
            "predicted": c.predicted,
            "right": c.right,
            "recall": _share(c.right, c.examples),
            "precision": _share(c.right, c.predicted),
            "f1": _share(2 * c.right, c.examples + c.predicted),
        }
        for number, c in enumerate(score.classes)
    ]
    return pa.Table.from_pylist(rows, schema=CLASSES)


def attack_rows(plan: Plan, round_: int, score: Score) -> pa.Table:
    """Return one row for each attack that says what it wants, active or not: so that its traces can fade.

    Attacks of one name are told apart by their numbers, which count those with a goal in the plan's order.
    """
    roles = [r for r in (*plan.poisons, *plan.attacks) if declared(r.attack, DataAttacks.goal) is not None]
    rows = [
        {
            "round": round_,
            "number": number,
            "attack": goal.attack,
            "active": role.active(round_),
            "examples": goal.examples,
            "success_rate": _share(goal.success, goal.examples),
            "recall": _share(goal.recalled, goal.examples),
        }
        for number, (role, goal) in enumerate(zip(roles, score.goals, strict=True))
    ]
    return pa.Table.from_pylist(rows, schema=ATTACKS)


def best_success(score: Score | None) -> float | None:
    """Return the success rate of the attack that came farthest, or None where none has a goal."""
    shares = [_share(goal.success, goal.examples) for goal in score.goals] if score else []
    return max((share for share in shares if share is not None), default=None)


def detection(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    """Score the defense's flags against the truth among the clients that it saw.

    Who attacks in the round is to be found: ``recall`` is the share of them that is flagged. A flag on an
    attacker at rest is right about the client, and no false alarm: ``precision`` is the share of the flagged
    that attack or have attacked, and ``false_positive_rate`` the share flagged of those that never have.
    An unreliable client is honest: a flag on it is a false alarm, unless the flag says unreliable, which is
    a hit in a column of its own. With nothing flagged, precision is 1 if nothing should have been, else
    undefined; recall is 1 with nobody to find.
    """
    bad, kinds = outcome.malicious(plan), outcome.kinds(plan)
    poor = {client for client, kind in kinds.items() if kind == "unreliable"}
    doubted = {i for i, kind in outcome.verdict.flags.items() if kind == "unreliable"}
    seen = {i for i in outcome.received.client_ids.tolist() if i < plan.canaries.first}
    flagged, attacking = seen & (outcome.verdict.flags.keys() - doubted), seen & bad
    ever = seen & (outcome.attacked(plan) | bad)
    hits, alarms = len(flagged & attacking), len(flagged - ever)
    return {
        "flagged": len(flagged),
        "attacking": len(attacking),
        "ever_attacked": len(ever),
        "resting_flagged": len(flagged & ever - attacking),
        "true_positives": hits,
        "false_positives": alarms,
        "false_negatives": len(attacking - flagged),
        "true_negatives": len(seen - ever - flagged),
        "precision": _share(len(flagged & ever), len(flagged)) if flagged or attacking else 1.0,
        "recall": hits / len(attacking) if attacking else 1.0,
        "false_positive_rate": _share(alarms, len(seen - ever)),
        "unreliable_true_positives": len(seen & poor & doubted),
        "unreliable_false_positives": len((seen - poor) & doubted),
        "unreliable_false_negatives": len((seen & poor) - doubted),
    }


def aggregation(plan: Plan, outcome: Outcome) -> dict[str, float | None]:
    """Return how far the aggregate lies from the plain mean of the honest updates that arrived.

    ``aggregate_distance`` (L2) and ``aggregate_cosine`` (0 where either is zero); both None where no honest
    update came, where a linear defense met honest ones only (then they would tell of its weights alone), and
    where the algorithm combines messages that are no updates.
    ``excluded_honest_share``: of the clients that arrived and never attacked, those with weight 0; None where
    there is none, or where clients have no weights of their own, as behind a pre-aggregation that mixes them.
    """
    received, verdict = outcome.received, outcome.verdict
    bad = outcome.malicious(plan)
    honest = np.array([i not in bad for i in received.client_ids.tolist()], dtype=bool)  # [K]
    found: dict[str, float | None] = {
        "aggregate_distance": None,
        "aggregate_cosine": None,
        "excluded_honest_share": None,
    }
    if not honest.any():
        return found
    if verdict.weights is not None and len(verdict.weights) == len(honest):
        ever = outcome.attacked(plan)
        never = honest & np.array([i not in ever for i in received.client_ids.tolist()], dtype=bool)
        if never.any():
            found["excluded_honest_share"] = float((verdict.weights.numpy()[never] == 0).mean())
    if not (plan.combines or (bool(honest.all()) and declared(plan.defense, Defenses.linear))):
        mean = _mean(received.vectors, honest)
        aggregate = verdict.aggregate.double().numpy()
        norms = float(np.linalg.norm(mean)), float(np.linalg.norm(aggregate))
        found["aggregate_distance"] = float(np.linalg.norm(aggregate - mean))
        found["aggregate_cosine"] = (
            float(mean @ aggregate) / (norms[0] * norms[1]) if min(norms) > 1e-12 else 0.0
        )
    return found


def _mean(vectors: torch.Tensor, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the mean of the chosen rows, in float64 and in blocks of columns.  # [P]"""
    matrix = vectors.detach().numpy()
    mean, width = np.empty(matrix.shape[1]), max(1, _BLOCK // len(matrix))
    for start in range(0, matrix.shape[1], width):
        columns = slice(start, start + width)
        mean[columns] = matrix[rows, columns].mean(axis=0, dtype=np.float64)
    return mean


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
