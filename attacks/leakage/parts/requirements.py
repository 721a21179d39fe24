"""What an attack must be told and what it can be told, and the refusal where it could make nothing of it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ....core.declarations import LeakageAttacks, declared
from ....core.errors import PluginError
from ....core.leakage_knowledge import LeakageKnowledge, Level, refuse_unknown_items
from ....core.observation import KINDS, Observation

INPUTS = ("floats", "tokens")

PLAIN_STEP: Mapping[str, object] = MappingProxyType(
    {"optimizer": "sgd", "weight_decay": 0.0, "loss": "cross_entropy"}
)
"""What makes one local step a positive multiple of the gradient of the mean cross-entropy."""


_WAYS = {
    "labels": "labels_known = true tells the labels",
    "lr": "an attack that compares directions needs no step size, such as inverting_gradients",
    "candidates": "candidates = 'same_classes' gives it records to ask about",
    "auxiliary": "auxiliary = 200 gives it so many test examples",
}
"""How a probe is told an item that it is told only where the scenario says so, or what works without."""

_OTHERS = {
    "local_steps": "sme and unrolled follow several steps",
    "batch_size": "dlg and inverting_gradients take several examples",
}
"""What rebuilds examples where an item has another value than an attack's ``only``."""


def refuse_unmet(attack: object, observation: Observation) -> None:
    """Refuse to run ``attack`` on an observation of which it can make nothing.

    Raises:
        PluginError: See ``refuse_kind``, ``refuse_inputs``, ``refuse_lossy`` and ``refuse_blind``; or its own
            ``check`` refuses the model.
    """
    refuse_kind(attack, observation)
    refuse_inputs(attack, observation)
    refuse_lossy(attack, observation)
    refuse_blind(attack, observation.knowledge, observation.client_id, observation.round)
    check = declared(attack, LeakageAttacks.check)
    if check is not None:
        check(told(attack, observation))


def refuse_other_records(attack: object, observation: Observation) -> None:
    """Refuse candidates that the observed model does not take; none at all are refused elsewhere.

    Raises:
        PluginError: They are of another shape.
    """
    records, shape = observation.knowledge.candidates, list(observation.input_shape)
    if records is not None and list(records.x.shape[1:]) != shape:
        raise PluginError(
            f"{type(attack).__name__} compares candidates of shape {shape}, got {list(records.x.shape[1:])}"
        )


def refuse_number(attack: object, rounds: int) -> None:
    """Refuse another number of rounds than ``attack`` takes together.

    Raises:
        PluginError: There are fewer than it needs, or more than it takes.
    """
    least, most = rounds_of(attack)
    if not least <= rounds <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise PluginError(f"{name_of(attack)} takes {wanted} rounds of one client together, got {rounds}")


def rounds_of(attack: object) -> tuple[int, int]:
    """Return how many rounds of one client an attack takes together: at least, and at most.

    Raises:
        PluginError: It declares numbers that do not go together.
    """
    least, most = declared(attack, LeakageAttacks.least_rounds), declared(attack, LeakageAttacks.most_rounds)
    if not 1 <= least <= most:
        raise PluginError(
            f"{name_of(attack)} declares least_rounds = {least} and most_rounds = {most}: "
            "1 <= least_rounds <= most_rounds is allowed"
        )
    return least, most


def refuse_kind(attack: object, observation: Observation) -> None:
    """Refuse a kind of message that ``attack`` does not work on.

    Raises:
        PluginError: It declares others; or what it declares is no kind.
    """
    kinds: tuple[str, ...] = declared(attack, LeakageAttacks.kinds)
    if wrong := [kind for kind in kinds if kind not in KINDS]:
        raise PluginError(
            f"{name_of(attack)} declares kinds = {tuple(kinds)}: {wrong[0]!r} is no kind of message; "
            f"allowed: {', '.join(KINDS)}"
        )
    if observation.kind not in kinds:
        what, way = str(observation.kind), ""
        if observation.kind == "aggregate":
            what = f"{what} of {observation.contributors} client{'s' * (observation.contributors > 1)}"
            way = (
                ": the server sees no message of one client; use an attack on sums, such as bias_counts, or "
                "a privacy mechanism that shows it single messages"
            )
        raise PluginError(
            f"{name_of(attack)} works on a message of kind {' or '.join(kinds)}, got an {what} "
            f"({_where(observation.client_id, observation.round)}){way}"
        )


