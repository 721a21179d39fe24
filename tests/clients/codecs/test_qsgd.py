"""Oracles: levels by hand, the specification's errors and entropies, CGX's test of equal values."""

import codec_trips
import numpy as np
import pytest
import torch
from codec_trips import flat

from gauntlet.clients.codecs.parts.packing import entropy
from gauntlet.clients.codecs.qsgd import QSGD
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record
from gauntlet.core.updates import Updates

STREAMS = CodecStreams(seed=0, round=7)


def sent(codec, rows):
    return codec_trips.sent(codec, rows, STREAMS)


@pytest.mark.parametrize("pack", ["fixed", "huffman", "rans", "auto"])
def test_values_on_levels_stay_as_they_are(pack):
    """Norm 5 and s = 5: levels are whole numbers."""
    decoded, _, _ = sent(QSGD(levels=5, pack=pack), [[3.0, -4.0, 0.0]])
    assert decoded[0].tolist() == [3, -4, 0]


def test_a_fixed_body_is_the_norm_the_bits_and_the_levels():
    """s = 2: levels -2 .. 2 as 0 .. 4 in 3 bits; 4 0 2 2 is 100 000 010 010 and 4 zeros."""
    _, (frame,), _ = sent(QSGD(levels=2, norm="max", pack="fixed"), [[1.0, -1.0, 0.0, 0.0]])
    assert frame[-11:-4].hex() == "0000803f" + "03" + "8120"


@pytest.mark.parametrize(
    ("levels", "bucket_size", "expected"),
    [
        (1, None, (2e6 / np.pi) ** 0.5 - 1),
        (15, None, 52.2),
        (1, 512, 17.0),
        (15, 512, 0.380),
        (127, 512, 0.005),
        (15, 128, 0.095),
    ],
)
def test_the_error_on_normal_values_is_that_of_the_specification(levels, bucket_size, expected):
    """Measured there for 1e6 values; of s = 1 by the closed form (835 there)."""
    row = np.random.default_rng(0).standard_normal((1, 1_000_000)).astype(np.float32)
    decoded, _, _ = sent(QSGD(levels=levels, bucket_size=bucket_size, pack="fixed"), row)
    error = np.square(decoded.numpy() - row, dtype=np.float64).sum() / np.square(row, dtype=np.float64).sum()
    assert error == pytest.approx(expected, rel=0.1 if levels == 127 else 0.03)


def test_huffman_is_close_to_the_entropy_and_the_smaller_form_is_sent():
    """1.686 bits of entropy at s = 15 and buckets of 512; of pairs zlib's code takes 1.009 times that.

    Of whole tensors one level in 300 is not 0: five of them in a byte still take 6 times their entropy.
    """
    row = np.random.default_rng(0).standard_normal((1, 1_000_000)).astype(np.float32)
    codec = QSGD(pack="huffman")
    _, (frame,), _ = sent(codec, row)
    norms = 32 * -(-1_000_000 // 512)
    ideal = codec_trips.ideal(codec, row, STREAMS) - norms
    assert ideal / 1e6 == pytest.approx(1.686, rel=0.01)
    assert (8 * len(frame) - norms) / ideal == pytest.approx(1.009, rel=0.002)
    assert sent(QSGD(), row)[1] == sent(codec, row)[1]  # Huffman is below 1.03
    sparse = [sent(QSGD(levels=4, bucket_size=None, pack=pack), row)[1] for pack in ("auto", "rans")]
    assert sparse[0] == sparse[1]
    assert len(sent(QSGD(levels=127, bucket_size=8, norm="max"), np.arange(8.0)[None])[1][0]) < 60


@pytest.mark.parametrize(("numel", "tag"), [(10, 0x03), (16_000, 0x07), (20_000, 0x06)])
def test_auto_sends_fixed_codes_of_a_few_values_and_tries_rans_of_many_alone(numel, tag):
    """Of whole tensors most levels are 0: five in a byte take more than 1.03 times their entropy."""
    row = np.random.default_rng(0).standard_normal((1, numel)).astype(np.float32)
    one = torch.tensor([0])
    updates = Updates(torch.from_numpy(row), one, one + 1)
    codec = QSGD(levels=4, bucket_size=None)
    ((record,),), _ = codec.encode(updates, flat(numel), None, STREAMS)
    assert record.tag == tag


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_equal_values_are_exact_with_the_largest_as_norm(bits):
    """CGX's own test."""
    decoded, _, _ = sent(QSGD(levels=2 ** (bits - 1) - 1, norm="max"), np.full((1, 1000), 0.3))
    assert set(decoded[0].tolist()) == {np.float32(0.3)}


def test_a_norm_beyond_float32_is_rejected():
    _, _, rejected = sent(QSGD(), np.full((1, 600), 3e38))
    assert [row for row, _ in rejected] == [0]


@pytest.mark.parametrize(
    ("tag", "body", "complaint"),
    [
        (0x03, "0000803f" + "03" + "8121", "padding bits are not zero"),
        (0x03, "0000803f" + "03" + "e120", "code 7, allowed to 4"),
        (0x03, "0000803f" + "04" + "8120", "bits 04, allowed 03"),
        (0x07, "0000803f" + "05" + "789c", "inner code 5, allowed 9 and 10"),
        (0x07, "0000803f" + "09" + "00", "zlib body"),
        (0x07, "0000803f" + "09" + "789c03000000000 1".replace(" ", ""), "no whole stream of 4 bytes"),
        (0x05, "0000803f" + "03" + "8120", "tag 0x05, allowed 0x03, 0x07, 0x06"),
        (0x06, "0000803f" + "00", "rans body"),
        (0x06, "0000803f" + 5 * "0004" + "00" + "00000100", "add up to 5120"),
    ],
)
def test_bodies_that_no_encoder_makes_are_refused(tag, body, complaint):
    with pytest.raises(FrameError, match=complaint):
        QSGD(levels=2).decode([Record(0, tag, 4, bytes.fromhex(body))], flat(4), STREAMS.context(0))


def test_a_stream_that_would_unpack_to_gigabytes_is_cut_off():
    import zlib

    bomb = bytes.fromhex("0000803f09") + zlib.compress(bytes(50_000_000))
    with pytest.raises(FrameError, match="no whole stream of 4 bytes"):
        QSGD(levels=2).decode([Record(0, 0x07, 4, bomb)], flat(4), STREAMS.context(0))


@pytest.mark.parametrize("options", [{"levels": 0}, {"levels": 128}, {"bucket_size": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=r"must be (between|at least) 1"):
        QSGD(**options)


def test_the_entropy_of_three_of_four_equal_codes():
    """By hand: 3 log2(4/3) + log2 4."""
    assert entropy(np.array([1, 1, 1, 2])) == pytest.approx(3 * np.log2(4 / 3) + 2)


@pytest.mark.parametrize("levels", [25, 31, 100, 127])
def test_a_norm_whose_levels_round_beyond_float32_is_rejected(levels):
    """s (m / s) is above m where m / s was rounded up, and m is the largest float32."""
    _, _, rejected = sent(QSGD(levels, norm="max"), np.full((1, 3), np.finfo(np.float32).max))
    assert [row for row, _ in rejected] == [0]
