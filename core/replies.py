"""What a plug-in hands back, looked at where it comes in: each family's verbs, and what each must return.

A check is called with what came and with the verb's own arguments. It looks at types, shapes and client ids,
never at all numbers, so that it costs nothing beside the work itself.
"""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .contracts import (
    Arrivals,
    Audited,
    Delivery,
    Goal,
    LocalTraining,
    NoGuarantee,
    Release,
    Sampling,
    Starts,
    Verdict,
)
from .errors import PluginError, shown
from .frames import RecordShape
from .updates import Updates

Check = Callable[..., None]


def _want(fact: bool, what: str, came: object) -> None:
    if not fact:
        raise PluginError(f"must return {what}, got {_kind(came)}")


def _kind(came: object) -> str:
    """Return in words what came: of a tensor its type and shape."""
    if isinstance(came, Tensor | np.ndarray):
        return f"{type(came).__name__} {str(came.dtype).removeprefix('torch.')} {list(came.shape)}"
    if isinstance(came, tuple):
        return f"({', '.join(map(_kind, came))})" if len(came) < 5 else f"a tuple of {len(came)}"
    return "None" if came is None else f"{type(came).__name__} {shown(came)}"


def _pair(came: Any, what: str) -> Any:
    """Return the first of (what is wanted, state)."""
    fine = isinstance(came, tuple) and len(came) == 2
    _want(fine, f"a pair ({what}, state)", came)
    return came[0] if isinstance(came, tuple) else None


def _vector(came: Any, size: int, what: str) -> None:
    fine = isinstance(came, Tensor) and came.dtype == torch.float32 and came.shape == (size,)
    _want(fine, f"{what} as a tensor float32 [{size}]", came)


def _number(came: Any, what: str, least: float = 0.0) -> None:
    real = isinstance(came, int | float | np.number) and not isinstance(came, bool)
    fine = real and isfinite(came) and came >= least
    _want(fine, f"{what}, a finite number of at least {least:g}", came)


def _verdict(came: Any, updates: Updates, *_: object) -> None:
    found = _pair(came, "Verdict")
    _want(isinstance(found, Verdict), "a pair (Verdict, state)", came)
    _vector(found.aggregate, updates.vectors.shape[1], "an aggregate")
    w = found.weights
    fine = w is None or (isinstance(w, Tensor) and w.shape == (len(updates),) and not w.is_complex())
    _want(fine, f"weights as None or a tensor [{len(updates)}]", w)
    _by_client(found.flags, "flags", "a word", lambda flag: isinstance(flag, str))
    _by_client(found.scores, "scores", "a number", _is_real)
    told = "a table of numbers by name"
    _by_client(found.details, "details", told, _is_table)


def _by_client(came: Any, name: str, what: str, fits: Callable[[object], bool]) -> None:
    _want(isinstance(came, Mapping), f"{name} as a table by client id", came)
    for client, value in came.items():
        if not (isinstance(client, int | np.integer) and fits(value)):
            raise PluginError(
                f"must return {name} as {what} by client id, got {_kind(value)} for {shown(client)}"
            )


def _is_real(value: object) -> bool:
    return isinstance(value, int | float | np.number) or (isinstance(value, Tensor) and value.numel() == 1)


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(k, str) and _is_real(v) for k, v in value.items())


def _same_clients(found: Any, before: Updates) -> None:
    _some_clients(found, before)
    fine = found.vectors.shape == before.vectors.shape and torch.equal(found.client_ids, before.client_ids)
    came = f"{_kind(found.vectors)} of clients {shown(found.client_ids.tolist())}"
    if not fine:
        ids = shown(before.client_ids.tolist())
        raise PluginError(f"must return {list(before.vectors.shape)} of clients {ids}, got {came}")


def _some_clients(found: Any, before: Updates) -> None:
    _want(isinstance(found, Updates), "Updates", found)
    vectors, width = found.vectors, before.vectors.shape[1]
    fine = isinstance(vectors, Tensor) and vectors.dtype == torch.float32 and vectors.shape[1] == width
    _want(fine, f"vectors as a tensor float32 [K, {width}]", vectors)
    for name in ("client_ids", "num_examples"):
        column = getattr(found, name)
        fine = isinstance(column, Tensor) and not column.is_floating_point() and column.ndim == 1
        _want(fine, f"{name} as a tensor int64 [{len(vectors)}]", column)


def _corrupted(came: Any, own: Updates, *_: object) -> None:
    _same_clients(_pair(came, "Updates"), own)


def _transformed(came: Any, updates: Updates, *_: object) -> None:
    found = _pair(came, "Updates")
    _some_clients(found, updates)
    strangers = ~torch.isin(found.client_ids, updates.client_ids)
    if bool(strangers.any()):
        stranger = int(found.client_ids[strangers][0])
        raise PluginError(f"must return rows of the clients that it was given, got one of client {stranger}")


