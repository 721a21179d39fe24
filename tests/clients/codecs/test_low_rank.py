"""Oracles: Eckart and Young's bound, projections by hand and in numpy, and a subspace that moves."""

import numpy as np
import pytest
import torch
from informed import informed

from gauntlet.clients.codecs.contract import CHECKS
from gauntlet.clients.codecs.error_feedback import ErrorFeedback
from gauntlet.clients.codecs.low_rank import LowRank
from gauntlet.clients.codecs.parts.wire import decode_cohort, encode_cohort
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.trees import num_bytes
from gauntlet.core.updates import Updates

LAYOUT = Layout((Slot("wide", (6, 4, 5), 0), Slot("bias", (7,), 120), Slot("tall", (9, 4), 127)))
P = LAYOUT.num_parameters


def cohort(rows=2, seed=0):
    vectors = torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, P)).astype(np.float32))
    return Updates(vectors, torch.arange(rows), torch.ones(rows, dtype=torch.int64))


def played(codec, updates, rounds, layout=LAYOUT):
    """Run rounds of one cohort's updates; return of each (decoded [K, P], frames, shared)."""
    state, shared, found = codec.init(), None, []
    for t in range(rounds):
        streams, ids = CodecStreams(5, t, shared), updates.client_ids.tolist()
        frames, state = encode_cohort(codec, updates, layout, 7, state, streams)
        decoded, rejected = decode_cohort(codec, frames, ids, layout, 7, streams)
        assert not rejected
        found.append((decoded, frames, shared))
        share = codec.share
        shared = None if share is None else share(torch.ones(P), decoded.mean(dim=0), state)
    return found


def best(matrix, rank):
    """Return the best approximation of this rank, by Eckart and Young."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    return (left[:, :rank] * values[:rank]) @ right[:rank]


@pytest.mark.parametrize(
    "options", [{"rank": 2}, {"rank": 2, "bits": 4}, {"rank": 3, "refresh": "server"}], ids=str
)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_promise_is_kept_once_there_are_bases(options, check):
    check(informed(LowRank(**options)))


def test_a_whole_round_comes_first_and_then_the_best_approximations_of_its_mean():
    """One client: what it sent whole gives the basis; then it comes back as Eckart and Young say."""
    updates = cohort(1)
    (first, _, _), (second, frames, _) = played(LowRank(rank=2, period=5), updates, 2)
    row = updates.vectors[0].double().numpy()
    torch.testing.assert_close(first, updates.vectors)
    for slot in (LAYOUT.parameters[0], LAYOUT.parameters[2]):
        matrix = row[slot.start : slot.start + slot.size].reshape(slot.shape[0], -1)
        found = second[0, slot.start : slot.start + slot.size].numpy().reshape(matrix.shape)
        np.testing.assert_allclose(found, best(matrix, 2), atol=1e-5)
    torch.testing.assert_close(second[0, 120:127], updates.vectors[0, 120:127], rtol=0, atol=0)
    assert len(frames[0]) == 20 + 5 + 4 + 4 + 4 * (2 * 20 + 7 + 2 * 9)


def test_what_comes_back_is_the_projection_to_the_last_bit():
    """M B in float32, times B^T: both products in float64, as numpy makes them."""
    updates = cohort(3)
    decoded, _, shared = played(LowRank(rank=2, period=9), updates, 3)[2]
    for entry, slot in ((shared[0], LAYOUT.parameters[0]), (shared[2], LAYOUT.parameters[2])):
        basis = entry["basis"].double().numpy()
        for row, found in zip(updates.vectors.numpy(), decoded.numpy(), strict=True):
            matrix = row[slot.start : slot.start + slot.size].astype(np.float64).reshape(slot.shape[0], -1)
            matrix = matrix.T if slot.shape[0] < matrix.shape[1] else matrix
            sent = (matrix @ basis).astype(np.float32).astype(np.float64)
            back = (sent @ basis.T).astype(np.float32)
            back = back.T if slot.shape[0] < prod_rest(slot) else back
            np.testing.assert_array_equal(found[slot.start : slot.start + slot.size], back.reshape(-1))


def prod_rest(slot):
    return slot.size // slot.shape[0]


def test_a_frame_to_the_byte():
    """By hand: of [[3, 4], [0, 5]] in the basis (0.6, 0.8) the coefficients 5 and 4 are sent."""
    layout = Layout((Slot("m", (2, 2), 0),))
    shared = [{"basis": torch.tensor([[0.6], [0.8]]), "short": 2, "until": 9, "due": False}]
    update = Updates(torch.tensor([[3.0, 4.0, 0.0, 5.0]]), torch.tensor([3]), torch.tensor([1]))
    streams, codec = CodecStreams(0, 7, shared), LowRank(rank=1)
    (frame,), _ = encode_cohort(codec, update, layout, 0xBEEF, codec.init(), streams)
    assert frame[:-4].hex() == "474e010e0700000003000000" + "0100efbe" + "00400408" + "0000a040" + "00008040"
    decoded, _ = decode_cohort(codec, [frame], [3], layout, 0xBEEF, streams)
    torch.testing.assert_close(decoded[0], torch.tensor([3.0, 4.0, 2.4, 3.2]))


def test_matrices_are_sent_whole_every_period_and_the_basis_follows_them():
    """Rounds 0, 3 and 6 of period 3; in between a basis of 2 x 6 and 2 x 4 numbers goes down."""
    rounds = played(LowRank(rank=2, period=3), cohort(2), 7)
    lengths = [len(frames[0]) for _, frames, _ in rounds]
    assert [length == max(lengths) for length in lengths] == [True, False, False] * 2 + [True]
    assert num_bytes(rounds[1][2]) == 4 * 2 * (6 + 4) + 2 * (8 + 8 + 1)


def test_messages_of_a_round_add_up():
    updates = cohort(4)
    decoded, _, shared = played(LowRank(rank=2), updates, 2)[1]
    total = Updates(updates.vectors.sum(dim=0, keepdim=True), torch.tensor([0]), torch.tensor([1]))
    codec, streams = LowRank(rank=2), CodecStreams(5, 1, shared)
    frames, _ = encode_cohort(codec, total, LAYOUT, 7, codec.init(), streams)
    summed, _ = decode_cohort(codec, frames, [0], LAYOUT, 7, streams)
    torch.testing.assert_close(decoded.sum(dim=0), summed[0], rtol=1e-5, atol=1e-5)


def test_a_rank_that_no_matrix_has_room_for_loses_nothing():
    updates = cohort(2)
    for decoded, _, _ in played(LowRank(rank=6), updates, 3):
        torch.testing.assert_close(decoded, updates.vectors, rtol=0, atol=0)


@pytest.mark.parametrize("refresh", ["full", "random"])
def test_error_feedback_gets_everything_through_where_the_basis_moves(refresh):
    """What clients sent and what they still hold back add up; a basis that moves lets all of it out."""
    updates = cohort(2)
    codec = ErrorFeedback({"name": "low_rank", "rank": 2, "period": 2, "refresh": refresh})
    state, shared, total = codec.init(), None, torch.zeros_like(updates.vectors)
    for t in range(40):
        streams = CodecStreams(5, t, shared)
        frames, state = encode_cohort(codec, updates, LAYOUT, 7, state, streams)
        decoded, _ = decode_cohort(codec, frames, [0, 1], LAYOUT, 7, streams)
        state = codec.settle(state, [0, 1])
        total += decoded
        shared = codec.share and codec.share(torch.ones(P), decoded.mean(dim=0), state)
    left = torch.stack([state["residuals"][i] for i in (0, 1)])
    torch.testing.assert_close(total + left, 40 * updates.vectors, rtol=1e-4, atol=1e-3)
    assert left.norm() < 8 * updates.vectors.norm()


def test_random_bases_are_orthonormal_drawn_for_a_period_and_nothing_is_remembered():
    codec = LowRank(rank=2, refresh="random", period=3)
    known = [codec._bases.known(LAYOUT, CodecStreams(5, t).context(0))[0] for t in range(4)]
    np.testing.assert_allclose(known[0].T @ known[0], np.eye(2), atol=1e-12)
    np.testing.assert_array_equal(known[0], known[2])
    assert np.abs(known[3] - known[0]).max() > 0.1
    assert codec.init() is None
    assert codec.share is None


def test_quantised_bases_are_read_as_orthonormal_ones_near_the_true_ones():
    """8 bits: as near as a step of 1/255 of a group's range allows; 4 bits take an eighth of float32."""
    updates = cohort(1)
    true = played(LowRank(rank=2), updates, 2)[1][2][0]["basis"].double().numpy()
    for bits, near in ((8, 0.03), (4, 0.4)):
        codec = LowRank(rank=2, bits=bits)
        shared = played(codec, updates, 2)[1][2]
        read = codec._bases.known(LAYOUT, CodecStreams(5, 1, shared).context(0))[0]
        np.testing.assert_allclose(read.T @ read, np.eye(2), atol=1e-12)
        assert np.abs(np.abs(read) - np.abs(true)).max() < near
        assert len(shared[0]["basis"]["codes"]) == 12 * bits // 8


