"""Buckets of any size, against the same values in one bucket."""

import pytest
import torch
from codec_draws import SPEC, layout_of, updates_of
from numpy.random import default_rng

from gauntlet.clients.codecs import CODECS
from gauntlet.clients.codecs.parts.wire import decode_cohort, encode_cohort
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.frames import Envelope, read_frame

LARGE = [
    ("trit_planes", "group"),
    ("dorefa", "bucket_size"),
    ("qsgd", "bucket_size"),
]


@pytest.mark.parametrize(("name", "option"), LARGE, ids=str)
@pytest.mark.parametrize("size", [10**9, 2**63 - 1])
def test_a_bucket_of_more_coordinates_than_memory_holds_is_the_tensor(name, option, size):
    """A bucket of a hundred holds a tensor of twenty, as one of any larger size does."""
    layout, streams = layout_of([(4, 5)]), CodecStreams(0, 0)
    updates, found = updates_of(layout, [0, 2], default_rng(0)), []
    for bucket in (100, size):
        codec = CODECS.build(name, {option: bucket})
        frames, _ = encode_cohort(codec, updates, layout, SPEC, None, streams)
        vectors, rejected = decode_cohort(codec, frames, [0, 2], layout, SPEC, streams)
        assert not rejected
        envelope = Envelope(codec.codec_id, 0, 0, SPEC)
        records = read_frame(frames[0], envelope, codec.records(layout), len(frames[0]))
        fits = codec.mismatch(records, layout, streams.context(0))(vectors[0])
        found.append((vectors, float(fits)))
    torch.testing.assert_close(found[0], found[1])
