"""Oracles: sums by hand, the specification's errors, and that no other trits are nearer."""

import codec_trips
import numpy as np
import pytest
from codec_trips import flat

from gauntlet.clients.codecs.parts.trits import fitted
from gauntlet.clients.codecs.trit_planes import TritPlanes
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record

STREAMS = CodecStreams(seed=0, round=7)


def sent(codec, rows):
    return codec_trips.sent(codec, rows, STREAMS)


def test_sums_of_two_scales_come_back_as_they_were():
    """By hand: (2, 0, -2, 2) is 1 (1 -1 -1 1) + 1 (1 1 -1 1): digits 2 0 0 2 2 | 2 0 2 in base 3."""
    decoded, (frame,), _ = sent(TritPlanes(), [[2.0, 0.0, -2.0, 2.0]])
    assert decoded[0].tolist() == [2, 0, -2, 2]
    assert frame[-4 - 10 : -4].hex() == "0000803f" + "0000803f" + "da14"


@pytest.mark.parametrize(("law", "nmse"), [("standard_normal", 0.0286), ("laplace", 0.0506)])
def test_it_errs_no_more_than_the_specification_says(law, nmse):
    """Groups of 128; here 0.0266 and 0.0413: another start finds better scales than the specification's."""
    row = getattr(np.random.default_rng(0), law)(size=25_600)
    decoded, _, _ = sent(TritPlanes(), [row])
    lost = np.square(decoded[0].double().numpy() - row).sum() / np.square(row).sum()
    assert 0.75 * nmse < lost <= nmse


def test_the_error_never_rises_with_the_turns():
    groups = np.random.default_rng(0).laplace(size=(50, 32)).astype(np.float32)
    before = np.full(50, np.inf)
    for turns in (1, 2, 3, 5, 10, 50):
        scales, (one, two) = fitted(groups, turns)
        lost = np.square(scales[:, :1] * one + scales[:, 1:] * two - groups, dtype=np.float64).sum(axis=1)
        assert (lost <= before * (1 + 1e-5)).all()
        before = lost


def test_no_other_sum_is_nearer():
    groups = np.random.default_rng(0).standard_normal((4, 9)).astype(np.float32)
    scales, (one, two) = fitted(groups, 50)
    every = np.array([[a * x + b * y for x in (-1, 0, 1) for y in (-1, 0, 1)] for a, b in scales])
    nearest = np.abs(groups[:, :, None] - every[:, None, :]).min(axis=2)
    found = np.abs(groups - scales[:, :1] * one - scales[:, 1:] * two)
    assert found == pytest.approx(nearest, abs=1e-6)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("0000803f0000003f" + "ff", "a byte above 242"),
        ("0000803f0000003f" + "51", r"at or above 3\^4"),
        ("0000803f0000003f", "0 bytes, expected 1"),
        ("0000803f000000bf" + "00", "not finite and at least 0"),
        ("0000803f", "4 bytes, expected 8"),
    ],
)
def test_bodies_that_no_encoder_makes_are_refused(body, complaint):
    with pytest.raises(FrameError, match=complaint):
        TritPlanes().decode([Record(0, 0x05, 2, bytes.fromhex(body))], flat(2), STREAMS.context(0))


@pytest.mark.parametrize("name", ["group", "turns"])
def test_options_out_of_range_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        TritPlanes(**{name: 0})
