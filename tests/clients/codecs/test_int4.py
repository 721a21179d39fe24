"""Oracles: multiples by hand, and a search over every interval in numpy."""

import codec_trips
import numpy as np
import pytest
from codec_trips import flat

from gauntlet.clients.codecs.int4 import Int4
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record

STREAMS = CodecStreams(seed=0, round=7)


def sent(codec, rows):
    return codec_trips.sent(codec, rows, STREAMS)


def test_values_become_multiples_of_the_interval_over_n():
    """3 bits, n = 3, c = 6: steps of 2; codes 6 4 3 0 3 and 2.9 / 2 = 1.45 down."""
    decoded, (frame,), _ = sent(Int4(bits=3, interval="max"), [[6.0, 2.0, 0.0, -6.0, -0.9, 2.9]])
    assert decoded[0].tolist() == [6, 2, 0, -6, 0, 2]
    assert frame[-4 - 8 : -4].hex() == "0000c040" + "03" + "d18700"  # 110 100 011 000 011 100


@pytest.mark.parametrize(("bits", "gamma"), [(2, 2 / 3), (3, 6 / 7), (4, 14 / 15)])
def test_minimax_cuts_off_as_much_as_rounding_loses(bits, gamma):
    """c = gamma m: the largest loses (1 - gamma) m, and rounding half a step, gamma m / (2 n)."""
    assert 1 - gamma == pytest.approx(gamma / (2 * (2 ** (bits - 1) - 1)))
    decoded, _, _ = sent(Int4(bits=bits, interval="minimax"), [[15.0, -15.0, 0.0]])
    assert decoded[0].tolist() == pytest.approx([15 * gamma, -15 * gamma, 0])


def losses(x, gamma):
    """Return (mean error over mean size of the largest percent, NMSE) in 4 bits, in float64."""
    c = gamma * np.abs(x).max()
    lost = np.abs(np.rint(np.clip(x / c, -1, 1) * 7) * c / 7 - x)
    large = np.argsort(np.abs(x))[-len(x) // 100 :]
    return lost[large].mean() / np.abs(x[large]).mean(), np.square(lost).sum() / np.square(x).sum()


@pytest.mark.parametrize("law", ["standard_normal", "laplace"])
def test_the_best_interval_for_large_coordinates_is_not_that_of_least_squares(law):
    """Both are the best of gamma = 0.9^i for what they look at, and a fifth worse for the other."""
    x = getattr(np.random.default_rng(0), law)(size=200_000).astype(np.float32).astype(np.float64)
    gammas = 0.9 ** np.arange(20)
    every = np.array([losses(x, gamma) for gamma in gammas])
    found = {}
    for interval in ("large", "mse"):
        decoded, _, _ = sent(Int4(interval=interval), [x])
        found[interval] = decoded[0].double().abs().max().item() / np.abs(x).max()
    assert found["large"] == pytest.approx(gammas[every[:, 0].argmin()], rel=1e-6)
    assert found["mse"] == pytest.approx(gammas[every[:, 1].argmin()], rel=1e-6)
    large, mse = every[every[:, 0].argmin()], every[every[:, 1].argmin()]
    assert mse[0] > 1.2 * large[0]
    assert large[1] > 1.2 * mse[1]


def test_each_client_has_the_interval_that_it_would_have_alone():
    rows = np.random.default_rng(1).standard_normal((3, 500)) * [[1], [100], [0.01]]
    together, _, _ = sent(Int4(), rows)
    for row, found in zip(rows, together, strict=True):
        assert sent(Int4(), [row])[0][0].tolist() == found.tolist()


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("0000803f" + "03" + "e0", "code 7, allowed 0 to 6"),
        ("0000803f" + "03" + "01", "padding bits are not zero"),
        ("0000803f" + "04" + "00", "bits 04, allowed 03"),
        ("0000803f" + "03", "0 bytes, expected 1"),
        ("0000c07f" + "03" + "00", "not finite and at least 0"),
        ("0000", "2 bytes, expected 4"),
    ],
)
def test_bodies_that_no_encoder_makes_are_refused(body, complaint):
    with pytest.raises(FrameError, match=complaint):
        Int4(bits=3).decode([Record(0, 0x03, 2, bytes.fromhex(body))], flat(2), STREAMS.context(0))


@pytest.mark.parametrize("bits", [1, 9])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(ValueError, match=f"bits must be between 2 and 8, got {bits}"):
        Int4(bits=bits)
