"""What an attack must be told and what it can be told, and the refusal where it could make nothing of it."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ...core.declarations import LeakageAttacks, declared
from ...core.errors import PluginError
from ...core.observation import LeakageKnowledge, Observation, refuse_unknown_items

PLAIN_STEP: Mapping[str, object] = MappingProxyType(
    {"optimizer": "sgd", "weight_decay": 0.0, "loss": "cross_entropy"}
)
"""What makes one local step a positive multiple of the gradient of the mean cross-entropy."""


def refuse_unmet(attack: object, observation: Observation) -> None:
    """Refuse to run ``attack`` on an observation of which it can make nothing.

    Raises:
        PluginError: See ``refuse_blind``; or its own ``check`` refuses the model.
    """
    refuse_blind(attack, observation.knowledge, observation.client_id, observation.round)
    check = declared(attack, LeakageAttacks.check)
    if check is not None:
        check(observation)


def refuse_blind(attack: object, knowledge: LeakageKnowledge, client_id: int, round_: int) -> None:
    """Refuse an attack where it could make nothing of what a client sends.

    Raises:
        PluginError: Something that it declares in ``requires`` is not known, or has not the value that it
            declares in ``only`` or ``assumes``; the message lists every such item.
    """
    required: tuple[str, ...] = declared(attack, LeakageAttacks.requires)
    only: Mapping[str, object] = declared(attack, LeakageAttacks.only)
    assumed: Mapping[str, object] = declared(attack, LeakageAttacks.assumes)
    name = name_of(attack)
    try:
        missing = knowledge.missing((*required, *only))
        refuse_unknown_items((*assumed, *declared(attack, LeakageAttacks.uses)))
    except ValueError as error:
        raise PluginError(f"{name} declares requires = {required}, only = {only}: {error}") from error
    where = f"(client {client_id}, round {round_})"
    off = [item for item, value in assumed.items() if getattr(knowledge, item) not in (None, value)]
    if off:
        raise PluginError(
            f"{name} works with {_values(off, assumed)} only, got {_values(off, knowledge)} {where}"
        )
    if missing:
        hint = "; labels_known = true tells the labels" if "labels" in missing else ""
        raise PluginError(
            f"{name} needs to know {', '.join(dict.fromkeys((*required, *only)))}; "
            f"missing here: {', '.join(dict.fromkeys(missing))} {where}{hint}"
        )
    if any(getattr(knowledge, item) != value for item, value in only.items()):
        raise PluginError(
            f"{name} works with {_values(only, only)} only, got {_values(only, knowledge)} {where}"
        )


def takes_labels(attack: object) -> bool:
    """Return whether labels that an attack is told change what it does: it names them as needed or used."""
    return "labels" in named_by(attack)


def named_by(attack: object) -> set[str]:
    """Return the items of knowledge that an attack declares to look at."""
    required: tuple[str, ...] = declared(attack, LeakageAttacks.requires)
    only: Mapping[str, object] = declared(attack, LeakageAttacks.only)
    used: tuple[str, ...] = declared(attack, LeakageAttacks.uses)
    return {*required, *only, *used}


def name_of(attack: object) -> str:
    """Return the name of an attack's class, behind a guard too."""
    return type(getattr(attack, "__wrapped__", attack)).__name__


def _values(items: Iterable[str], source: object) -> str:
    """Return ``"lr = 0.1 and local_steps = 1"``: what a mapping, or knowledge, has under each item."""
    table = source if isinstance(source, Mapping) else vars(source)
    return " and ".join(f"{item} = {table[item]}" for item in items)