def _poisoned(came: Any, x: Tensor, y: Tensor, *_: object) -> None:
    fine = isinstance(came, tuple) and len(came) == 2 and all(isinstance(part, Tensor) for part in came)
    _want(fine, "a pair (x, y) of tensors", came)
    new_x, new_y = came
    alike = new_x.dtype == x.dtype and new_y.dtype == y.dtype
    alike = alike and new_x.shape[1:] == x.shape[1:] and new_y.shape[1:] == y.shape[1:]
    fine = alike and new_x.ndim == x.ndim and new_y.ndim == y.ndim and 1 <= len(new_x) == len(new_y) <= len(x)
    _want(fine, f"x and y like {_kind(x)} and {_kind(y)}, at least 1 example and no more than came", came)


def _goal(came: Any, *_: object) -> None:
    fine = isinstance(came, Goal) and all(isinstance(t, Tensor) for t in (came.x, came.truth, came.wanted))
    _want(fine, "a Goal of tensors", came)


def _privatized(came: Any, updates: Updates, *_: object) -> None:
    _same_clients(came, updates)


def _clipped(came: Any, updates: Updates, *_: object) -> None:
    _same_clients(_pair(came, "Updates"), updates)


def _noised(came: Any, aggregate: Tensor, *_: object) -> None:
    _vector(_pair(came, "aggregate"), len(aggregate), "an aggregate")


def _released(came: Any, *_: object) -> None:
    _want(isinstance(came, Release | NoGuarantee), "a Release or a NoGuarantee", came)


def _encoded(came: Any, updates: Updates, *_: object) -> None:
    rows = _pair(came, "records")
    fine = isinstance(rows, list | tuple) and len(rows) == len(updates)
    _want(fine, f"a pair (a list of records for each of {len(updates)} clients, state)", rows)


def _decoded(came: Any, _: object, layout: Any, *__: object) -> None:
    fine = isinstance(came, Tensor) and came.shape == (layout.num_parameters,) and came.dtype == torch.float32
    _want(fine, f"a tensor float32 [{layout.num_parameters}]", came)


def _all_decoded(came: Any, cohort: Any, layout: Any, *_: object) -> None:
    shape = (len(cohort), layout.num_parameters)
    fine = isinstance(came, Tensor) and came.shape == shape and came.dtype == torch.float32
    _want(fine, f"a tensor float32 {list(shape)}", came)


def _declared_records(came: Any, *_: object) -> None:
    fine = isinstance(came, list | tuple) and all(isinstance(part, RecordShape) for part in came)
    _want(fine, "a list of RecordShape", came)
    ids = [part.tensor_id for part in came]
    fine = all(a < b for a, b in zip([-1, *ids], ids, strict=False)) and len(ids) < 2**16
    _want(fine, "at most 65535 records with ids that ascend from 0", ids)


def _bits(came: Any, *_: object) -> None:
    _number(came, "a number of bits")


def _length(came: Any, *_: object) -> None:
    _want(isinstance(came, int) and came >= 0, "a length in bytes, a whole number of at least 0", came)


def _delivered(came: Any, examples: Any, *_: object) -> None:
    _want(isinstance(came, Delivery), "a Delivery", came)
    for name, kind in (("arrived", "b"), ("client_seconds", "f")):
        column = getattr(came, name)
        fine = (
            isinstance(column, np.ndarray) and column.dtype.kind == kind and column.shape == (len(examples),)
        )
        what = "bool" if kind == "b" else "floats"
        _want(fine, f"{name} as an array of {what} [{len(examples)}]", column)
    _number(came.round_seconds, "round_seconds")


def _begun(came: Any, traffic: Any, *_: object) -> None:
    found = _pair(came, "Starts")
    _want(isinstance(found, Starts), "a pair (Starts, state)", came)
    ids = found.client_ids
    fine = isinstance(ids, np.ndarray) and ids.dtype == np.int64 and ids.ndim == 1
    fine = fine and bool((np.diff(ids) > 0).all()) and set(ids.tolist()) <= set(traffic.idle.tolist())
    _want(fine, "client_ids as an array int64 [K] of idle clients, strictly ascending", ids)
    _number(found.at, "the time at which they begin", traffic.now)


def _arrived(came: Any, traffic: Any, *_: object) -> None:
    found, shape = _pair(came, "Arrivals"), traffic.client_ids.shape
    _want(isinstance(found, Arrivals), "a pair (Arrivals, state)", came)
    for name in ("counted", "dropped"):
        mask = getattr(found, name)
        fine = isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.shape == shape
        _want(fine, f"{name} as an array of bool {list(shape)}", mask)
    _number(found.at, "the time at which the round ends", traffic.now)
    never = found.counted & (found.dropped | ~(traffic.arrives <= found.at))
    what = "as counted no message that is dropped, or that does not arrive before the round ends"
    _want(not never.any(), what, found.counted)


