"""Top-k against golden bytes, a sort, and its formulas."""

from statistics import NormalDist

import codec_trips
import numpy as np
import pytest
import torch
from codec_trips import flat

from gauntlet.clients.codecs.parts.wire import encode_cohort
from gauntlet.clients.codecs.topk import TopK
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record
from gauntlet.core.updates import Updates

STREAMS = CodecStreams(seed=0, round=7)
GOLDEN_POSITIONS = "05021dc408"
"""Positions 0, 3, 4, 17, 31 of 32: k = 5, b = 2, planes 00011101110 and 0010000001, padded to 3 bytes."""
GOLDEN_HALVES = "003c00c0003800b40042"
"""1, -2, 0.5, -0.25, 3 as IEEE halves."""


def sent(codec, rows):
    return codec_trips.sent(codec, rows, STREAMS)


def test_the_whole_frame_has_the_golden_bytes():
    """The specification's frame: round 7, client 3, tensor 0 of 32 elements, halves at Rice positions."""
    row = np.zeros(32)
    row[[0, 3, 4, 17, 31]] = [1, -2, 0.5, -0.25, 3]
    updates = Updates(torch.from_numpy(row[None].astype(np.float32)), torch.tensor([3]), torch.tensor([1]))
    codec = TopK(density=5 / 32, values="f16", pack="rice")
    frames, _ = encode_cohort(codec, updates, flat(32), 0xBEEF, None, STREAMS)
    assert frames[0].hex() == (
        "474e0108" "07000000" "03000000" "0100" "efbe" "00" "31" "20" "0f" + GOLDEN_POSITIONS + GOLDEN_HALVES
    ) + "b5c10427"  # fmt: skip


@pytest.mark.parametrize("pack", ["rice", "bitmap", "auto"])
@pytest.mark.parametrize("density", [0.01, 0.1, 0.5, 1.0])
def test_the_largest_stay_as_they_are_and_all_else_is_zero(density, pack):
    """Oracle: a stable sort by size, largest first, of each row."""
    rows = np.random.default_rng(3).standard_normal((4, 200)).astype(np.float32)
    decoded, _, _ = sent(TopK(density=density, pack=pack), rows)
    for row, found in zip(rows, decoded.numpy(), strict=True):
        expected = np.zeros(200, dtype=np.float32)
        kept = np.argsort(-np.abs(row), kind="stable")[: max(1, round(200 * density))]
        expected[kept] = row[kept]
        assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("value", [0.7, -0.7])
def test_of_equal_elements_the_first_are_kept_and_never_more_than_k(value):
    decoded, _, _ = sent(TopK(density=0.3), [[value] * 10])
    assert decoded[0].tolist() == pytest.approx([value] * 3 + [0] * 7)


def test_one_element_is_kept_of_a_tensor_that_is_not_empty():
    decoded, _, _ = sent(TopK(density=0.001), [[1.0, -3.0, 2.0]])
    assert decoded[0].tolist() == [0, -3, 0]


@pytest.mark.parametrize("density", [0.1, 0.01, 0.001])
def test_the_energy_that_is_kept_of_normal_values(density):
    """Closed form: with z the quantile of 1 - density / 2 it is 2 z phi(z) + density (43.9 % at 0.1)."""
    row = np.random.default_rng(0).standard_normal((1, 1_000_000)).astype(np.float32)
    decoded, _, _ = sent(TopK(density=density), row)
    kept = float(decoded.double().square().sum() / np.square(row, dtype=np.float64).sum())
    z = NormalDist().inv_cdf(1 - density / 2)
    assert kept == pytest.approx(2 * z * NormalDist().pdf(z) + density, rel=0.02)


def test_bodies_take_their_positions_and_values():
    """Rice: 4.756, 8.107 and 11.496 bits a position at 10, 1 and 0.1 percent (the specification, 2.1)."""
    row = np.random.default_rng(1).standard_normal((1, 1_000_000)).astype(np.float32)
    for density, position in ((0.1, 4.756), (0.01, 8.107), (0.001, 11.496)):
        (frame,) = sent(TopK(density=density, values="f16"), row)[1]
        kept = 1_000_000 * density
        assert 8 * (len(frame) - 40) / kept == pytest.approx(position + 16, rel=0.01)


def test_ideal_bits_are_the_supports_and_the_values():
    """By hand: 10 supports of 2 among 5, log2 10 = 3.3219, and 2 values of 16 bits."""
    codec = TopK(density=0.4, values="f16")
    updates = Updates(torch.arange(5.0)[None], torch.tensor([0]), torch.tensor([1]))
    (records,), _ = codec.encode(updates, flat(5), None, STREAMS)
    assert codec.ideal_bits(records, flat(5)) == pytest.approx(3.321928 + 32)


def test_an_update_that_is_not_finite_is_rejected_and_the_others_are_not():
    decoded, _, rejected = sent(TopK(density=0.5), [[1.0, 2.0], [np.nan, 2.0], [np.inf, 1.0]])
    assert [row for row, _ in rejected] == [1, 2]
    assert decoded.tolist() == [[0, 2]]


@pytest.mark.parametrize(
    ("tag", "body", "complaint"),
    [
        (0x31, GOLDEN_POSITIONS + GOLDEN_HALVES + "00", "11 bytes, expected 10"),
        (0x31, GOLDEN_POSITIONS + GOLDEN_HALVES[:-4], "8 bytes, expected 10"),
        (0x31, "05021dc409" + GOLDEN_HALVES, "padding bits are not zero"),
        (0x31, "04021dc400" + GOLDEN_HALVES[:-4], "4 positions, expected 5"),
        (0x31, GOLDEN_POSITIONS + "007e00c0003800b40042", "not finite"),
        (0x30, GOLDEN_POSITIONS + GOLDEN_HALVES, "tag 0x30, allowed 0x31, 0x21"),
        (0x21, "98004000" + "00" * 8, "4 positions, expected 5"),
        (0x21, "9800", "bitmap: 2 bytes, expected at least 4"),
        (0x31, "00", "0 positions, expected 5"),
    ],
)
def test_bodies_that_no_encoder_makes_are_refused(tag, body, complaint):
    codec = TopK(density=5 / 32, values="f16")
    with pytest.raises(FrameError, match=complaint):
        codec.decode([Record(0, tag, 32, bytes.fromhex(body))], flat(32), STREAMS.context(3))


@pytest.mark.parametrize("density", [0.0, -0.1, 1.1])
def test_a_density_out_of_range_is_refused(density):
    with pytest.raises(ValueError, match="density must be above 0 and at most 1"):
        TopK(density=density)
