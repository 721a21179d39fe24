"""What an attack must be told, and the refusal when it is not."""

from ...core.contracts import declared
from ...core.errors import PluginError
from ...core.observation import Observation


def refuse_unmet(attack: object, observation: Observation) -> None:
    """Refuse to run ``attack`` without the knowledge that it declares in ``requires``.

    Raises:
        PluginError: Something required is not known; the message lists every missing item.
    """
    required = declared(attack, "requires", ())
    name = type(getattr(attack, "__wrapped__", attack)).__name__
    try:
        missing = observation.knowledge.missing(required)
    except ValueError as error:
        raise PluginError(f"{name} declares requires = {required}: {error}") from error
    if missing:
        raise PluginError(
            f"{name} needs to know {', '.join(required)}; "
            f"missing here: {', '.join(missing)} (client {observation.client_id}, round {observation.round})"
        )


def refuse_more_than_one(attack: object, observation: Observation) -> None:
    """Refuse anything but one example in one step, where a closed form holds for that alone.

    Raises:
        PluginError: The client's step held several examples, or it took several steps.
    """
    batch_size, steps = observation.knowledge.batch_size, observation.knowledge.local_steps
    if batch_size != 1 or steps != 1:
        raise PluginError(
            f"{type(attack).__name__} is exact for batch_size = 1 and local_steps = 1 only, "
            f"got batch_size = {batch_size} and local_steps = {steps}"
        )
