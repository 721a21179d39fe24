"""What an attack must be told, and the refusal when it is not."""

from collections.abc import Mapping

from ...core.contracts import declared
from ...core.errors import PluginError
from ...core.observation import Knowledge, Observation


def refuse_unmet(attack: object, observation: Observation) -> None:
    """Refuse to run ``attack`` on an observation of which it can make nothing.

    Raises:
        PluginError: See ``refuse_blind``.
    """
    refuse_blind(attack, observation.knowledge, observation.client_id, observation.round)


def refuse_blind(attack: object, knowledge: Knowledge, client_id: int, round_: int) -> None:
    """Refuse an attack where it could make nothing of what a client sends.

    Raises:
        PluginError: Something that it declares in ``requires`` is not known, or has not the value that it
            declares in ``only``; the message lists every such item.
    """
    required: tuple[str, ...] = declared(attack, "requires", ())
    only: Mapping[str, object] = declared(attack, "only", {})
    name = type(getattr(attack, "__wrapped__", attack)).__name__
    try:
        missing = knowledge.missing((*required, *only))
    except ValueError as error:
        raise PluginError(f"{name} declares requires = {required}, only = {only}: {error}") from error
    where = f"(client {client_id}, round {round_})"
    if missing:
        raise PluginError(
            f"{name} needs to know {', '.join(dict.fromkeys((*required, *only)))}; "
            f"missing here: {', '.join(dict.fromkeys(missing))} {where}"
        )
    if any(getattr(knowledge, item) != value for item, value in only.items()):
        wanted = " and ".join(f"{item} = {value}" for item, value in only.items())
        came = " and ".join(f"{item} = {getattr(knowledge, item)}" for item in only)
        raise PluginError(f"{name} works with {wanted} only, got {came} {where}")
