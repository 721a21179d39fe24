"""Which tensors of a message say something: those that are more than rounding beside the loudest."""

from ....core.layout import Slot
from ....core.observation import Observation

QUIET = 1e-8  # of the loudest tensor's root mean square: seen were 1e-12 of rounding, 1e-5 and more of others


def loud_tensors(observation: Observation) -> list[Slot]:
    """Return the places of a message's tensors, in order, without those that rounding alone could have made.

    The biases of an attention's keys, say, have no gradient: they move no softmax.
    """
    views = observation.layout.views(observation.update.nan_to_num(0.0, 0.0, 0.0).double())
    sizes = {n: float(v.square().mean()) ** 0.5 for n, v in views.items()}
    least = QUIET * max(sizes.values())
    return [slot for slot in observation.layout.parameters if sizes[slot.name] >= least]
