"""What the server sends down before a round, and how many bytes that is.

The parameters go through the codec of the downlink, one frame for everybody. Clients train from what they
decode, and so does whoever looks at their messages: attackers, probes, the server's own examples. The server
keeps its own parameters, and applies the aggregate to those.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..clients.codecs.wire import decode_cohort, encode_cohort
from ..clients.messages import Broadcast
from ..core.contracts import CodecStreams
from ..core.declarations import Codecs, declared
from ..core.errors import PluginError
from ..core.trees import State, num_bytes
from ..core.updates import Updates
from .plan import Plan
from .state import ServerState

Array = np.ndarray[Any, Any]
SERVER = 2**32 - 1
"""The sender of a frame that goes down."""


@dataclass(frozen=True)
class Downlink:
    """What every client of a round's cohort receives.

    Attributes:
        broadcast: What its worker needs to train it, and to give it back what it remembers.
        shared: What both sides of the codec know of the round; None where it shares nothing.
        size: How many bytes one client receives that receives the whole model.
        spared: How many bytes fewer a client receives by its level, where there are some.
    """

    broadcast: Broadcast
    shared: State
    size: int
    spared: Callable[[int], int] | None = None

    def bytes_of(self, client_ids: Sequence[int]) -> Array:
        """Return how many bytes each client receives, int64.  # [K]"""
        less = [0 if self.spared is None else self.spared(client) for client in client_ids]
        return np.array([self.size - n for n in less], dtype=np.int64)


def send_down(plan: Plan, state: ServerState, client_ids: Sequence[int]) -> Downlink:
    """Return what these clients receive in the round, with what each of them remembers."""
    params, frame = _through_the_codec(plan, state)
    broadcast = Broadcast(
        round=state.round,
        params=params,
        buffers=state.buffers,
        extra=plan.extra(state.params, state.optimizer),
        memory=plan.memory(state.clients, params, client_ids),
        message_length=plan.exchange.up.num_parameters,
    )
    size = frame + plan.bytes_beside + num_bytes(state.shared)
    spared = None if plan.levels is None else partial(plan.spared, round_=state.round)
    return Downlink(broadcast, state.shared, size, spared)


def _through_the_codec(plan: Plan, state: ServerState) -> tuple[Tensor, int]:
    """Return (the parameters that clients decode [P], the length of the frame).

    Raises:
        PluginError: The codec does not read its own frame: parameters that are not finite, say.
    """
    codec, layout, spec = plan.codec_down, plan.layout, plan.public_down
    if declared(codec, Codecs.verbatim):
        return state.params, plan.frame_down
    one = Updates(state.params[None], torch.tensor([SERVER]), torch.tensor([1]))
    streams = CodecStreams(plan.seed, state.round, purpose="downlink codec")
    frames, _ = encode_cohort(codec, one, layout, spec, None, streams)
    decoded, rejected = decode_cohort(codec, frames, [SERVER], layout, spec, streams)
    if rejected:
        raise PluginError(
            f"codec_down cannot carry the parameters before round {state.round}: {rejected[0][1]}"
        )
    return decoded[0], len(frames[0])
