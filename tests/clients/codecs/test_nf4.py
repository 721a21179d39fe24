"""Oracles: QLoRA's published table, its bits a weight, and values by hand."""

import codec_trips
import numpy as np
import pytest

from gauntlet.clients.codecs.nf4 import NF4
from gauntlet.clients.codecs.parts.normal_float import LEVELS, coded, decoded
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record
from gauntlet.core.layout import Layout

STREAMS = CodecStreams(seed=0, round=7)
TABLE = (
    -1, -0.6961928, -0.52507305, -0.39491749, -0.28444138, -0.18477343, -0.09105004, 0,
    0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1,
)  # fmt: skip


def test_levels_are_those_of_the_published_table():
    """Dettmers et al. (2023), appendix E; there from quantiles in float32."""
    assert LEVELS.tolist() == pytest.approx(TABLE, abs=2e-6)


def test_values_become_the_nearest_level_of_their_block():
    """Blocks of 2 with scales 2 and 1 (128 of 255ths of 2: 1.00392): 0.5 / 2 is nearest to 0.2461."""
    decoded, (frame,), _ = codec_trips.sent(NF4(block=2), [[2.0, 0.5, -1.0, 0.0]], STREAMS)
    small = 2 * 128 / 255

    assert decoded[0].tolist() == pytest.approx([2.0, 2 * 0.2461123, -small, 0.0], abs=1e-6)
    assert frame[-4 - 8 : -4].hex() == "00000040" + "ff80" + "fa" + "07"


def test_normal_values_lose_as_much_as_is_published_and_less_than_in_even_steps():
    """Specification: NMSE 0.00845 in blocks of 64 (scales in float32), symmetric int4 0.01160."""
    x = np.random.default_rng(0).standard_normal((1, 64 * 4000)).astype(np.float32)
    blocks = x.reshape(-1, 64)
    scale = np.abs(blocks).max(axis=1, keepdims=True)
    plain = LEVELS[np.abs(blocks[..., None] / scale[..., None] - LEVELS).argmin(axis=2)] * scale
    even = np.rint(blocks / scale * 7) * scale / 7
    lost = [np.square(y.reshape(-1) - x[0]).mean() for y in (plain, even, decoded(coded(x, 64), 64))]

    assert lost[:2] == pytest.approx([0.00845, 0.01160], rel=0.01)
    assert lost[2] == pytest.approx(lost[0], rel=0.02)


def test_a_long_tensor_takes_4_127_bits_a_value():
    """4 + 8 / 64 + 32 / (64 * 256), as the paper counts."""
    assert 8 * NF4().max_body((64 * 256 * 3,)) / (64 * 256 * 3) == pytest.approx(4.126953125)


def test_what_was_rounded_once_stays_as_it_is():
    x = np.random.default_rng(1).standard_normal((1, 20_000)).astype(np.float32)
    once = decoded(coded(x, 64), 64)

    assert np.array_equal(decoded(coded(once, 64), 64), once)


def test_a_frame_whose_scales_are_not_a_cohorts_own_is_refused():
    layout = Layout(()).followed_by(w=(2,))
    good = Record(0, 0x03, 2, bytes.fromhex("00000040" + "ff" + "ff"))
    bad = Record(0, 0x03, 2, bytes.fromhex("00000040" + "fe" + "ff"))

    assert NF4().decode([good], layout, STREAMS.context(0)).tolist() == [2, 2]
    with pytest.raises(FrameError, match="no block has the largest scale of its group, 2"):
        NF4().decode([bad], layout, STREAMS.context(0))


def test_a_block_has_a_value():
    with pytest.raises(ValueError, match="block must be at least 1, got 0"):
        NF4(block=0)
