"""Oracles: the golden bytes and frame of the wire format, hand calculations, least squares."""

import codec_trips
import numpy as np
import pytest
import torch

from gauntlet.clients.codecs.one_byte import OneByte
from gauntlet.clients.codecs.parts.log_bytes import from_log_bytes, to_log_bytes
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.directions import Directions
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Envelope, Record, read_frame, write_frame
from gauntlet.core.updates import Updates

STREAMS = CodecStreams(seed=0, round=7)


def directions(client, count, size, pool=None):
    return Directions(STREAMS.public_seed, STREAMS.round, client, count, size, pool)


def test_the_golden_bytes():
    values = np.array([1.0, -1.0, 0.5, 0.001, 1e-5, 3000, -0.37, 0.0])
    assert to_log_bytes(values).tobytes().hex() == "40c03a09007fb800"


def test_the_golden_frame():
    """Three scalars 1, -1 and 0.5 of client 3 in round 7."""
    body = to_log_bytes(np.array([1.0, -1.0, 0.5])).tobytes()
    frame = write_frame(Envelope(15, 7, 3, 0xBEEF), [Record(0, 0x09, 3, body)])
    expected = "474e010f 07000000 03000000 0100 efbe 00 09 03 03 40c03a b5ba2250"
    assert frame.hex() == expected.replace(" ", "")
    codec = OneByte(scalars_per_round=3)
    vector = torch.from_numpy(directions(3, 3, 40).combined(np.array([1.0, -1.0, np.exp(-6 / 8)])))
    one = codec.encode(_updates([vector], first=3), codec_trips.flat(40), None, STREAMS)[0][0]
    assert write_frame(Envelope(15, 7, 3, 0xBEEF), one) == frame
    records = read_frame(frame, Envelope(15, 7, 3, 0xBEEF), codec.records(codec_trips.flat(40)), 27)
    assert torch.equal(codec.decode(records, codec_trips.flat(40), STREAMS.context(3)), vector)


def _updates(rows, first=0):
    ids = torch.arange(len(rows)) + first
    return Updates(torch.stack(rows), ids, torch.ones_like(ids))


def test_every_byte_but_one_stands_for_a_number_and_comes_back():
    codes = np.array([code for code in range(256) if code != 0x80], dtype=np.uint8)
    assert np.array_equal(to_log_bytes(from_log_bytes(codes)), codes)
    with pytest.raises(FrameError, match="0x80"):
        from_log_bytes(np.array([3, 0x80], dtype=np.uint8))


def test_a_byte_is_off_by_the_sixteenth_of_a_power_of_e_at_most():
    """exp(1/16) - 1 = 6.45 %, over the whole range; below half of the least size stands 0."""
    sizes = np.exp(np.linspace(-63 / 8, 63 / 8, 100_001))
    off = np.abs(from_log_bytes(to_log_bytes(sizes)) / sizes - 1)
    assert off.max() == pytest.approx(np.expm1(1 / 16), rel=1e-3)
    least = 0.5 * np.exp(-63 / 8)
    assert to_log_bytes(np.array([0.999 * least, 1.001 * least, -1e9])).tolist() == [0, 1, 0xFF]


@pytest.mark.parametrize("pool", [None, 30])
def test_of_a_combination_of_the_directions_nothing_is_lost_but_what_a_byte_loses(pool):
    factors = np.array([1.5, -0.02, 0.3, -40.0])
    rows = [directions(i, 4, 600, pool).combined(factors * 0.03) for i in range(2)]
    codec = OneByte(scalars_per_round=4, seed_pool=pool, unit=0.03)
    decoded, frames, rejected = codec_trips.sent(codec, rows, STREAMS)
    assert not rejected
    assert [len(frame) for frame in frames] == [20 + 4 + 4] * 2
    rounded = from_log_bytes(to_log_bytes(factors)) * 0.03
    for i, found in enumerate(decoded.numpy()):
        assert np.array_equal(found, directions(i, 4, 600, pool).combined(rounded))


def test_of_any_other_update_the_part_in_the_span_is_sent():
    """About S / P of its squared length: 20 of 500 is 4 %; and the bytes cost next to nothing of it."""
    rows = np.random.default_rng(0).standard_normal((8, 500))
    decoded, _, _ = codec_trips.sent(OneByte(scalars_per_round=20, unit=0.01), rows, STREAMS)
    kept = 1 - np.square(decoded.numpy() - rows).sum(axis=1) / np.square(rows).sum(axis=1)
    assert kept.mean() == pytest.approx(0.04, abs=0.01)
    for i, (row, found) in enumerate(zip(rows, decoded.numpy(), strict=True)):
        span = np.stack(list(directions(i, 20, 500).each()), axis=1)
        exact = span @ np.linalg.lstsq(span, row, rcond=None)[0]
        assert np.linalg.norm(found - exact) < 0.0646 * np.linalg.norm(exact) * 1.6


def test_where_bytes_would_lose_more_than_all_zeros_are_sent():
    """Of one coordinate and 40 directions the shortest factors are below the least byte of this unit."""
    decoded, frames, _ = codec_trips.sent(OneByte(scalars_per_round=40, unit=1e6), [[0.5]], STREAMS)
    assert decoded.tolist() == [[0.0]]
    assert len(frames[0]) == 20 + 4 + 40


def test_an_update_that_is_not_finite_gives_a_frame_that_is_refused():
    decoded, _, rejected = codec_trips.sent(OneByte(), [[1.0, np.nan], [1.0, 2.0]], STREAMS)
    assert len(decoded) == 1
    assert [row for row, _ in rejected] == [0]


def test_many_random_numbers_are_warned_of(monkeypatch):
    monkeypatch.setattr("gauntlet.clients.codecs.one_byte.MANY", 50)
    with pytest.warns(UserWarning, match="60 random numbers a round"):
        codec_trips.sent(OneByte(scalars_per_round=10), np.ones((2, 3)), STREAMS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scalars_per_round": 0}, "from 1 to 4096, got 0"),
        ({"scalars_per_round": 4097}, "from 1 to 4096, got 4097"),
        ({"seed_pool": 9}, "seed_pool must be from scalars_per_round, 10, to 65536"),
        ({"seed_pool": 10**12}, "seed_pool must be from scalars_per_round, 10, to 65536"),
        ({"unit": 0.0}, "unit must be above 0"),
        ({"unit": float("nan")}, "unit must be above 0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        OneByte(**options)
