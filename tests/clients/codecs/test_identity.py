"""The identity against IEEE bytes."""

import pytest
import torch

from gauntlet.clients.codecs.identity import Identity
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.updates import Updates

STREAMS = CodecStreams(seed=0, round=0)
LAYOUT = Layout((Slot("w", (1, 2), 0), Slot("b", (1,), 2)))


def encoded(rows):
    vectors = torch.tensor(rows)
    ids = torch.arange(len(rows))
    records, _ = Identity().encode(Updates(vectors, ids, ids + 1), LAYOUT, None, STREAMS)
    return records


def test_bodies_are_little_endian_floats():
    """1, -2 and 0.5 in IEEE 754, written out."""
    assert encoded([[1.0, -2.0, 0.5]]) == [
        [
            Record(0, 0x00, 2, bytes.fromhex("0000803f000000c0")),
            Record(1, 0x00, 1, bytes.fromhex("0000003f")),
        ]
    ]


def test_nan_and_infinity_go_through_for_the_finite_check():
    vector = Identity().decode(encoded([[torch.nan, torch.inf, -0.0]])[0], LAYOUT, STREAMS.context(0))
    assert vector.isnan().tolist() == [True, False, False]
    assert vector[1] == torch.inf
    assert vector[2].signbit()


@pytest.mark.parametrize("body", [bytes(7), bytes(9), b""])
def test_a_body_of_another_length_is_refused(body):
    with pytest.raises(FrameError, match=f"{len(body)} bytes, expected 8"):
        Identity().decode([Record(0, 0, 2, body), Record(1, 0, 1, bytes(4))], LAYOUT, STREAMS.context(0))


def test_another_tag_is_refused():
    with pytest.raises(FrameError, match="tensor 1: tag 0x05, allowed 0x00"):
        Identity().decode([Record(0, 0, 2, bytes(8)), Record(1, 5, 1, bytes(4))], LAYOUT, STREAMS.context(0))
