"""Oracles: the law of importance sampling, rows by hand, and sums of messages."""

import numpy as np
import pytest
import torch
from informed import informed

from gauntlet.clients.codecs.contract import CHECKS
from gauntlet.clients.codecs.grass import Grass
from gauntlet.clients.codecs.parts.wire import decode_cohort, encode_cohort
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.trees import num_bytes
from gauntlet.core.updates import Updates

LAYOUT = Layout((Slot("m", (10, 2, 3), 0), Slot("bias", (4,), 60)))
P = LAYOUT.num_parameters


def sent(codec, rows, shared=None, round_=0):
    vectors = torch.as_tensor(np.asarray(rows), dtype=torch.float32)
    ids, streams = torch.arange(len(vectors)), CodecStreams(5, round_, shared)
    frames, state = encode_cohort(codec, Updates(vectors, ids, ids + 1), LAYOUT, 7, codec.init(), streams)
    decoded, rejected = decode_cohort(codec, frames, ids.tolist(), LAYOUT, 7, streams)
    assert not rejected
    return decoded, frames, state


def known(lengths, whole=False):
    return {"rows": [torch.as_tensor(lengths, dtype=torch.float32), None], "whole": whole}


@pytest.mark.parametrize("options", [{"density": 0.5}, {"density": 0.4, "choice": "top"}], ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_promise_is_kept_once_lengths_are_known(options, check):
    check(informed(Grass(**options)))


def test_a_sampled_row_comes_back_over_its_probability():
    """With q = 0.1 / 10 + 0.9 share, of r = 4 draws: times (how often) / (4 q)."""
    lengths = np.arange(10.0)
    q = 0.01 + 0.9 * lengths / 45
    row = np.random.default_rng(0).standard_normal(P).astype(np.float32)
    decoded, frames, _ = sent(Grass(density=0.4, uniform=0.1), [row], known(lengths))
    factors = decoded[0, :60].double().numpy().reshape(10, 6) / row[:60].reshape(10, 6)
    times = factors[:, 0] * 4 * q
    np.testing.assert_allclose(times, np.rint(times), atol=1e-5)
    assert np.rint(times).sum() == 4
    np.testing.assert_allclose(factors, factors[:, :1].repeat(6, axis=1), rtol=1e-5)
    assert len(frames[0]) == 20 + 4 + 4 + 24 * int((times > 0.5).sum()) + 16
    torch.testing.assert_close(decoded[0, 60:], torch.from_numpy(row[60:]), rtol=0, atol=0)


@pytest.mark.parametrize("spread", ["uniform", "by length"])
def test_the_error_is_that_of_importance_sampling(spread):
    """E |decoded - x|^2 = (sum |x_j|^2 / q_j - |x|^2) / r: 10 r^-1 |x|^2 of the uniform law, by hand."""
    stream = np.random.default_rng(1)
    rows = stream.standard_normal((10, 6)) * np.linspace(0.1, 2, 10)[:, None]
    x = np.concatenate([rows.reshape(-1), np.zeros(4)])
    squares = np.square(rows).sum(axis=1)
    told = None if spread == "uniform" else known(squares)
    q = np.full(10, 0.1) if told is None else 0.01 + 0.9 * squares / squares.sum()
    expected = ((squares / q).sum() - squares.sum()) / 3
    errors = [
        float(
            (sent(Grass(density=0.3, uniform=0.1), [x], told, t)[0][0] - torch.from_numpy(x)).square().sum()
        )
        for t in range(1500)
    ]
    assert np.mean(errors) == pytest.approx(expected, abs=4 * np.std(errors) / 1500**0.5)


def test_the_longest_rows_are_sent_as_they_are_and_all_of_them_every_refresh():
    codec, row = Grass(density=0.2, choice="top", refresh=3), np.arange(1.0, P + 1)
    state, shared, seen = codec.init(), None, []
    for t in range(7):
        decoded, frames, state = sent(codec, [row], shared, t)
        seen.append((len(frames[0]), decoded[0]))
        shared = codec.share(torch.ones(P), decoded[0], state)
    whole = 20 + 5 + 4 + 4 * P
    assert [length == whole for length, _ in seen] == [True, False, False, True, False, False, True]
    kept = (seen[1][1][:60].view(10, 6) != 0).any(dim=1).nonzero().flatten().tolist()
    assert kept == [8, 9]
    torch.testing.assert_close(seen[1][1][48:], torch.from_numpy(row[48:]).float(), rtol=0, atol=0)


def test_a_row_that_did_not_come_keeps_the_length_that_it_had():
    codec = Grass(density=0.4, refresh=1)
    factors = [torch.tensor([0.0, 4.0] + [0.0] * 8), None]
    state = {"shapes": [[10, 2, 3], [4]], "round": 1, "lengths": known(np.full(10, 7.0)), "factors": factors}
    aggregate = torch.zeros(P)
    aggregate[6:12] = 8.0  # 6 values of 2, times 4
    found = codec.share(torch.ones(P), aggregate, state)
    assert found["rows"][0].tolist() == [7.0, 24.0] + [7.0] * 8
    assert num_bytes(found) == 4 * 10 + 1


def test_noise_on_rows_that_nobody_sent_gives_them_no_length():
    codec = Grass(density=0.4, refresh=1)
    factors = [torch.tensor([0.0, 4.0] + [0.0] * 8), None]
    state = {"shapes": [[10, 2, 3], [4]], "round": 1, "lengths": known(np.full(10, 7.0)), "factors": factors}
    aggregate = torch.full((P,), 8.0)
    assert codec.share(torch.ones(P), aggregate, state)["rows"][0].tolist() == [7.0, 24.0] + [7.0] * 8
    found = codec.share(torch.ones(P), aggregate, {**state, "lengths": None})
    assert found["rows"][0].tolist() == [0.0, 24.0] + [0.0] * 8


def test_messages_of_a_round_add_up():
    rows = np.random.default_rng(2).standard_normal((3, P))
    apart, _, _ = sent(Grass(density=0.3), rows)
    total, _, _ = sent(Grass(density=0.3), [rows.sum(axis=0)])
    torch.testing.assert_close(apart.sum(dim=0), total[0], rtol=1e-5, atol=1e-5)


def test_all_rows_lose_nothing():
    rows = np.random.default_rng(3).standard_normal((2, P)).astype(np.float32)
    decoded, _, _ = sent(Grass(density=1.0), rows)
    np.testing.assert_array_equal(decoded.numpy(), rows)


def test_a_frame_to_the_byte():
    """By hand: the longer row of [[1, 2], [3, 4]] is the second one."""
    layout = Layout((Slot("m", (2, 2), 0),))
    streams = CodecStreams(0, 7, {"rows": [torch.tensor([1.0, 2.0])], "whole": False})
    update = Updates(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([3]), torch.tensor([1]))
    codec = Grass(density=0.5, choice="top")
    (frame,), _ = encode_cohort(codec, update, layout, 0xBEEF, codec.init(), streams)
    assert frame[:-4].hex() == "474e010d0700000003000000" + "0100efbe" + "00400408" + "0000404000008040"


def test_bodies_that_no_encoder_makes_are_refused():
    codec = Grass(density=0.1)
    context = CodecStreams(5, 0).context(0)
    bias = Record(1, 0, 4, bytes(16))
    for tag, body, complaint in (
        (0x00, bytes(24), "tag 0x00, allowed 0x40"),
        (0x40, bytes(20), "20 bytes, expected 24"),
        (0x40, np.full(6, 3e38, "<f4").tobytes(), "times its factor is not finite"),
    ):
        with pytest.raises(FrameError, match=complaint):
            codec.decode([Record(0, tag, 60, body), bias], LAYOUT, context)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"density": 0.0}, "density must be above 0 and at most 1, got 0.0"),
        ({"uniform": 0.0}, "uniform must be above 0 and at most 1, got 0.0"),
        ({"refresh": 0}, "refresh must be at least 1 of choice 'sampled', got 0"),
        ({"refresh": 1, "choice": "top"}, "refresh must be at least 2 of choice 'top', got 1"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        Grass(**options)