def test_a_lazy_period_doubles_where_bases_hardly_differ():
    """Q-GaLore: five cosines of 1 in a row double the period of 2, so that later whole rounds are rarer."""
    rounds = played(LowRank(rank=2, period=2, lazy=True), cohort(1), 24)
    lengths = [len(frames[0]) for _, frames, _ in rounds]
    whole = [t for t, length in enumerate(lengths) if length == max(lengths)]
    assert whole == [0, 2, 4, 6, 8, 10, 14, 18, 22]


def test_another_tag_or_length_than_the_rounds_is_refused():
    layout = Layout((Slot("m", (2, 2), 0),))
    shared = [{"basis": torch.tensor([[0.6], [0.8]]), "short": 2, "until": 9, "due": False}]
    context, codec = CodecStreams(0, 7, shared).context(3), LowRank(rank=1)
    for tag, body, complaint in (
        (0x00, bytes(16), "tag 0x00, allowed 0x40"),
        (0x40, bytes(12), "12 bytes, expected 8"),
        (0x40, bytes.fromhex("0000807f") * 2, "not finite"),
    ):
        with pytest.raises(FrameError, match=complaint):
            codec.decode([Record(0, tag, 4, body)], layout, context)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"rank": 0}, "rank must be at least 1, got 0"),
        ({"period": 1}, "period must be at least 2 with refresh 'full', got 1"),
        ({"period": 0, "refresh": "random"}, "period must be at least 1 with refresh 'random', got 0"),
        ({"bits": 1}, "bits must be between 2 and 8, or left out, got 1"),
        ({"refresh": "random", "lazy": True}, "leave out lazy and bits"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        LowRank(**options)
