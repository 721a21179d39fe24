"""Updates, layouts and rounds that a codec's promises are tried on."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ....core.contracts import Codec, CodecStreams
from ....core.layout import Layout, Slot
from ....core.registry import require
from ....core.seeds import generator
from ....core.trees import State
from ....core.updates import Updates
from ..parts.between_rounds import shared_by
from ..parts.wire import decode_cohort, encode_cohort

LAYOUT = Layout(
    (Slot("matrix", (5, 7), 0), Slot("one", (1,), 35), Slot("empty", (0, 4), 36), Slot("vector", (12,), 36))
)
P = LAYOUT.num_parameters
LONG = Layout((Slot("matrix", (64, 64), 0), Slot("vector", (1000,), 4096)))
NEW = object()  # in the place of a state: the one before the first round


def streams_of(codec: Codec, round: int = 2) -> CodecStreams:
    """Return what both sides know in a round, of what the codec shares before the first one included."""
    params = torch.linspace(-1, 1, P)
    shared = shared_by(codec, params, torch.linspace(1, 0, P), codec.init())
    return CodecStreams(17, round, shared, "codec-contract", params)


def cohort_of(rows: list[Tensor]) -> Updates:
    """Return clients 1, 4, 7 ... with these updates."""
    vectors = torch.stack(rows)
    ids = torch.arange(len(rows)) * 3 + 1
    return Updates(vectors, ids, torch.full_like(ids, 10))


def normal(client: int) -> Tensor:
    """Return an update of standard normal values, another one for each client.  # [P]"""
    return torch.from_numpy(generator(0, "codec-contract-rows", client).standard_normal(P).astype(np.float32))


def mixed() -> Updates:
    """Return updates of every size: normal, zero, all equal, huge, tiny, denormal, with one spike."""
    spike = torch.zeros(P).index_fill(0, torch.tensor([3]), -2.0)
    scaled = [normal(i) * factor for i, factor in enumerate((1.0, 0.01, 1e30, 1e-30, 1e-42))]
    return cohort_of([*scaled, torch.zeros(P), torch.full((P,), 0.7), spike])


def sent(codec: Codec, updates: Updates, round: int = 2, state: State = NEW) -> tuple[list[bytes], State]:
    """Return a cohort's frames, and the codec's state after them."""
    state = codec.init() if state is NEW else state
    return encode_cohort(codec, updates, LAYOUT, 9, state, streams_of(codec, round))


def read(
    codec: Codec, frames: Sequence[bytes], client_ids: list[int], round: int = 2
) -> tuple[Tensor, list[tuple[int, str]]]:
    """Return what the server makes of a round's frames: vectors, and (row, reason) of the rejected."""
    return decode_cohort(codec, frames, client_ids, LAYOUT, 9, streams_of(codec, round))


def decoded(codec: Codec, updates: Updates, round: int = 2) -> Tensor:
    """Return what the server receives of a cohort, of which no frame may be rejected.  # [K, P]"""
    vectors, rejected = read(codec, sent(codec, updates, round)[0], updates.client_ids.tolist(), round)
    require(not rejected, f"its own frame was rejected: {rejected[:1]}")
    return vectors
