"""Zero rows left out. Oracle: bodies written by hand."""

import codec_trips
import numpy as np
import pytest
import torch

from gauntlet.clients.codecs.zero_rows import ONE_VALUE, ROWS, ZeroRows
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.updates import Updates

STREAMS = CodecStreams(seed=0, round=0)
LAYOUT = Layout((Slot("weight", (3, 2), 0), Slot("bias", (3,), 6)))


def encoded(values):
    updates = Updates(torch.tensor([values]), torch.tensor([4]), torch.ones(1, dtype=torch.int64))
    records, _ = ZeroRows().encode(updates, LAYOUT, None, STREAMS)
    return records[0]


def test_rows_that_are_zero_cost_a_bit_each():
    """Rows 0 and 2 of three: bits 101, a byte, and four float32; of the bias entry 2: bits 001, and one."""
    values = [1.0, 0.0, 0.0, 0.0, 3.0, -4.0, 0.0, 0.0, 5.0]
    weight, bias = encoded(values)
    assert weight.body == bytes([0b10100000]) + np.array([1, 0, 3, -4], "<f4").tobytes()
    assert bias.body == bytes([0b00100000]) + np.array([5], "<f4").tobytes()
    assert (len(weight.body), len(bias.body)) == (17, 5)
    assert ZeroRows().decode([weight, bias], LAYOUT, STREAMS.context(4)).tolist() == values
    named = [1, 1, 0, 0, 1, 1, 0, 0, 1]
    assert ZeroRows().support([weight, bias], LAYOUT).int().tolist() == named


def test_a_mask_costs_one_number_besides():
    values = [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0]
    weight, bias = encoded(values)
    assert (weight.tag, bias.tag) == (ONE_VALUE, ONE_VALUE)
    assert len(weight.body) == len(bias.body) == 5
    assert ZeroRows().decode([weight, bias], LAYOUT, STREAMS.context(4)).tolist() == values


def test_a_negative_zero_arrives():
    decoded, _, _ = codec_trips.sent(ZeroRows(), [[-0.0, 0.0, float("nan")]], STREAMS)
    assert decoded[0, 0].signbit()
    assert not decoded[0, 1].signbit()
    assert bool(decoded[0, 2].isnan())


@pytest.mark.parametrize(
    ("tag", "body", "complaint"),
    [
        (0x00, bytes([0b10000000]) + bytes(8), "tag 0x00, allowed 0x60, 0x61"),
        (ROWS, b"", "rows are named by 3 bits"),
        (ROWS, bytes([0b00010000]), "rows are named by 3 bits"),
        (ROWS, bytes([0b10000000]) + bytes(8), "no encoder makes"),  # a row of zeros
        (ROWS, bytes([0b10000000]) + np.array([2, 2], "<f4").tobytes(), "no encoder makes"),  # one number
        (ROWS, bytes([0b10000000]) + np.array([2], "<f4").tobytes(), "4 bytes, expected 8"),
        (ONE_VALUE, bytes([0b10000000]) + bytes(4), "no encoder makes"),
        (ONE_VALUE, bytes(1) + np.array([2], "<f4").tobytes(), "no encoder makes"),  # of no row
    ],
)
def test_bodies_that_no_encoder_makes_are_refused(tag, body, complaint):
    weight = Layout((Slot("weight", (3, 2), 0),))
    with pytest.raises(FrameError, match=complaint):
        ZeroRows().decode([Record(0, tag, 6, body)], weight, STREAMS.context(0))
