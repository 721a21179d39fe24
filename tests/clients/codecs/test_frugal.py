"""Oracles: the specification's errors of a Gaussian and a decaying matrix, and a split by hand."""

import numpy as np
import pytest
import torch
from informed import informed
from torch import nn

from gauntlet.clients.codecs.contract import CHECKS
from gauntlet.clients.codecs.frugal import Frugal
from gauntlet.clients.codecs.low_rank import LowRank
from gauntlet.clients.codecs.parts.accounts import nmse
from gauntlet.clients.codecs.parts.wire import decode_cohort, encode_cohort
from gauntlet.clients.codecs.sign import Sign
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record, payload_bytes
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.seeds import generator
from gauntlet.core.updates import Updates

MATRIX = Layout((Slot("m", (64, 32), 0),))


def one(row):
    return Updates(torch.as_tensor(row, dtype=torch.float32)[None], torch.tensor([3]), torch.tensor([1]))


def second(codec, row, layout=MATRIX):
    """Return (what the same update decodes to, its frame) in the round after the one that found a basis."""
    update, state, shared = one(row), codec.init(), None
    for t in range(2):
        streams = CodecStreams(0, t, shared)
        (frame,), state = encode_cohort(codec, update, layout, 7, state, streams)
        decoded, _ = decode_cohort(codec, [frame], [3], layout, 7, streams)
        share = getattr(codec, "share", None)
        shared = share and share(decoded[0], decoded[0], state)
    return decoded[0], frame


@pytest.mark.parametrize("options", [{"rank": 2}, {"rank": 2, "space": "columns"}], ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_promise_is_kept_once_there_are_bases(options, check):
    check(informed(Frugal(**options)))


@pytest.mark.parametrize(
    ("decays", "low_rank", "frugal", "sign"),
    [(False, 0.71235, 0.25297, 0.35995), (True, 0.11805, 0.04369, 0.45911)],
    ids=["gauss", "spectrum 1/j"],
)
def test_the_errors_are_those_of_the_specification(decays, low_rank, frugal, sign):
    """A 64 x 32 matrix of default_rng(0), rank 4, in its own best basis; 1,024 + 256 + 4 bytes."""
    matrix = np.random.default_rng(0).standard_normal((64, 32))
    if decays:
        left, _, right = np.linalg.svd(matrix, full_matrices=False)
        matrix = (left / np.arange(1, 33)) @ right
    row = torch.from_numpy(matrix.reshape(-1)).float()
    for codec, expected in ((LowRank(4), low_rank), (Frugal(4), frugal), (Sign(), sign)):
        decoded, frame = second(codec, row)
        assert nmse(row, decoded) == pytest.approx(expected, abs=2e-5)
    assert payload_bytes(second(Frugal(4), row)[1]) == 1024 + 256 + 4
    assert payload_bytes(frame) == 260


SHARED = [{"basis": torch.tensor([[1.0], [0.0]]), "short": 2, "until": 9, "due": False}]


def test_a_frame_to_the_byte():
    """By hand: of [[3, 1], [-2, -3]] column 0 is sent as it is, and of (0, 1, 0, -3) the mean size 1."""
    layout = Layout((Slot("m", (2, 2), 0),))
    streams, codec = CodecStreams(0, 7, SHARED), Frugal(rank=1)
    update = one([3.0, 1.0, -2.0, -3.0])
    (frame,), _ = encode_cohort(codec, update, layout, 0xBEEF, codec.init(), streams)
    body = "0000803f" + "00004040" + "000000c0" + "10"
    assert frame[:-4].hex() == "474e01120700000003000000" + "0100efbe" + "0042040d" + body
    decoded, _ = decode_cohort(codec, [frame], [3], layout, 0xBEEF, streams)
    assert decoded[0].tolist() == [4.0, 1.0, -1.0, -1.0]


def test_columns_are_sent_as_they_are_beside_signs_of_the_others():
    """The two longest columns of the round before come back exactly, off by the scale of the signs."""
    stream = np.random.default_rng(1)
    matrix = stream.standard_normal((64, 32)) * np.where(np.isin(np.arange(32), (5, 20)), 10, 1)
    decoded, frame = second(Frugal(rank=2, space="columns"), matrix.reshape(-1))
    lost = np.abs(decoded.numpy().reshape(64, 32) - matrix)
    np.testing.assert_allclose(lost[:, [5, 20]], lost[0, 5], atol=1e-5)  # the sign of nothing counts as 1
    assert payload_bytes(frame) == 4 + 4 * 2 * 64 + 256


def test_bodies_that_no_encoder_makes_are_refused():
    layout, codec = Layout((Slot("m", (2, 2), 0),)), Frugal(rank=1)
    context = CodecStreams(0, 7, SHARED).context(3)
    one_and_two = bytes.fromhex("0000803f") * 2
    for body, complaint in (
        (bytes.fromhex("000080bf") + one_and_two + b"\x10", "a scale is not finite and at least 0"),
        (bytes.fromhex("0000803f") + one_and_two + b"\x11", "padding bits are not zero"),
        (bytes.fromhex("0000803f") + bytes.fromhex("0000c07f") * 2 + b"\x10", "not finite"),
        (bytes.fromhex("0000803f") + one_and_two, "0 bytes, expected 1"),
    ):
        with pytest.raises(FrameError, match=complaint):
            codec.decode([Record(0, 0x42, 4, body)], layout, context)


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        Frugal(rank=0)


@pytest.mark.parametrize("space", ["low_rank", "columns"])
def test_what_fits_a_frame_best_is_the_update_itself(space):
    """Nothing fits better than 0, which only what agrees in coefficients and in every sign has.

    By hand: of an update with one entry of the rest turned, its square over the sum of squares.
    """
    codec, layout = Frugal(2, refresh="random", space=space), Layout.of(nn.Linear(12, 8))
    update = torch.from_numpy(generator(0, "frugal").standard_normal(layout.num_parameters)).float()
    streams = CodecStreams(0, 1)
    (records,), _ = codec.encode(one(update), layout, codec.init(), streams)
    fits = codec.mismatch(records, layout, streams.context(0))

    assert float(fits(update)) == pytest.approx(0, abs=1e-6)
    assert float(fits(3 * update)) == pytest.approx(0, abs=1e-6)
    for seed in range(20):
        other = torch.from_numpy(generator(seed, "others").standard_normal(len(update))).float()
        assert float(fits(update + 0.3 * other)) > 1e-3
    rest = (update - fits.inside.image(update))[: 12 * 8]
    turned = rest.clone()
    turned[5] = -turned[5]
    expected = turned[5].square() / rest.square().sum()
    whole = torch.cat([turned, torch.zeros(8)])
    assert float(fits.outside(whole)) == pytest.approx(float(expected), rel=1e-4)
