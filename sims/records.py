"""From a finished round to the rows of the result tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from ..core.contracts import Release
from ..core.declarations import Mechanisms, clipped_at, declared
from ..core.errors import PluginError
from ..core.updates import row_norms
from ..server.plan import Plan
from .columns import named, numbers, statuses, weights
from .robustness import aggregation, best_success, detection
from .scores import CANARY

if TYPE_CHECKING:
    from ..server.scoring.evaluation import Score
    from ..server.simulation import Step


ROUNDS = pa.schema(
    [
        ("round", pa.int64()),
        ("accuracy", pa.float64()),
        ("loss", pa.float64()),
        ("rmse", pa.float64()),
        ("mae", pa.float64()),
        ("cohort_size", pa.int64()),
        ("arrived", pa.int64()),
        ("rejected", pa.int64()),
        ("fallback", pa.string()),
        ("train_loss", pa.float64()),
        ("update_norm", pa.float64()),
        ("aggregate_norm", pa.float64()),
        ("bytes_up", pa.int64()),
        ("bytes_down", pa.int64()),
        ("total_bytes_up", pa.int64()),
        ("total_bytes_down", pa.int64()),
        ("virtual_seconds", pa.float64()),
        ("epsilon", pa.float64()),
        ("epsilon_reason", pa.string()),
        ("accountant", pa.string()),
        ("delta", pa.float64()),
        ("noise_multiplier", pa.float64()),
        ("clip_norm", pa.float64()),
        ("trust_model", pa.string()),
        ("unit", pa.string()),
        ("relation", pa.string()),
        ("sampling", pa.string()),
        ("flagged", pa.int64()),
        ("attacking", pa.int64()),
        ("ever_attacked", pa.int64()),
        ("resting_flagged", pa.int64()),
        ("true_positives", pa.int64()),
        ("false_positives", pa.int64()),
        ("false_negatives", pa.int64()),
        ("true_negatives", pa.int64()),
        ("precision", pa.float64()),
        ("recall", pa.float64()),
        ("false_positive_rate", pa.float64()),
        ("unreliable_true_positives", pa.int64()),
        ("unreliable_false_positives", pa.int64()),
        ("unreliable_false_negatives", pa.int64()),
        ("excluded_honest_share", pa.float64()),
        ("aggregate_distance", pa.float64()),
        ("aggregate_cosine", pa.float64()),
        ("attack_success_rate", pa.float64()),
    ]
)
LINK = pa.field("link_seconds", pa.float64())
CLIENTS = pa.schema(
    [
        ("round", pa.int64()),
        ("client_id", pa.int64()),
        ("num_examples", pa.int64()),
        ("train_loss", pa.float64()),
        ("raw_norm", pa.float64()),
        ("update_norm", pa.float64()),
        ("bytes_up", pa.int64()),
        ("weight", pa.float64()),
        ("score", pa.float64()),
        ("truth", pa.string()),
        ("ever_attacked", pa.bool_()),
        ("flag", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("client_seconds", pa.float64()),
    ]
)
SCORES = pa.schema(
    [("round", pa.int64()), ("client_id", pa.int64()), ("name", pa.string()), ("value", pa.float64())]
)
_NO_SCORES = SCORES.empty_table()
OUTPUTS = pa.schema(
    [
        ("round", pa.int64()),
        ("output", pa.string()),
        ("examples", pa.int64()),
        ("rmse", pa.float64()),
        ("mae", pa.float64()),
    ]
)
PERSONAL = pa.schema(
    [
        ("round", pa.int64()),
        ("client_id", pa.int64()),
        ("examples", pa.int64()),
        ("accuracy", pa.float64()),
        ("global_accuracy", pa.float64()),
        ("loss", pa.float64()),
        ("global_loss", pa.float64()),
        ("ever_attacked", pa.bool_()),
    ]
)
CERTIFICATES = pa.schema(
    [
        ("round", pa.int64()),
        ("name", pa.string()),
        ("examples", pa.int64()),
        *((name, pa.float64()) for name in ("mean", "right", "least", "median", "most")),
    ]
)
TIMINGS = pa.schema(
    [
        ("round", pa.int64()),
        ("seconds", pa.float64()),
        ("aggregation_seconds", pa.float64()),
        ("encode_seconds", pa.float64()),
        ("decode_seconds", pa.float64()),
        ("clients_per_second", pa.float64()),
    ]
)


def rounds_schema(metrics: Sequence[str], linked: bool = False) -> pa.Schema:
    """Return the columns of the table of rounds: behind a regression's errors stands what a task measures.

    Of a run with links the last one is how long the bytes of those that began took on them, on average.

    Raises:
        PluginError: A task gives a measure the name of another column, or two measures one name.
    """
    taken = [name for n, name in enumerate(metrics) if name in (*ROUNDS.names, LINK.name, *metrics[:n])]
    if taken:
        raise PluginError(
            f"a task measures '{taken[0]}', which is the name of another column; choose another"
        )
    fields, behind = list(ROUNDS), ROUNDS.names.index("mae") + 1
    last = [LINK] if linked else []
    return pa.schema([*fields[:behind], *((name, pa.float64()) for name in metrics), *fields[behind:], *last])


def rows(plan: Plan, step: Step) -> tuple[dict[str, Any], pa.Table]:
    """Return the round's row, and one row a client of the cohort, in ascending id."""
    return _round_row(plan, step), _client_rows(plan, step)


