"""What the server sends down before a round, and how many bytes that is.

The parameters, with what a defense or a malicious server planted in them, go through the codec of the
downlink, one frame for everybody. Clients train from what they decode, and so does whoever looks at their
messages: attackers, probes, the server's own examples. The server keeps its own parameters, and applies the
aggregate to those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...clients.codecs.parts.accounts import Account, account_of
from ...clients.codecs.parts.wire import decode_cohort, encode_cohort
from ...clients.exchange.messages import Broadcast
from ...core.contracts import CodecStreams
from ...core.declarations import Codecs, declared
from ...core.errors import PluginError
from ...core.frames import Envelope
from ...core.trees import num_bytes
from ...core.updates import Updates
from .catching_up import after_frame
from .mailbox import Downlink
from .replay import accounts

if TYPE_CHECKING:
    from ..plan import Plan
    from ..state import ServerState
    from .planting import Planted

SERVER = 2**32 - 1
"""The sender of a frame that goes down."""


def send_down(
    plan: Plan, state: ServerState, planted: Planted, drawn: Sequence[int]
) -> tuple[ServerState, Downlink]:
    """Return what those of the drawn clients that begin in the round receive, but what each remembers."""
    if state.down is None:
        params, frame, account = _through_the_codec(plan, state.round, planted.params)
    else:
        change, frame, account = _through_the_codec(plan, state.round, planted.params - state.down["held"])
        state = replace(state, down=after_frame(state.down, change, frame))
        params = state.down["held"]
    broadcast = Broadcast(
        round=state.round,
        params=params,
        buffers=state.buffers,
        extra=plan.extra(state.params, state.optimizer),
        message_length=plan.exchange.up.num_parameters,
        num_facts=len(plan.exchange.statement),
    )
    told = None if declared(plan.codec, Codecs.share_stays) else state.shared
    size = frame + plan.bytes_beside + num_bytes(told)
    logs = accounts(plan, state.log, state.round, drawn)
    return state, Downlink(broadcast, state.shared, size, planted.secret, account, logs)


def with_memory(plan: Plan, state: ServerState, broadcast: Broadcast, client_ids: Sequence[int]) -> Broadcast:
    """Return a broadcast with what each of these clients remembers."""
    return replace(broadcast, memory=plan.memory(state.clients, broadcast.params, client_ids))


def _through_the_codec(plan: Plan, round_: int, params: Tensor) -> tuple[Tensor, int, Account | None]:
    """Return (the parameters that clients decode [P], the length of the frame, what it cost besides).

    Raises:
        PluginError: The codec does not read its own frame: parameters that are not finite, say.
    """
    codec, layout, spec = plan.codec_down, plan.layout, plan.public_down
    if declared(codec, Codecs.verbatim):
        return params, plan.frame_down, None
    one = Updates(params[None], torch.tensor([SERVER]), torch.tensor([1]))
    streams = CodecStreams(plan.seed, round_, purpose="downlink codec")
    frames, _ = encode_cohort(codec, one, layout, spec, None, streams)
    decoded, rejected = decode_cohort(codec, frames, [SERVER], layout, spec, streams)
    if rejected:
        raise PluginError(f"codec_down cannot carry the parameters before round {round_}: {rejected[0][1]}")
    envelope = Envelope(codec.codec_id, round_, SERVER, spec)
    account = account_of(codec, frames[0], envelope, layout, params, decoded[0])
    return decoded[0], len(frames[0]), account
