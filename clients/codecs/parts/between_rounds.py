"""What a codec does between two rounds: it learns who was counted, and what both sides share."""

from collections.abc import Sequence

from torch import Tensor

from ....core.contracts import Codec
from ....core.declarations import Codecs, declared
from ....core.trees import State


def settled(codec: Codec, state: State, counted_ids: Sequence[int]) -> State:
    """Return a codec's state after a round whose messages of these clients, ascending, were counted."""
    settle = declared(codec, Codecs.settle)
    return state if settle is None else settle(state, counted_ids)


def stepped_along(codec: Codec, state: State, aggregate: Tensor) -> Tensor:
    """Return what the server steps along: the mean that a codec keeps, once settled, or ``aggregate`` [M]."""
    kept = declared(codec, Codecs.kept_mean)
    mean = None if kept is None else kept(state)
    return aggregate if mean is None else mean


def shared_by(codec: Codec, params: Tensor, aggregate: Tensor, state: State) -> State:
    """Return what both sides of a codec know before the next round, or None where it shares nothing.

    Args:
        codec: The codec of the clients' messages.
        params: The parameters that the server will send.  # [P]
        aggregate: What the server applied last, noise included; zeros before the first round.  # [P]
        state: The codec's state.
    """
    share = declared(codec, Codecs.share)
    return None if share is None else share(params, aggregate, state)
