"""Oracles: linearity, Charikar's variance, and the recall that the specification (4.12) measured."""

import codec_trips
import numpy as np
import pytest
from codec_trips import flat

from gauntlet.clients.codecs.count_sketch import CountSketch
from gauntlet.clients.codecs.error_feedback import ErrorFeedback
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record

STREAMS = CodecStreams(seed=0, round=7)
GOLDEN = [93.0, 0.0, 0.0, -6.0]


def cells_of(codec, rows, streams=STREAMS):
    """Return the cells that are sent of each row, float64.  # [K, rows cols]"""
    _, frames, _ = codec_trips.sent(codec, rows, streams)
    return np.stack([np.frombuffer(frame[-4 * codec_cells(codec, rows) - 4 : -4], "<f4") for frame in frames])


def codec_cells(codec, rows):
    return codec.max_body((len(rows[0]),)) // 4


def test_the_sketch_of_a_sum_is_the_sum_of_the_sketches():
    x, y = np.random.default_rng(0).standard_normal((2, 1000))
    one, two, both = cells_of(CountSketch(), [x, y, x + y])
    np.testing.assert_allclose(one + two, both, rtol=1e-4, atol=1e-4)


def test_one_coordinate_alone_comes_back_with_its_sign_in_one_cell_of_each_row():
    """By hand: nothing else falls into its cells, so that every row and the median are -3."""
    row = np.zeros((1, 100))
    row[0, 42] = -3
    decoded, frames, _ = codec_trips.sent(CountSketch(), row, STREAMS)
    assert decoded[0, 42] == -3
    assert int((decoded != 0).sum()) == 1
    assert np.abs(cells_of(CountSketch(), row)).sum() == 5 * 3
    assert len(frames[0]) == 20 + 5 + 4 * 50


def test_one_rows_error_has_the_variance_of_charikar():
    """(||x||^2 - x_i^2) / cols, over 60 rounds of 2000 coordinates, 200 cells."""
    row = np.random.default_rng(1).standard_normal((1, 2000))
    codec = CountSketch(rows=1, ratio=0.1, density=1.0)
    errors = [
        codec_trips.sent(codec, row, CodecStreams(0, t))[0][0].double().numpy() - row[0] for t in range(60)
    ]
    expected = (np.square(row).sum() - np.square(row[0])) / 200
    assert np.mean(np.square(errors)) == pytest.approx(expected.mean(), rel=0.05)


def test_heavy_coordinates_are_found():
    """The specification's 4.12: 50 of size 10 in N(0, 0.1^2), n = 1e5, 5 x 5000: recall 1, rms 0.24."""
    stream = np.random.default_rng(0)
    row = 0.1 * stream.standard_normal((1, 100_000))
    heavy = stream.choice(100_000, 50, replace=False)
    row[0, heavy] = 10
    decoded = codec_trips.sent(CountSketch(ratio=0.25, density=50 / 1e5), row, STREAMS)[0][0].numpy()
    assert set(np.flatnonzero(decoded)) == set(heavy)
    assert np.sqrt(np.square(decoded[heavy] - 10).mean()) < 0.5


def test_the_median_leaves_out_rows_that_a_heavy_coordinate_fell_into():
    """Exactly: of three values in 20 cells a row, most rows hold each of them alone."""
    row = np.zeros((1, 400))
    row[0, :3] = 2, 100, -50
    decoded = codec_trips.sent(CountSketch(ratio=0.25, density=3 / 400), row, STREAMS)[0][0]
    assert decoded[:3].tolist() == [2, 100, -50]


def test_golden_bytes():
    """Of powers of two the cells say who fell where: 1 - 4 + 32 - 64 + 128, and 2 + 8 - 16; kept since."""
    codec = CountSketch(rows=1, ratio=0.5, density=1.0)
    _, frames, _ = codec_trips.sent(codec, [[1, 2, 4, 8, 16, 32, 64, 128]], STREAMS)
    assert np.frombuffer(frames[0][-20:-4], "<f4").tolist() == GOLDEN


def test_bodies_that_no_encoder_makes_are_refused():
    codec, context = CountSketch(rows=1, ratio=0.5), STREAMS.context(0)
    for tag, body, complaint in ((0x40, bytes(8), "tag 0x40"), (0x00, bytes(4), "expected 8"),
                                 (0x00, bytes.fromhex("0000c07f") * 2, "not finite")):  # fmt: skip
        with pytest.raises(FrameError, match=complaint):
            codec.decode([Record(0, tag, 4, body)], flat(4), context)


def test_error_feedback_is_refused_around_it():
    with pytest.raises(ValueError, match="contract"):
        ErrorFeedback(codec="count_sketch")


@pytest.mark.parametrize(("option", "value"), [("ratio", 0.0), ("density", 1.5), ("rows", 0)])
def test_options_out_of_range_are_refused(option, value):
    with pytest.raises(ValueError, match=f"{option} must be"):
        CountSketch(**{option: value})