def _weighed(came: Any, staleness: Tensor, *_: object) -> None:
    fine = isinstance(came, Tensor) and came.shape == staleness.shape and came.is_floating_point()
    fine = fine and bool((came >= 0).all() and came.isfinite().all())
    _want(fine, f"finite weights of at least 0 as a tensor [{len(staleness)}]", came)


def _sized(came: Any, *_: object) -> None:
    _number(came, "a number of messages", 1.0)


def _gained(came: Any, *_: object) -> None:
    _number(came, "a factor")


def _stepped(came: Any, params: Tensor, *_: object) -> None:
    _vector(_pair(came, "params"), len(params), "parameters")


def _sampling(came: Any, *_: object) -> None:
    _want(isinstance(came, Sampling), "a Sampling", came)
    _number(came.expected_size, "expected_size")
    _number(came.sample_rate, "sample_rate")


def _sampled(came: Any, num_clients: int, *_: object) -> None:
    fine = isinstance(came, np.ndarray) and came.dtype == np.int64 and came.ndim == 1
    if fine and len(came):
        fine = bool((np.diff(came) > 0).all()) and came[0] >= 0 and came[-1] < num_clients
    _want(fine, f"ids as an array int64 [K], strictly ascending in [0, {num_clients - 1}]", came)


def _present(came: Any, *_: object) -> None:
    fine = isinstance(came, np.ndarray) and came.dtype == np.bool_ and came.ndim == 1
    _want(fine, "an array of bool [num_canaries]", came)


def _judged(came: Any, *_: object) -> None:
    _want(isinstance(came, Audited), "an Audited", came)
    _number(came.epsilon_low, "epsilon_low")


def _scheduled(came: Any, *_: object) -> None:
    _want(isinstance(came, LocalTraining), "a LocalTraining", came)


def _directed(came: Any, gradient: Tensor, *_: object) -> None:
    fine = isinstance(came, Tensor) and came.shape == gradient.shape and came.dtype == gradient.dtype
    if not fine:
        _want(fine, f"a tensor {str(gradient.dtype).removeprefix('torch.')} {list(gradient.shape)}", came)


def _added(came: Any, local: Any, *_: object) -> None:
    size = len(local.outputs)
    fine = isinstance(came, Tensor) and came.dtype == torch.float32 and came.shape == (size,)
    _want(fine, f"a tensor float32 [{size}]", came)


def _counted(came: Any, examples: Tensor) -> None:
    fine = isinstance(came, Tensor) and came.shape == examples.shape and not came.is_complex()
    _want(fine, f"a tensor [{len(examples)}]", came)


def _divided(came: Any, *_: object) -> None:
    _number(came, "a denominator")
    _want(came != 0, "a denominator above 0", came)


def _moved(came: Any, *_: object) -> None:
    if came is not None:
        _number(came, "None or a sensitivity")


def _worked(came: Any, visit: Any) -> None:
    fine = isinstance(came, tuple) and len(came) == 2 and all(isinstance(part, Tensor) for part in came)
    _want(fine, "a pair (message, loss) of tensors", came)
    _vector(came[0], len(visit.received), "a message")


_OWN_SAMPLER: Mapping[str, Check] = {"sampling": _sampling, "sample": _sampled}
REPLIES: Mapping[str, Mapping[str, Check]] = {
    "algorithms": {
        "schedule": _scheduled,
        "correct": _directed,
        "added_loss": _added,
        "work": _worked,
        "step": _stepped,
        **_OWN_SAMPLER,
    },
    "audits": {"present": _present, "judge": _judged},
    "codecs": {
        "encode": _encoded,
        "decode": _decoded,
        "decode_cohort": _all_decoded,
        "records": _declared_records,
        "max_body": _length,
        "ideal_bits": _bits,
    },
    "data_attacks": {"poison": _poisoned, "goal": _goal},
    "defenses": {
        "aggregate": _verdict,
        "counts": _counted,
        "denominator": _divided,
        "sensitivity": _moved,
    },
    "networks": {"deliver": _delivered},
    "pre_aggregations": {"transform": _transformed},
    "privacy": {"privatize": _privatized, "clip": _clipped, "noise": _noised, "event": _released},
    "samplers": {**_OWN_SAMPLER},
    "schedules": {
        "starts": _begun,
        "arrivals": _arrived,
        "weights": _weighed,
        "size": _sized,
        "gain": _gained,
    },
    "server_optimizers": {"step": _stepped},
    "update_attacks": {"corrupt": _corrupted, "goal": _goal},
}
"""From a family's name, to a verb, to what its members are held to."""