def refuse_inputs(attack: object, observation: Observation) -> None:
    """Refuse inputs that ``attack`` does not rebuild, or labels that are no class of an example.

    Raises:
        PluginError: It declares others; or what it declares are no inputs.
    """
    inputs: tuple[str, ...] = declared(attack, LeakageAttacks.inputs)
    if wrong := [kind for kind in inputs if kind not in INPUTS]:
        raise PluginError(
            f"{name_of(attack)} declares inputs = {tuple(inputs)}: {wrong[0]!r} is none; allowed: "
            f"{', '.join(INPUTS)}"
        )
    came = "tokens" if observation.num_tokens else "floats"
    where = f"({_where(observation.client_id, observation.round)})"
    if came not in inputs:
        raise PluginError(
            f"{name_of(attack)} works on inputs that are {' or '.join(inputs)}, got {came} {where}"
        )
    if observation.label_shape and came == "floats":
        raise PluginError(
            f"{name_of(attack)} works on examples of one class each, got labels of shape "
            f"{list(observation.label_shape)} {where}"
        )


def refuse_lossy(attack: object, observation: Observation) -> None:
    """Refuse a lossy frame where ``attack`` declares that it works on others alone.

    Raises:
        PluginError: It does.
    """
    if observation.lossy and declared(attack, LeakageAttacks.lossless):
        raise PluginError(
            f"{name_of(attack)} works on frames that lose nothing, and codec '{observation.knowledge.codec}' "
            f"does ({_where(observation.client_id, observation.round)}); use an attack that knows of codecs, "
            "such as inverting_gradients"
        )


def may_be_clipped(observation: Observation) -> bool:
    """Return whether a privacy mechanism may have changed the message's length, as far as that is told."""
    return observation.knowledge.privacy not in (None, "none")


def knows_codec(attack: object, observations: Iterable[Observation]) -> bool | None:
    """Return whether an attack takes what the codec says of one of these frames; None if it never does."""
    options = declared(attack, LeakageAttacks.aware)
    if not options:
        return None
    items: tuple[str, ...] = declared(attack, LeakageAttacks.aware_with)
    seen = [told(attack, observation) for observation in observations]
    takes = all(getattr(attack, name) == value for name, value in options.items())
    takes &= all(not o.knowledge.missing(dict.fromkeys(items, Level.ESTIMATED)) for o in seen)
    return takes and any(o.mismatch is not None for o in seen)


