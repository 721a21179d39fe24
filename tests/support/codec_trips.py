"""Rows through a codec and back, as one tensor."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gauntlet.clients.codecs.parts.wire import decode_cohort, encode_cohort
from gauntlet.core.contracts import Codec, CodecStreams
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.updates import Updates

SPEC = 0xBEEF


def flat(numel: int) -> Layout:
    return Layout((Slot("t", (numel,), 0),))


def sent(
    codec: Codec, rows: Sequence[Any], streams: CodecStreams
) -> tuple[Tensor, list[bytes], list[tuple[int, str]]]:
    """Return (decoded rows, frames, what was rejected)."""
    vectors = torch.as_tensor(np.asarray(rows, dtype=np.float32))
    updates = Updates(vectors, torch.arange(len(vectors)), torch.ones(len(vectors), dtype=torch.int64))
    layout = flat(vectors.shape[1])
    frames, _ = encode_cohort(codec, updates, layout, SPEC, None, streams)
    decoded, rejected = decode_cohort(codec, frames, range(len(frames)), layout, SPEC, streams)
    return decoded, frames, rejected


def ideal(codec: Codec, rows: Sequence[Any], streams: CodecStreams) -> float:
    """Return the ideal bits of the first row's frame."""
    vectors = torch.as_tensor(np.asarray(rows, dtype=np.float32))
    updates = Updates(vectors, torch.arange(len(vectors)), torch.ones(len(vectors), dtype=torch.int64))
    layout = flat(vectors.shape[1])
    found, _ = codec.encode(updates, layout, None, streams)
    return codec.ideal_bits(found[0], layout)
