"""Halves against numpy's IEEE floats, by hand where they end."""

import codec_trips
import numpy as np
import pytest
import torch
from codec_trips import flat

from gauntlet.clients.codecs.fp16 import Fp16
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record, payload_bytes

STREAMS = CodecStreams(seed=0, round=0)


def sent(codec, rows):
    return codec_trips.sent(codec, rows, STREAMS)


def test_values_are_rounded_to_the_nearest_half():
    """Oracle: numpy's float16; the specification's bound 5e-8 on the mean squared error of N(0, 1)."""
    row = np.random.default_rng(0).standard_normal((1, 100_000)).astype(np.float32)
    decoded, frames, _ = sent(Fp16(), row)
    assert decoded[0].numpy().tolist() == row[0].astype(np.float16).astype(np.float32).tolist()
    assert float((decoded - torch.from_numpy(row)).square().mean()) < 5e-8
    assert payload_bytes(frames[0]) == 200_000


def test_ties_ends_and_signs():
    """By hand: 1 + 2^-11 ties to even; 65504 is the largest half; 2^-25 ties to 0, 2^-24 is the least."""
    row = [1 + 2**-11, 1 + 3 * 2**-11, 1e6, -1e6, 2**-25, 2**-24, -0.0]
    decoded, _, _ = sent(Fp16(), [row])
    assert decoded[0].tolist() == [1, 1 + 2**-9, 65504, -65504, 0, 2**-24, 0]
    assert decoded[0, 6].signbit()


@pytest.mark.parametrize("factor", [1e-20, 1.0, 1e30])
def test_a_scale_keeps_tiny_and_huge_tensors(factor):
    row = np.random.default_rng(1).standard_normal((1, 1000)).astype(np.float32) * np.float32(factor)
    decoded, frames, _ = sent(Fp16(scale="max"), row)
    lost = np.abs(decoded[0].numpy().astype(float) - row[0])
    assert (lost <= np.abs(row).max() * 2.0**-11).all()
    assert payload_bytes(frames[0]) == 2004


def test_an_update_that_is_not_finite_is_rejected_and_the_others_are_not():
    for codec in (Fp16(), Fp16(scale="max")):
        decoded, _, rejected = sent(codec, [[1.0, 2.0], [np.nan, 2.0], [np.inf, 1.0]])
        assert [row for row, _ in rejected] == [1, 2]
        assert decoded.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("codec", "tag", "body", "complaint"),
    [
        (Fp16(), 0x00, "003c", "tag 0x00, allowed 0x01"),
        (Fp16(), 0x01, "003c00", "3 bytes, expected 2"),
        (Fp16(), 0x01, "007c", "not finite"),
        (Fp16(scale="max"), 0x01, "000080bf003c", "scale -1.0"),
        (Fp16(scale="max"), 0x01, "0000803f0040", "a value above it"),
        (Fp16(scale="max"), 0x01, "0000c07f003c", "scale nan"),
    ],
)
def test_bodies_that_no_encoder_makes_are_refused(codec, tag, body, complaint):
    with pytest.raises(FrameError, match=complaint):
        codec.decode([Record(0, tag, 1, bytes.fromhex(body))], flat(1), STREAMS.context(0))