def refuse_blind(attack: object, knowledge: LeakageKnowledge, client_id: int, round_: int) -> None:
    """Refuse an attack where it could make nothing of what a client sends.

    Raises:
        PluginError: Something that it declares in ``requires`` is not known as surely as it must be, or has
            not the value that it declares in ``only`` or ``assumes``; the message lists every such item.
    """
    least = least_levels(attack)
    only: Mapping[str, object] = declared(attack, LeakageAttacks.only)
    assumed: Mapping[str, object] = declared(attack, LeakageAttacks.assumes)
    name, where = name_of(attack), f"({_where(client_id, round_)})"
    try:
        missing = knowledge.missing(least)
        refuse_unknown_items((*assumed, *declared(attack, LeakageAttacks.uses)))
    except ValueError as error:
        raise PluginError(f"{name} declares requires = {dict(least)}: {error}") from error
    off = [item for item, value in assumed.items() if getattr(knowledge, item) not in (None, value)]
    if off:
        hint = "; an attack that knows of codecs, such as inverting_gradients, works on it" * ("codec" in off)
        raise PluginError(
            f"{name} works with {_values(off, assumed)} only, got {_values(off, knowledge)} {where}{hint}"
        )
    if missing:
        hint = "".join(f"; {words}" for item, words in _WAYS.items() if item in missing)
        raise PluginError(
            f"{name} needs to know {_items(least, least)}; "
            f"missing here: {_items(missing, {item: knowledge.level(item) for item in missing})} "
            f"{where}{hint}"
        )
    if wrong := [item for item, value in only.items() if getattr(knowledge, item) != value]:
        like = hasattr(attack, "reconstruct") and "floats" in declared(attack, LeakageAttacks.inputs)
        hint = "".join(f"; {words}" for item, words in _OTHERS.items() if like and item in wrong)
        raise PluginError(
            f"{name} works with {_values(only, only)} only, got {_values(only, knowledge)} {where}{hint}"
        )


def least_levels(attack: object) -> dict[str, Level | str]:
    """Return how surely each item must be known: what ``only`` names exactly, where nothing else is said."""
    required: Mapping[str, Level | str] = declared(attack, LeakageAttacks.requires)
    only: Mapping[str, object] = declared(attack, LeakageAttacks.only)
    return {**required, **{item: Level.EXACT for item in only if item not in required}}


def takes_labels(attack: object) -> bool:
    """Return whether labels that an attack is told change what it does: it names them as needed or used."""
    return "labels" in named_by(attack)


def named_by(attack: object) -> set[str]:
    """Return the items of knowledge that an attack declares to look at."""
    used: tuple[str, ...] = declared(attack, LeakageAttacks.uses)
    return {*least_levels(attack), *used}


def told(attack: object, observation: Observation) -> Observation:
    """Return an observation as an attack is handed it: of all that is known, what it declares to look at.

    What a malicious server planted is told to an attack that names ``server`` alone, what the codec says of
    its frame to one that names ``codec``, and how altered examples are undone to one that names
    ``client_defense``.
    """
    named = named_by(attack)
    hidden: dict[str, Any] = {} if "server" in named else {"planted": {}}
    if "codec" not in named:
        hidden |= {"mismatch": None, "carries": 0.0}
    if "client_defense" not in named:
        hidden["undo"] = None
    return replace(observation, knowledge=observation.knowledge.only(named), **hidden)


def letter_of(attack: object, observations: Iterable[Observation]) -> str:
    """Return the SoK's letter, A to H, of what an attack was told of these observations."""
    items = sorted(named_by(attack))
    return max(o.knowledge.letter(items, planted=bool(o.planted)) for o in observations)


def oracles_of(attack: object, observations: Iterable[Observation]) -> list[str]:
    """Return what an attack was told of these observations that no attacker in its place could know."""
    items = sorted(named_by(attack))
    return sorted({item for o in observations for item in o.knowledge.oracles(items)})


def name_of(attack: object) -> str:
    """Return the name of an attack's class, behind a guard too."""
    return type(getattr(attack, "__wrapped__", attack)).__name__


def _where(client_id: int, round_: int) -> str:
    return f"client {client_id}, round {round_}"


def _items(names: Iterable[str], levels: Mapping[str, Level | str]) -> str:
    """Return ``"lr, labels (oracle)"``: items, with the level where it is neither exact nor unknown."""
    plain = (Level.EXACT, Level.UNKNOWN)
    return ", ".join(name if levels[name] in plain else f"{name} ({levels[name]})" for name in names)


def _values(items: Iterable[str], source: object) -> str:
    """Return ``"lr = 0.1 and local_steps = 1"``: what a mapping, or knowledge, has under each item."""
    table = source if isinstance(source, Mapping) else vars(source)
    return " and ".join(f"{item} = {table[item]}" for item in items)
