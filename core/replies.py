"""What a plug-in hands back, looked at where it comes in: each family's verbs, and what each must return.

A check is called with what came and with the verb's own arguments. It looks at types, shapes and client ids,
never at all numbers, so that it costs nothing beside the work itself.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .algorithm_replies import combined, finished, levelled, remembered, replicated, scaled, sent_besides
from .contracts import Audited, Goal, LocalTraining, NoGuarantee, Release, Worked
from .declarations.privacy import RELATIONS
from .errors import PluginError, shown
from .frames import RecordShape
from .server_replies import (
    arrived,
    begun,
    delivered,
    gained,
    planted,
    rebuilt,
    sampled,
    sampling,
    sized,
    stepped,
    taken_besides,
    weighed,
)
from .updates import Updates
from .verdict_replies import judged
from .wanted import is_plain, kind_of, number, pair, vector, want

Check = Callable[..., None]


def _same_clients(found: Any, before: Updates) -> None:
    _some_clients(found, before)
    if found.vectors.shape != before.vectors.shape or not torch.equal(found.client_ids, before.client_ids):
        came = f"{kind_of(found.vectors)} of clients {shown(found.client_ids.tolist())}"
        ids = shown(before.client_ids.tolist())
        raise PluginError(f"must return {list(before.vectors.shape)} of clients {ids}, got {came}")


def _some_clients(found: Any, before: Updates) -> None:
    want(isinstance(found, Updates), "Updates", found)
    vectors, width = found.vectors, before.vectors.shape[1]
    fine = is_plain(vectors) and vectors.dtype == torch.float32 and vectors.shape[1] == width
    want(fine, f"vectors as a tensor float32 [K, {width}]", vectors)
    for name in ("client_ids", "num_examples"):
        column = getattr(found, name)
        fine = is_plain(column) and column.dtype == torch.int64 and column.shape == vectors.shape[:1]
        want(fine, f"{name} as a tensor int64 [{len(vectors)}]", column)


def _corrupted(came: Any, own: Updates, *_: object) -> None:
    found = pair(came, "Updates")
    _same_clients(found, own)
    facts = found.facts
    fine = is_plain(facts) and facts.dtype == own.facts.dtype and facts.shape == own.facts.shape
    want(fine, f"facts as a tensor float64 {list(own.facts.shape)}", facts)


def _multiplied(came: Any, facts: Any) -> None:
    size = len(facts.client_ids)
    fine = is_plain(came) and came.shape == (size,) and came.is_floating_point()
    fine = fine and bool((came.isfinite() & (came > 0)).all())
    want(bool(fine), f"finite factors above 0 as a tensor float64 [{size}]", came)


def _taken(came: Any, planned: int, *_: object) -> None:
    fine = isinstance(came, int | np.integer) and not isinstance(came, bool) and 1 <= came <= planned
    want(bool(fine), f"a number of steps, a whole number from 1 to {planned}", came)


def _transformed(came: Any, updates: Updates, *_: object) -> None:
    found = pair(came, "Updates")
    _some_clients(found, updates)
    strangers = ~torch.isin(found.client_ids, updates.client_ids)
    if bool(strangers.any()):
        stranger = int(found.client_ids[strangers][0])
        raise PluginError(f"must return rows of the clients that it was given, got one of client {stranger}")


def _left(came: Any, *_: object) -> None:
    number(came, "a number of rows")


def _poisoned(came: Any, x: Tensor, y: Tensor, *_: object) -> None:
    fine = isinstance(came, tuple) and len(came) == 2 and all(isinstance(part, Tensor) for part in came)
    want(fine, "a pair (x, y) of tensors", came)
    new_x, new_y = came
    alike = new_x.dtype == x.dtype and new_y.dtype == y.dtype
    alike = alike and new_x.shape[1:] == x.shape[1:] and new_y.shape[1:] == y.shape[1:]
    fine = alike and new_x.ndim == x.ndim and new_y.ndim == y.ndim and 1 <= len(new_x) == len(new_y) <= len(x)
    want(fine, f"x and y like {kind_of(x)} and {kind_of(y)}, at least 1 example and no more than came", came)


def _retrained(came: Any, *asked: Any) -> None:
    shape = tuple(asked[3].params.shape)  # of the model
    fine = is_plain(came) and came.dtype == torch.float32 and tuple(came.shape) == shape
    want(fine, f"an update as a tensor float32 {list(shape)}", came)


def _goal(came: Any, *asked: Any) -> None:
    fine = isinstance(came, Goal) and all(map(is_plain, (came.x, came.truth, came.wanted)))
    if not fine:
        parts = (came.x, came.truth, came.wanted) if isinstance(came, Goal) else came
        want(False, "a Goal of tensors", parts)
    shape = came.x.shape[:1] + (asked[1].shape[1:] if len(asked) > 1 else came.truth.shape[1:])
    for name in ("truth", "wanted"):
        labels = getattr(came, name)
        whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
        want(
            whole and labels.shape == shape, f"{name} as whole numbers {list(shape)}, one for each x", labels
        )


def _privatized(came: Any, updates: Updates, *_: object) -> None:
    _same_clients(came, updates)


def _clipped(came: Any, updates: Updates, *_: object) -> None:
    _same_clients(pair(came, "Updates"), updates)


def _summed(came: Any, *_: object) -> None:
    want(isinstance(pair(came, "Updates"), Updates), "a pair (Updates, state)", came)


def _noised(came: Any, aggregate: Tensor, *_: object) -> None:
    vector(pair(came, "aggregate"), len(aggregate), "an aggregate")


def _released(came: Any, *_: object) -> None:
    want(isinstance(came, Release | NoGuarantee), "a Release or a NoGuarantee", came)
    if isinstance(came, Release):
        number(came.noise_multiplier, "a noise_multiplier")
        known = RELATIONS[:-1]  # of something that is released there is no "none"
        want(came.relation in known, f"a relation, one of {', '.join(known)}", came.relation)


def _encoded(came: Any, updates: Updates, *_: object) -> None:
    rows = pair(came, "records")
    fine = isinstance(rows, list | tuple) and len(rows) == len(updates)
    want(fine, f"a pair (a list of records for each of {len(updates)} clients, state)", rows)


def _decoded(came: Any, _: object, layout: Any, *__: object) -> None:
    fine = is_plain(came) and came.shape == (layout.num_parameters,) and came.dtype == torch.float32
    want(fine, f"a tensor float32 [{layout.num_parameters}]", came)


def _all_decoded(came: Any, cohort: Any, layout: Any, *_: object) -> None:
    shape = (len(cohort), layout.num_parameters)
    fine = is_plain(came) and came.shape == shape and came.dtype == torch.float32
    want(fine, f"a tensor float32 {list(shape)}", came)


def _declared_records(came: Any, *_: object) -> None:
    fine = isinstance(came, list | tuple) and all(isinstance(part, RecordShape) for part in came)
    want(fine, "a list of RecordShape", came)
    ids = [part.tensor_id for part in came]
    fine = all(a < b for a, b in zip([-1, *ids], ids, strict=False)) and len(ids) < 2**16
    want(fine, "at most 65535 records with ids that ascend from 0", ids)


def _bits(came: Any, *_: object) -> None:
    number(came, "a number of bits")


def _length(came: Any, *_: object) -> None:
    want(isinstance(came, int) and came >= 0, "a length in bytes, a whole number of at least 0", came)


def _present(came: Any, *_: object) -> None:
    fine = isinstance(came, np.ndarray) and came.dtype == np.bool_ and came.ndim == 1
    want(fine, "an array of bool [num_canaries]", came)


def _judged(came: Any, *_: object) -> None:
    want(isinstance(came, Audited), "an Audited", came)
    number(came.epsilon_low, "epsilon_low")


def _scheduled(came: Any, *_: object) -> None:
    want(isinstance(came, LocalTraining), "a LocalTraining", came)


def _directed(came: Any, gradient: Tensor, *_: object) -> None:
    fine = isinstance(came, Tensor) and came.shape == gradient.shape and came.dtype == gradient.dtype
    if not fine:
        want(fine, f"a tensor {str(gradient.dtype).removeprefix('torch.')} {list(gradient.shape)}", came)


def _added(came: Any, local: Any, *_: object) -> None:
    size = len(local.outputs)
    fine = isinstance(came, Tensor) and came.dtype == torch.float32 and came.shape == (size,)
    want(fine, f"a tensor float32 [{size}]", came)


def _counted(came: Any, examples: Tensor) -> None:
    fine = is_plain(came) and came.shape == examples.shape and not came.is_complex()
    want(fine, f"a tensor [{len(examples)}]", came)


def _divided(came: Any, *_: object) -> None:
    number(came, "a denominator")
    want(came != 0, "a denominator above 0", came)


def _moved(came: Any, *_: object) -> None:
    if came is not None:
        number(came, "None or a sensitivity")


def _worked(came: Any, visit: Any) -> None:
    whole = isinstance(came, Worked)
    parts = (came.message, came.loss) if whole else came
    fine = isinstance(parts, tuple) and len(parts) == 2 and all(isinstance(part, Tensor) for part in parts)
    want(fine, "a pair (message, loss) of tensors, or a Worked", came)
    vector(parts[0], visit.message_length, "a message")
    if whole and came.examples is not None:
        number = came.examples
        fine = isinstance(number, int) and not isinstance(number, bool) and number >= 1
        want(fine, "a Worked whose examples are a whole number of at least 1, or None", number)
    if visit.memory_length or (whole and came.memory is not None):
        vector(came.memory if whole else None, visit.memory_length, "a Worked whose memory is")


def _let_out(came: Any, update: Tensor, *_: object) -> None:
    fine = is_plain(came) and came.shape == update.shape and came.dtype == update.dtype
    if not fine:
        want(fine, f"a tensor {str(update.dtype).removeprefix('torch.')} {list(update.shape)}", came)


def _wrapped(came: Any, *_: object) -> None:
    want(isinstance(came, nn.Module), "a torch.nn.Module", came)


def _altered(came: Any, x: Tensor, y: Tensor, *_: object) -> None:
    _poisoned(came, x, y)
    want(len(came[1]) == len(y), f"{len(y)} examples, as many as came", came[1])


def _undone(came: Any, seen: Sequence[Tensor], *_: object) -> None:
    fine = isinstance(came, tuple) and len(came) == 2 and isinstance(came[0], Tensor)
    if not fine or came[0].shape != seen[-1].shape or not isinstance(came[1], float):
        want(False, f"examples {list(seen[-1].shape)} and how far off they are, a float", came)


_OWN_SAMPLER: Mapping[str, Check] = {"sampling": sampling, "sample": sampled}
REPLIES: Mapping[str, Mapping[str, Check]] = {
    "algorithms": {
        "schedule": _scheduled,
        "correct": _directed,
        "added_loss": _added,
        "factors": _multiplied,
        "takes_steps": _taken,
        "work": _worked,
        "step": stepped,
        "combine": combined,
        "replicas": replicated,
        "extra": sent_besides,
        "scales": scaled,
        "start": remembered,
        "finish": finished,
        "levels": levelled,
        **_OWN_SAMPLER,
    },
    "audits": {"present": _present, "judge": _judged},
    "client_defenses": {"change": _let_out, "examples": _altered, "wrap": _wrapped, "undo": _undone},
    "codecs": {
        "encode": _encoded,
        "decode": _decoded,
        "decode_cohort": _all_decoded,
        "records": _declared_records,
        "max_body": _length,
        "ideal_bits": _bits,
    },
    "data_attacks": {"poison": _poisoned, "retrain": _retrained, "goal": _goal},
    "defenses": {
        "aggregate": judged,
        "prepare": stepped,
        "counts": _counted,
        "denominator": _divided,
        "sensitivity": _moved,
    },
    "networks": {"deliver": delivered, "own_seconds": taken_besides},
    "pre_aggregations": {"transform": _transformed, "rows_after": _left},
    "privacy": {
        "privatize": _privatized,
        "clip": _clipped,
        "noise": _noised,
        "event": _released,
        "secure_sum": _summed,
    },
    "samplers": {**_OWN_SAMPLER},
    "schedules": {
        "starts": begun,
        "arrivals": arrived,
        "weights": weighed,
        "size": sized,
        "gain": gained,
    },
    "server_optimizers": {"step": stepped, "gain": gained, "extra": sent_besides},
    "servers": {"rebuild": rebuilt, "plant": planted},
    "update_attacks": {"corrupt": _corrupted, "goal": _goal},
}
"""From a family's name, to a verb, to what its members are held to."""
