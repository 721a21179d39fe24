"""What attacks may declare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from ..contracts.knowledge import UpdateKnowledge
from ..leakage_knowledge import Level
from .declaration import Declaration, Kind, Table, count, flag, mapping, method, numbers, one_of, words

if TYPE_CHECKING:
    from ..contracts.attacks import DataAttack, Goal
    from ..observation import Observation


def _are_levels(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) and value in list(Level) for value in values)


_LEVELS = Kind(
    f"a mapping from items to levels ({', '.join(Level)})",
    lambda v: isinstance(v, Mapping) and all(isinstance(s, str) for s in v) and _are_levels(v.values()),
)
_KNOWLEDGE = Kind("a member of core.contracts.UpdateKnowledge", lambda v: isinstance(v, UpdateKnowledge))


class DataAttacks(Table):
    """What an attack on examples may say of itself."""

    goal: Declaration[Callable[[Tensor, Tensor], Goal] | None] = method(
        "(x, y) -> Goal", "From test examples, those on which its success is measured."
    )
    part: Declaration[Callable[[int, int], DataAttack] | None] = method(
        "(index, count) -> DataAttack",
        "What the `index`-th of the `count` clients that run it does, in ascending id; by default all.",
    )
    honest = flag("It is bad luck and no attack: its clients count as honest, of the kind `unreliable`.")
    label_free = flag("It leaves `y` alone, so that it goes with real-valued targets too.")
    sees_model = flag(
        "It looks at the model: `poison` is handed the one that its client received as a fourth argument, "
        "`goal` the one that is evaluated as a third."
    )
    retrain: Declaration[Callable[..., Tensor] | None] = method(
        "(x, y, generator, model, training) -> Tensor",
        "Its client's update [P], in the place of that of local training: from the client's own examples, "
        "the model that it received and the `LocalTraining` of the run. With `sees_model` only.",
    )
    tokens = flag("It takes inputs that are tokens, int64 [n, S], too.")
    sources = numbers("The labels that it changes: one that the data do not have is refused.")


class UpdateAttacks(Table):
    """What an attack on updates may say of itself."""

    knowledge: Declaration[UpdateKnowledge | None] = Declaration(
        _KNOWLEDGE, None, "What it is allowed to see besides the broadcast. Every attack on updates says so."
    )
    knows_defense = flag("It needs `View.aggregate`; the answers of a rule with a memory are a sight of it.")
    steer: Declaration[Callable[[Tensor, Tensor, Tensor], Tensor] | None] = method(
        "(gradient, params, received) -> gradient",
        "What its clients' local steps descend instead, before weight decay and the algorithm's own "
        "correction; elementwise, all [..., P].",
    )
    beside_params = flag(
        "It sets messages beside the broadcast parameters, so that these must be updates alone."
    )
    partial = flag(
        "It can deal with `presence` in what it is handed: clients that lack coordinates, whose rows are 0 "
        "there. One that looks at several clients is refused without."
    )
    refused = flag("No server counts what it sends, so that cohorts are smaller by its clients.")
    facts = flag(
        "It is handed the `facts` of what it sees, and may state others of its own; silent: it sees none, "
        "and its clients state what is so."
    )
    goal: Declaration[Callable[[Tensor, Tensor], Goal] | None] = method(
        "(x, y) -> Goal", DataAttacks.goal.meaning
    )
    label_free = flag(DataAttacks.label_free.meaning)
    sources = numbers(DataAttacks.sources.meaning)
    honest = flag(DataAttacks.honest.meaning)


class LeakageAttacks(Table):
    """What an attack on what a client sent may say of itself, in items of ``LeakageKnowledge``."""

    requires: Declaration[Mapping[str, Level | str]] = Declaration(
        _LEVELS, {}, 'What must be known, and how surely at least: `{"lr": "exact"}`.'
    )
    only = mapping("Items that must be known, and the one value of each that it works with.")
    assumes = mapping("Items that must have this value where they are known.")
    uses = words("What it does better with, and works without. It is told what it names, and nothing else.")
    kinds = words(
        "The kinds of message that it works on: `update`, `gradient`, `aggregate`.", ("update", "gradient")
    )
    inputs = words("The inputs that it rebuilds or judges: `floats`, `tokens`.", ("floats",))
    least_rounds = count(1, "Rounds of one client that it needs together.")
    most_rounds = count(1, "Rounds of one client that it takes together; where 1, one at a time.")
    hypotheses = one_of(
        ("labels", "members", "property"),
        "labels",
        "Of an inference attack, what its scores are about: how many examples of each class (`labels`), "
        "which candidates are a client's (`members`), whether its data have a `property`.",
    )
    holds: Declaration[Callable[[Tensor, Tensor], Tensor] | None] = method(
        "(x, y) -> Tensor", "Of an inference attack on a `property`, which examples have it, bool [n]."
    )
    exact = flag(
        "Where it is not refused it rebuilds what was sent up to rounding, or says that it did not, by a "
        "formula or a certificate and not by matching. `gauntlet attack --with auto` runs all such attacks."
    )
    preference = count(
        0,
        "Of attacks that match, `gauntlet attack --with auto` runs that of the greatest number that accepts "
        "a message; one of 0 never.",
    )
    lossless = flag("It works on frames alone that lose nothing of an update.")
    aware = mapping("The options with which it takes what the codec says of its frames (`codec`).")
    unaware = mapping("The options with which it takes a frame for what it decodes to.")
    aware_with = words("Items without which it takes frames for what they decode to, with `aware` too.")
    check: Declaration[Callable[[Observation], None] | None] = method(
        "(observation)",
        "Raises `PluginError` where it cannot work on the model; asked before the run, of each round.",
    )


class Servers(Table):
    """What a malicious server may say of itself."""

    deviates = one_of(
        ("nothing", "parameters", "weights", "model"),
        "model",
        "What it changes of what clients receive: `nothing` (it is honest), `parameters` alone, once and "
        "before round 0 also `weights` that are not trained, or the `model`, its layers too.",
    ).of("plant", "rebuild")
