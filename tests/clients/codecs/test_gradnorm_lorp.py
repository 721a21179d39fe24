"""Oracles: the gradient of a weight-normalised matrix by autograd, and a split by hand."""

import numpy as np
import pytest
import torch
from informed import informed

from gauntlet.clients.codecs.contract import CHECKS
from gauntlet.clients.codecs.gradnorm_lorp import GradNormLoRP
from gauntlet.clients.codecs.low_rank import LowRank
from gauntlet.clients.codecs.parts.wire import decode_cohort, encode_cohort
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.updates import Updates

LAYOUT = Layout((Slot("m", (6, 4), 0),))
BASIS = torch.linalg.qr(torch.from_numpy(np.random.default_rng(1).standard_normal((4, 2))))[0].float()
SHARED = [{"basis": BASIS, "short": 4, "until": 9, "due": False}]


def sent(codec, rows, params, layout=LAYOUT, shared=SHARED):
    vectors = torch.as_tensor(np.asarray(rows), dtype=torch.float32)
    ids = torch.arange(len(vectors))
    streams = CodecStreams(0, 7, shared, params=None if params is None else torch.as_tensor(params).float())
    frames, _ = encode_cohort(codec, Updates(vectors, ids, ids + 1), layout, 0xBEEF, codec.init(), streams)
    decoded, rejected = decode_cohort(codec, frames, ids.tolist(), layout, 0xBEEF, streams)
    assert not rejected
    return decoded, frames


@pytest.mark.parametrize("options", [{"rank": 2}, {"rank": 2, "refresh": "server"}], ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_promise_is_kept_once_there_are_bases(options, check):
    check(informed(GradNormLoRP(**options)))


def test_what_is_sent_of_a_row_is_the_gradient_of_its_length():
    """W = m V with rows of V of length 1 (weight normalisation): dL/dm by autograd; orthogonal the rest."""
    stream = np.random.default_rng(0)
    weights, gradient = (torch.from_numpy(stream.standard_normal((6, 4))) for _ in range(2))
    lengths = weights.norm(dim=1, keepdim=True).requires_grad_()
    (lengths * (weights / weights.norm(dim=1, keepdim=True)) * gradient).sum().backward()
    decoded, (frame,) = sent(GradNormLoRP(rank=2), [gradient.reshape(-1)], weights.reshape(-1))
    sizes = np.frombuffer(frame[20:44], "<f4")
    np.testing.assert_allclose(sizes, lengths.grad[:, 0].numpy(), rtol=1e-5)

    unit = weights / weights.norm(dim=1, keepdim=True)
    rest = gradient - lengths.grad * unit
    assert (rest * unit).sum(dim=1).abs().max() < 1e-14
    expected = lengths.grad * unit + rest @ BASIS.double() @ BASIS.double().T
    torch.testing.assert_close(decoded[0].double().view(6, 4), expected, rtol=1e-5, atol=1e-5)
    assert len(frame) == 20 + 4 + 4 * (6 + 2 * 6)


def test_a_frame_to_the_byte():
    """By hand: of (3, 4) the part along the weights (0, 2) is 4, and the rest (3, 0) lies in the basis."""
    layout = Layout((Slot("m", (1, 2), 0), Slot("n", (2, 2), 2)))
    basis = {"basis": torch.tensor([[1.0], [0.0]]), "short": 2, "until": 9, "due": False}
    params = [0.0, 0.0, 0.0, 2.0, 1.0, 0.0]
    row = [9.0, 9.0, 3.0, 4.0, 5.0, 6.0]
    decoded, (frame,) = sent(GradNormLoRP(rank=1), [row], params, layout, [None, basis])
    body = "00008040" + "0000a040" + "00004040" + "00000000"
    assert (
        frame[:-4].hex()
        == "474e01140700000000000000" + "0200efbe" + "00000208" + "00001041" * 2 + "01400410" + body
    )
    assert decoded[0].tolist() == [9.0, 9.0, 3.0, 4.0, 5.0, 0.0]


def test_it_loses_no_more_than_low_rank_with_the_same_basis_does_along_the_weights():
    """An update along the weights' own rows comes back whole; low_rank loses what its basis does not hold."""
    weights = np.random.default_rng(2).standard_normal((6, 4))
    row = (weights * np.arange(1, 7)[:, None]).reshape(-1)
    own, _ = sent(GradNormLoRP(rank=2), [row], weights.reshape(-1))
    other, _ = sent(LowRank(rank=2), [row], weights.reshape(-1))
    np.testing.assert_allclose(own[0].numpy(), row, rtol=1e-4, atol=1e-5)
    assert np.linalg.norm(other[0].numpy() - row) > 0.3 * np.linalg.norm(row)


def test_messages_of_a_round_add_up():
    weights, *rows = np.random.default_rng(3).standard_normal((4, 24))
    apart, _ = sent(GradNormLoRP(rank=2), rows, weights)
    total, _ = sent(GradNormLoRP(rank=2), [np.sum(rows, axis=0)], weights)
    torch.testing.assert_close(apart.sum(dim=0), total[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("params", [None, [0.0] * 24], ids=["of another model", "zeros"])
def test_a_row_that_has_no_direction_is_split_along_equal_entries(params):
    row = np.random.default_rng(4).standard_normal((6, 4))
    _, (frame,) = sent(GradNormLoRP(rank=2), [row.reshape(-1)], params)
    np.testing.assert_allclose(np.frombuffer(frame[20:44], "<f4"), row.sum(axis=1) / 2, rtol=1e-5)


def test_bodies_that_no_encoder_makes_are_refused():
    context = CodecStreams(0, 7, SHARED, params=torch.ones(24)).context(0)
    for tag, body, complaint in (
        (0x00, bytes(72), "tag 0x00, allowed 0x40"),
        (0x40, bytes(68), "68 bytes, expected 72"),
        (0x40, bytes.fromhex("0000c07f") * 18, "not finite"),
    ):
        with pytest.raises(FrameError, match=complaint):
            GradNormLoRP(rank=2).decode([Record(0, tag, 24, body)], LAYOUT, context)


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        GradNormLoRP(rank=0)
