"""Oracles: the law of a uniform support, and the error of a share of it."""

import codec_trips
import numpy as np
import pytest
from codec_trips import flat
from scipy.stats import chisquare

from gauntlet.clients.codecs.error_feedback import ErrorFeedback
from gauntlet.clients.codecs.randk import RandK
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record

STREAMS = CodecStreams(seed=0, round=7)


def sent(codec, rows, streams=STREAMS):
    return codec_trips.sent(codec, rows, streams)


def test_the_kept_values_come_back_times_n_over_k_and_no_position_is_sent():
    rows = np.random.default_rng(0).standard_normal((3, 100)).astype(np.float32)
    decoded, frames, _ = sent(RandK(density=0.1), rows)
    for row, found in zip(rows, decoded.numpy(), strict=True):
        (kept,) = np.nonzero(found)
        assert len(kept) == 10
        np.testing.assert_allclose(found[kept], 10 * row[kept], rtol=1e-6)
    assert [len(frame) for frame in frames] == [20 + 4 + 40] * 3


def test_all_clients_share_a_support_or_each_has_its_own():
    rows = np.ones((2, 50))
    together, _, _ = sent(RandK(density=0.2), rows)
    apart, _, _ = sent(RandK(density=0.2, shared_support=False), rows)
    later, _, _ = sent(RandK(density=0.2), rows, CodecStreams(seed=0, round=8))
    assert (together[0] == together[1]).all()
    assert (apart[0] != apart[1]).any()
    assert (together[0] != later[0]).any()


def test_every_coordinate_is_drawn_equally_often():
    """Chi-square over 400 rounds of 5 of 20 coordinates; its p-value is a fixed number of this seed."""
    counts = np.zeros(20)
    for t in range(400):
        counts += sent(RandK(density=0.25), np.ones((1, 20)), CodecStreams(seed=0, round=t))[0][0].numpy() > 0
    assert counts.sum() == 2000
    assert chisquare(counts).pvalue > 0.01


@pytest.mark.parametrize(("scaled", "expected"), [(True, 9.0), (False, 0.9)])
def test_the_error_is_that_of_the_specification(scaled, expected):
    """n / k - 1 scaled, 1 - k / n unscaled, of values that are all equal in size: exactly."""
    row = np.sign(np.random.default_rng(0).standard_normal((1, 1000)))
    decoded, _, _ = sent(RandK(density=0.1, scaled=scaled), row)
    assert np.square(decoded.numpy() - row).sum() / 1000 == pytest.approx(expected, rel=1e-5)


def test_error_feedback_is_refused_around_the_scaled_one():
    """It diverges: n / k - 1 is above 1."""
    with pytest.raises(ValueError, match="contract"):
        ErrorFeedback(codec={"name": "randk"})
    ErrorFeedback(codec={"name": "randk", "scaled": False})


def test_bodies_that_no_encoder_makes_are_refused():
    codec, context = RandK(density=0.5), STREAMS.context(0)
    for tag, body, complaint in ((0x00, bytes(8), "tag 0x00"), (0x40, bytes(4), "expected 8"),
                                 (0x40, bytes.fromhex("0000c07f") * 2, "not finite")):  # fmt: skip
        with pytest.raises(FrameError, match=complaint):
            codec.decode([Record(0, tag, 4, body)], flat(4), context)


@pytest.mark.parametrize("density", [0.0, -0.1, 1.1])
def test_a_density_out_of_range_is_refused(density):
    with pytest.raises(ValueError, match="density must be above 0 and at most 1"):
        RandK(density=density)
