"""The distance of an attacker that knows the codec: how badly updates fit the frame that was sent.

Source: Balunovic, Dimitrov, Staab, Vechev. Bayesian Framework for Gradient Leakage. ICLR 2022.
arXiv:2111.04706: what makes the message most probable is the strongest objective. What a codec's messages
make of updates is said by the codec (``core.contracts.Mismatch``).
"""

from typing import Literal

from torch import Tensor

from ....core.observation import Observation
from .distances import Distance

Objective = Literal["auto", "plain"]


def aware(
    observation: Observation, objective: Objective, plain: Distance, counts: Tensor | None = None
) -> Distance:
    """Return what the codec says of its frame; ``plain`` where it says nothing, or nobody asks.

    An update that must have its true size is brought to the one at which it comes nearest, in squares, to
    what was decoded, so that neither a step size nor a clip norm need be known.

    Args:
        observation: As the attack is told of it.
        objective: ``"auto"`` or ``"plain"``.
        plain: The distance from what the frame decodes to.
        counts: Which entries of a gradient count; what a client took away was 0 before it was encoded.  # [P]
    """
    mismatch = observation.mismatch
    if objective == "plain" or mismatch is None:
        return plain
    there, sent = observation.support, observation.update

    def distance(gradients: Tensor) -> Tensor:
        updates = -gradients if counts is None else -gradients * counts  # [R, P], up to the step size
        return mismatch(updates if mismatch.scale_free else _sized(updates, sent * there, there))

    return distance


def _sized(updates: Tensor, sent: Tensor, there: Tensor) -> Tensor:
    """Return updates [R, P], each times the number that brings it nearest to what was ``sent`` [P].

    Of one that points away from it that number is small, and still above 0.
    """
    seen = updates * there
    squares = seen.square().sum(dim=1, keepdim=True).clamp(min=1e-30)
    least = 1e-3 * sent.norm() / squares.sqrt()
    return updates * ((seen @ sent)[:, None] / squares).maximum(least)