def score_rows(step: Step, facts: Sequence[str] = ()) -> pa.Table:
    """Return what the defense has to say beyond flag and score: one row a client and name.

    Besides, of a client that began in a round before, how many rounds ago: its ``staleness``; and what each
    client states beside its message, ``fact.`` before the names of the algorithm's ``facts``.
    """
    o = step.outcome
    earlier = ((began, ids) for began, ids in o.starts.items() if began < o.round)
    found = sorted((i, "staleness", float(o.round - began)) for began, ids in earlier for i in ids)
    stated = zip(facts, o.sent.facts.T.tolist(), strict=True)
    found += [
        (i, f"fact.{name}", value)
        for name, column in stated
        for i, value in zip(o.sent.client_ids.tolist(), column, strict=True)
    ]
    found += [
        (i, name, value) for i, named in sorted(o.verdict.details.items()) for name, value in named.items()
    ]
    if not found:
        return _NO_SCORES
    columns = {
        "round": np.full(len(found), o.round),
        "client_id": [i for i, _, _ in found],
        "name": [name for _, name, _ in found],
        "value": [float(value) for _, _, value in found],
    }
    return pa.Table.from_pydict(columns, schema=SCORES)


def output_rows(round_: int, score: Score) -> pa.Table:
    """Return one row an output of a regression; none of a classification."""
    return pa.Table.from_pylist([{"round": round_, **asdict(one)} for one in score.outputs], schema=OUTPUTS)


def certificate_rows(step: Step) -> pa.Table:
    """Return what the defense certifies of the new model: one row a column of its certificate."""
    found = [{"round": step.outcome.round, **asdict(one)} for one in step.certificates]
    return pa.Table.from_pylist(found, schema=CERTIFICATES)


def personal_rows(plan: Plan, step: Step) -> pa.Table:
    """Return how models do on what clients hold out: one row a client, by ascending id."""
    round_, attacked = step.outcome.round, plan.attacked(step.outcome.round)
    found = [
        {"round": round_, **asdict(one), "ever_attacked": one.client_id in attacked} for one in step.personal
    ]
    return pa.Table.from_pylist(found, schema=PERSONAL)


def _client_rows(plan: Plan, step: Step) -> pa.Table:
    o, kinds, attacked = step.outcome, _kinds(plan, step), step.outcome.attacked(plan)
    ids = o.sent.client_ids.tolist()
    drawn = o.sent.client_ids.numpy() >= plan.canaries.first  # canaries, which train on nothing
    columns = {
        "round": np.full(len(ids), o.round),
        "client_id": o.sent.client_ids.numpy(),
        "num_examples": o.sent.num_examples.numpy(),
        "train_loss": numbers(o.losses, drawn),
        "raw_norm": numbers(o.raw_norms, drawn),
        "update_norm": o.norms.numpy(),
        "bytes_up": o.bytes_up,
        "weight": weights(o.verdict.weights, o.received.client_ids, ids),
        "score": named({i: float(score) for i, score in o.verdict.scores.items()}, ids, pa.float64()),
        "truth": [kinds.get(i, "honest") for i in ids] if kinds else ["honest"] * len(ids),
        "ever_attacked": [i in attacked for i in ids] if attacked else np.zeros(len(ids), bool),
        "flag": named(o.verdict.flags, ids, pa.string()),
        **statuses(o.delivery.arrived, o.refused, ids),
        "client_seconds": np.asarray(o.delivery.client_seconds, float),
    }
    typed = [pa.array(columns[field.name], field.type) for field in CLIENTS]
    return pa.Table.from_arrays(typed, schema=CLIENTS)


def _kinds(plan: Plan, step: Step) -> dict[int, str]:
    """Return what each client of the cohort is that is not honest, by client id."""
    canaries = (i for i in step.outcome.sent.client_ids.tolist() if i >= plan.canaries.first)
    return {**step.outcome.kinds(plan), **dict.fromkeys(canaries, CANARY)}


def _round_row(plan: Plan, step: Step) -> dict[str, Any]:
    o, state = step.outcome, step.state
    dropped = int((~o.delivery.arrived).sum())
    return {
        "round": o.round,
        "accuracy": step.score.accuracy if step.score else None,
        "loss": step.score.loss if step.score else None,
        "rmse": step.score.rmse if step.score else None,
        "mae": step.score.mae if step.score else None,
        **(step.score.metrics if step.score else {}),
        "cohort_size": len(o.sent),
        "arrived": len(o.sent) - dropped,
        "rejected": len(o.refused),
        "fallback": o.verdict.fallback or None,
        "train_loss": _mean(o.losses[o.sent.client_ids < plan.canaries.first]),
        "update_norm": _mean(o.norms),
        "aggregate_norm": float(row_norms(o.verdict.aggregate[None])[0]),
        "bytes_up": o.bytes_sent,
        "bytes_down": o.bytes_received,
        "total_bytes_up": state.bytes_up,
        "total_bytes_down": state.bytes_down,
        "virtual_seconds": state.clock,
        "link_seconds": o.link_seconds,
        **_privacy(plan, step),
        **detection(plan, o),
        **aggregation(plan, o),
        "attack_success_rate": best_success(step.score),
    }


def _mean(values: Tensor) -> float | None:
    return float(values.double().mean()) if len(values) else None


def _privacy(plan: Plan, step: Step) -> dict[str, Any]:
    o = step.outcome
    released = isinstance(o.release, Release)
    return {
        "epsilon": o.epsilon.value,
        "epsilon_reason": o.epsilon.reason,
        "accountant": o.epsilon.accountant,
        "delta": plan.accountant.delta if released else None,
        "noise_multiplier": o.release.noise_multiplier if isinstance(o.release, Release) else None,
        "clip_norm": clipped_at(plan.privacy, step.state.privacy),
        "trust_model": plan.privacy.trust_model,
        "unit": plan.privacy.unit,
        "relation": o.release.relation if isinstance(o.release, Release) else None,
        "sampling": declared(plan.privacy, Mechanisms.batches) or o.sampling.scheme,  # of the protected units
    }
