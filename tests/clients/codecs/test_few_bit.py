"""Oracles: levels by hand, every way to part a few values, and Lloyd-Max's errors on Gauss and Laplace."""

from itertools import combinations

import codec_trips
import numpy as np
import pytest
from codec_trips import flat

from gauntlet.clients.codecs.few_bit import FewBit
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record

STREAMS = CodecStreams(seed=0, round=7)


def sent(codec, rows):
    return codec_trips.sent(codec, rows, STREAMS)


def test_levels_are_the_means_of_what_is_near_them():
    """By hand: (-4, -2) and (1, 2, 3) are -3 and 2; codes 1 0 1 1 0."""
    decoded, (frame,), _ = sent(FewBit(bits=1), [[1.0, -4.0, 2.0, 3.0, -2.0]])
    assert decoded[0].tolist() == [2, -3, 2, 2, -3]
    assert frame[-4 - 10 : -4].hex() == "000040c0" + "00000040" + "01" + "b0"


def parted(values, levels):
    """Return the least squared error of ``levels`` levels, over every way to part sorted values."""
    values = np.sort(values)
    ways = combinations(range(1, len(values)), levels - 1)
    return min(sum(np.square(p - p.mean()).sum() for p in np.split(values, way)) for way in ways)


@pytest.mark.parametrize("bits", [1, 2])
def test_no_other_levels_err_less(bits):
    """Whole numbers below 40 on 512 bins: each has a bin to itself."""
    stream = np.random.default_rng(0)
    for _ in range(10):
        row = stream.choice(40, size=9, replace=False).astype(float)
        decoded, _, _ = sent(FewBit(bits=bits), [row])
        lost = np.square(decoded[0].double().numpy() - row).sum()
        assert lost == pytest.approx(parted(row, 2**bits), rel=1e-5)


@pytest.mark.parametrize(
    ("law", "bits", "nmse"),
    [
        ("standard_normal", 1, 0.36339),
        ("standard_normal", 2, 0.11743),
        ("standard_normal", 3, 0.03448),
        ("laplace", 1, 0.5),
        ("laplace", 2, 0.1761),
        ("laplace", 3, 0.0543),
    ],
)
def test_it_errs_as_the_best_quantiser_of_the_law(law, bits, nmse):
    """Max. Quantizing for Minimum Distortion. IRE 1960 (Gauss); Laplace, 1 bit: means +-1, 1 - 1/2."""
    row = getattr(np.random.default_rng(0), law)(size=200_000)
    decoded, _, _ = sent(FewBit(bits=bits), [row])
    lost = np.square(decoded[0].double().numpy() - row).sum() / np.square(row).sum()
    assert lost == pytest.approx(nmse, rel=0.03 if law == "laplace" else 0.01)


def test_fewer_values_than_levels_come_back_as_they_were():
    decoded, _, _ = sent(FewBit(bits=3), [[1.5, -2.0, 1.5, 0.25]])
    assert decoded[0].tolist() == [1.5, -2, 1.5, 0.25]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("00000040" + "000040c0" + "01" + "b0", "levels do not ascend"),
        ("0000c07f" + "00000040" + "01" + "b0", "not finite"),
        ("000040c0" + "00000040" + "02" + "b0", "bits 02, allowed 01"),
        ("000040c0" + "00000040" + "01" + "b1", "padding bits are not zero"),
        ("000040c0" + "00000040" + "01", "0 bytes, expected 1"),
        ("000040c0", "4 bytes, expected 8"),
    ],
)
def test_bodies_that_no_encoder_makes_are_refused(body, complaint):
    with pytest.raises(FrameError, match=complaint):
        FewBit(bits=1).decode([Record(0, 0x03, 5, bytes.fromhex(body))], flat(5), STREAMS.context(0))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"bits": 0}, "bits must be between 1 and 4, got 0"),
        ({"bits": 5}, "bits must be between 1 and 4, got 5"),
        ({"bins": 7}, "bins must be between 8 and 1024, got 7"),
        ({"bins": 2000}, "bins must be between 8 and 1024, got 2000"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        FewBit(**options)
