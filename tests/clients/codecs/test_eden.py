"""Oracles: the half-tables of Lloyd and Max, a Gaussian's distortion, and an explicit rotation."""

import codec_trips
import numpy as np
import pytest
import torch
from codec_trips import flat
from scipy.linalg import hadamard as matrix
from scipy.stats import norm

from gauntlet.clients.codecs.eden import EDEN, _levels
from gauntlet.clients.codecs.parts.rotated import _hadamard
from gauntlet.clients.codecs.parts.rotation import hadamard, random_signs
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record
from gauntlet.core.seeds import generator
from gauntlet.core.updates import Updates

STREAMS = CodecStreams(seed=0, round=7)
TABLES = {1: [0.7979], 2: [0.4528, 1.5104], 3: [0.2451, 0.7560, 1.3439, 2.1519]}


def error_of(codec, rows):
    rows = np.asarray(rows, dtype=np.float32)
    decoded, _, _ = codec_trips.sent(codec, rows, STREAMS)
    return np.square(decoded.numpy() - rows, dtype=np.float64).sum() / np.square(rows, dtype=np.float64).sum()


def distortion(bits):
    """1 - sum of cell probability times squared level: the error of the best quantiser of a Gaussian."""
    levels = _levels(bits)
    ends = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
    return 1 - (np.diff(norm.cdf(ends)) * levels**2).sum()


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_the_levels_are_those_of_lloyd_and_max(bits):
    np.testing.assert_allclose(_levels(bits)[2 ** (bits - 1) :], TABLES[bits], atol=1e-3)


@pytest.mark.parametrize("size", [1, 2, 8, 64])
def test_the_rotation_is_hadamards_matrix_over_the_root_of_its_size(size):
    x = np.random.default_rng(0).standard_normal((2, 3, size)).astype(np.float32)
    np.testing.assert_allclose(hadamard(x), x @ matrix(size) / np.sqrt(size), atol=1e-5)
    np.testing.assert_allclose(hadamard(hadamard(x)), x, atol=1e-5)


def test_signs_are_plus_and_minus_one_equally_often():
    signs = random_signs(generator(0, "signs"), 100_001)
    assert set(signs.tolist()) == {1.0, -1.0}
    assert abs(signs.sum()) < 5 * 100_001**0.5


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
@pytest.mark.parametrize("law", ["normal", "laplace", "sparse"])
def test_whatever_the_values_the_error_is_that_of_a_gaussian(bits, law):
    """D with the scale of least error, D / (1 - D) unbiased; sparse: 1 percent of the values are not 0."""
    stream = np.random.default_rng(0)
    rows = stream.laplace(size=(1, 65_536)) if law == "laplace" else stream.standard_normal((1, 65_536))
    if law == "sparse":
        rows *= stream.random(rows.shape) < 0.01
    d, slack = distortion(bits), 0.06 if law == "sparse" else 0.03
    assert error_of(EDEN(bits=bits, scale="least_error"), rows) == pytest.approx(d, rel=slack)
    assert error_of(EDEN(bits=bits), rows) == pytest.approx(d / (1 - d), rel=slack)


def test_the_mean_over_clients_errs_as_one_over_their_number():
    """Every client sends the same update: the slope of the error against K is -1 on logarithms."""
    row = np.random.default_rng(0).standard_normal(16_384).astype(np.float32)
    decoded, _, _ = codec_trips.sent(EDEN(bits=1), np.tile(row, (16, 1)), STREAMS)
    errors = [np.square(decoded[:k].numpy().mean(axis=0) - row).mean() for k in (1, 4, 16)]
    slope = np.polyfit(np.log([1, 4, 16]), np.log(errors), 1)[0]
    assert slope == pytest.approx(-1, abs=0.05)


def test_only_the_last_chunk_is_padded():
    """2 * 8 + 3 values in chunks of 8: 8 + 8 + 4 codes of 2 bits, 3 scales and the byte of bits."""
    (frame,) = codec_trips.sent(EDEN(bits=2, chunk=8), np.ones((1, 19)), STREAMS)[1]
    assert len(frame) == 20 + 4 + 3 * 4 + 1 + 5


def test_a_scale_of_which_the_values_overflow_is_refused():
    body = np.array([3e38], "<f4").tobytes() + bytes([1, 0b11110000])
    with pytest.raises(FrameError, match="a value is not finite"):
        EDEN(bits=1).decode([Record(0, 0x03, 8, body)], flat(8), STREAMS.context(0))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"bits": 0}, "bits must be between 1 and 4, got 0"),
        ({"bits": 5}, "bits must be between 1 and 4, got 5"),
        ({"chunk": 12}, "chunk must be a power of two, got 12"),
        ({"chunk": 0}, "chunk must be a power of two, got 0"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        EDEN(**options)


@pytest.mark.parametrize("scale", ["unbiased", "least_error"])
def test_the_update_itself_fits_its_frame_exactly_and_half_the_noise_is_seen(scale):
    """Rotated coordinates lie in the cells of their codes, and its chunks have the frame's proportions."""
    rows = np.random.default_rng(0).laplace(size=(1, 300)).astype(np.float32)
    rows[:, 100:] *= 30
    codec = EDEN(bits=3, scale=scale, chunk=64)
    updates = Updates(torch.from_numpy(rows), torch.tensor([0]), torch.tensor([1]))
    records = codec.encode(updates, flat(300), None, STREAMS)[0][0]
    mismatch = codec.mismatch(records, flat(300), STREAMS.context(0))
    own = float(mismatch(updates.vectors[0]))
    assert own == pytest.approx(0, abs=1e-6)
    assert float(mismatch(7 * updates.vectors[0])) == pytest.approx(0, abs=1e-6)
    noise = torch.from_numpy(np.random.default_rng(1).laplace(size=300).astype(np.float32))
    assert float(mismatch(updates.vectors[0] + 0.5 * noise)) > 1e-3
    other = updates.vectors[0].clone()
    other[:100] *= 2
    assert float(mismatch(other)) > 1e-3


def test_the_mismatch_turns_as_the_codec_does():
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 64)).astype(np.float32))
    assert _hadamard(x).numpy() == pytest.approx(hadamard(x.numpy()), abs=1e-6)
