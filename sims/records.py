"""From a finished round to the rows of the result tables."""

from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from ..core.contracts import Release, declared
from ..server.plan import Plan
from ..server.simulation import Step

ROUNDS = pa.schema(
    [
        ("round", pa.int64()),
        ("accuracy", pa.float64()),
        ("loss", pa.float64()),
        ("cohort_size", pa.int64()),
        ("arrived", pa.int64()),
        ("rejected", pa.int64()),
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
        ("true_positives", pa.int64()),
        ("false_positives", pa.int64()),
        ("false_negatives", pa.int64()),
        ("true_negatives", pa.int64()),
        ("precision", pa.float64()),
        ("recall", pa.float64()),
    ]
)
CANARY = "canary"  # what an audit's made-up clients are, in the column of the truth
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
        ("flag", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("client_seconds", pa.float64()),
    ]
)
TIMINGS = pa.schema([("round", pa.int64()), ("seconds", pa.float64()), ("clients_per_second", pa.float64())])


def rows(plan: Plan, step: Step) -> tuple[dict[str, Any], pa.Table]:
    """Return the round's row, and one row a client of the cohort, in ascending id."""
    norms = _norms(step.outcome.sent.vectors)
    return _round_row(plan, step, norms), _client_rows(plan, step, norms)


def _client_rows(plan: Plan, step: Step, norms: Tensor) -> pa.Table:
    o = step.outcome
    ids = o.sent.client_ids.tolist()
    statuses = [_status(o.delivery.arrived[row], o.refused.get(i)) for row, i in enumerate(ids)]
    weights, kinds = _weights(o.verdict.weights, o.received.client_ids), _kinds(plan, step)
    losses, raw = o.trained.losses.double().tolist(), o.trained.norms.tolist()
    columns = {
        "round": np.full(len(ids), o.round),
        "client_id": ids,
        "num_examples": o.sent.num_examples.tolist(),
        "train_loss": [None if kinds.get(i) == CANARY else x for i, x in zip(ids, losses, strict=True)],
        "raw_norm": [None if kinds.get(i) == CANARY else x for i, x in zip(ids, raw, strict=True)],
        "update_norm": norms.tolist(),
        "bytes_up": [len(o.frames[i]) + 4 * o.sent.buffers.shape[1] for i in ids],
        "weight": [weights.get(i) for i in ids],
        "score": [o.verdict.scores.get(i) for i in ids],
        "truth": [kinds.get(i, "honest") for i in ids],
        "flag": [o.verdict.flags.get(i) for i in ids],
        "status": [status for status, _ in statuses],
        "reason": [reason for _, reason in statuses],
        "client_seconds": o.delivery.client_seconds.tolist(),
    }
    return pa.Table.from_pydict(columns, schema=CLIENTS)


def _kinds(plan: Plan, step: Step) -> dict[int, str]:
    """Return what each client of the cohort is that is not honest, by client id."""
    canaries = (i for i in step.outcome.sent.client_ids.tolist() if i >= plan.canaries.first)
    return {**plan.kinds(step.outcome.round), **dict.fromkeys(canaries, CANARY)}


def _status(arrived: bool, refused: tuple[str, str] | None) -> tuple[str, str | None]:
    if not arrived:
        return "dropped", "did not arrive in time"
    return refused if refused else ("ok", None)


def _weights(weights: Tensor | None, ids: Tensor) -> dict[int, float]:
    """Return each client's weight; none where a pre-aggregation changed who stands in which row."""
    if weights is None or len(weights) != len(ids):
        return {}
    return dict(zip(ids.tolist(), weights.double().tolist(), strict=True))


def _norms(vectors: Tensor) -> Tensor:
    """Return each row's L2 norm, summed in float64 without a copy of the matrix.  # [K]"""
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=1, dtype=torch.float64)
    return norms


def _round_row(plan: Plan, step: Step, norms: Tensor) -> dict[str, Any]:
    o, state = step.outcome, step.state
    dropped = int((~o.delivery.arrived).sum())
    bytes_up = sum(map(len, o.frames.values())) + 4 * o.sent.buffers.numel()
    return {
        "round": o.round,
        "accuracy": step.score.accuracy if step.score else None,
        "loss": step.score.loss if step.score else None,
        "cohort_size": len(o.sent),
        "arrived": len(o.sent) - dropped,
        "rejected": len(o.refused),
        "train_loss": _mean(o.trained.losses[o.sent.client_ids < plan.canaries.first]),
        "update_norm": _mean(norms),
        "aggregate_norm": float(_norms(o.verdict.aggregate[None])[0]),
        "bytes_up": bytes_up,
        "bytes_down": plan.bytes_down * len(o.sent),
        "total_bytes_up": state.bytes_up,
        "total_bytes_down": state.bytes_down,
        "virtual_seconds": state.clock,
        **_privacy(plan, step),
        **_detection(plan, step),
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
        "clip_norm": declared(plan.privacy, "clip_norm", None),
        "trust_model": plan.privacy.trust_model,
        "unit": plan.privacy.unit,
        "relation": o.release.relation if isinstance(o.release, Release) else None,
        "sampling": o.sampling.scheme,
    }


def _detection(plan: Plan, step: Step) -> dict[str, Any]:
    """Score the defense's flags against the truth among the clients that it saw.

    An unreliable client is honest, and canaries do not count. With nothing flagged, precision is 1 if
    nothing should have been, else undefined; recall is 1 with nobody to find.
    """
    o = step.outcome
    bad = plan.kinds(o.round).keys()
    flagged = {i for i, kind in o.verdict.flags.items() if kind != "unreliable"}
    seen = {i for i in o.received.client_ids.tolist() if i < plan.canaries.first}
    hits, misses = len(seen & bad & flagged), len((seen & bad) - flagged)
    alarms = len((seen - bad) & flagged)
    precision = hits / (hits + alarms) if hits + alarms else (None if misses else 1.0)
    return {
        "true_positives": hits,
        "false_positives": alarms,
        "false_negatives": misses,
        "true_negatives": len(seen) - hits - alarms - misses,
        "precision": precision,
        "recall": hits / (hits + misses) if hits + misses else 1.0,
    }
