"""Clients that were away, where the server sends differences: what they must receive before they can go on.

The server keeps h, what a client holds that received every frame so far: at first the parameters before round
0. A round sends C(w - h), and h moves by what that decodes to, so that what a frame leaves out stays in the
next difference: error feedback on the way down. A client that was away receives the frames that it missed,
or, where that is shorter, h in float32: the same h in both cases.

Source: Sattler, Wiedemann, Müller, Samek. Robust and Communication-Efficient Federated Learning from Non-IID
Data. 2019, Section V.C (residuals on both sides, and partial participation). arXiv:1903.02891. That the
shorter of the two is sent is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...core.declarations import Codecs, declared

if TYPE_CHECKING:
    from ...core.trees import State
    from ...core.updates import Updates
    from ..plan import Plan
    from ..state import ServerState
    from .mailbox import Array


def first_held(plan: Plan, params: Tensor) -> State:
    """Return what is known before round 0: h, each round's frame in bytes, and who received which last.

    None of a downlink that sends whole parameters.
    """
    if not declared(plan.codec_down, Codecs.differences):
        return None
    return {"held": params, "sizes": [], "clients": torch.zeros(0, 2, dtype=torch.int64)}


def after_frame(known: Mapping[str, Any], decoded: Tensor, size: int) -> dict[str, Any]:
    """Return what is known once a round's frame is sent, which decodes to a difference [P]."""
    return {**known, "held": known["held"] + decoded, "sizes": [*known["sizes"], size]}


def missed_bytes(plan: Plan, state: ServerState, client_ids: Array) -> Array:
    """Return how many bytes each client must receive before the round's own frame, int64.  # [K]"""
    found = np.zeros(len(client_ids), dtype=np.int64)
    if state.down is None:
        return found
    sent = np.array(list(accumulate(state.down["sizes"][: state.round], initial=0)))  # before each round
    last = dict(state.down["clients"].tolist())
    for place, client in enumerate(client_ids.tolist()):
        before = last.get(client)
        missed = plan.frame_whole if before is None else int(sent[-1] - sent[min(before + 1, len(sent) - 1)])
        found[place] = min(plan.frame_whole, missed)
    return found


def with_receipts(known: State, counted: Updates) -> State:
    """Return what is known once messages were counted: that their clients received all frames so far.

    A client whose message was lost, late or unreadable may have received nothing, and is sent the same again.
    """
    if known is None or not len(counted):
        return known
    last = dict(known["clients"].tolist())
    for client, started in zip(counted.client_ids.tolist(), counted.started.tolist(), strict=True):
        last[client] = max(started, last.get(client, -1))
    return {**known, "clients": torch.tensor(sorted(last.items()), dtype=torch.int64)}
