"""Oracles: masks by hand and of another library's SVD, and the magnitude masks that they become."""

import numpy as np
import pytest
import torch

from gauntlet.clients.codecs.lift import Lift
from gauntlet.clients.codecs.parts.wire import decode_cohort, encode_cohort
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.updates import Updates

LAYOUT = Layout((Slot("m", (8, 2, 3), 0), Slot("bias", (5,), 48)))


def sent(codec, rows, params, layout=LAYOUT, round_=0):
    vectors = torch.as_tensor(np.asarray(rows), dtype=torch.float32)
    ids = torch.arange(len(vectors))
    streams = CodecStreams(0, round_, params=torch.as_tensor(params, dtype=torch.float32))
    frames, _ = encode_cohort(codec, Updates(vectors, ids, ids + 1), layout, 7, None, streams)
    decoded, rejected = decode_cohort(codec, frames, ids.tolist(), layout, 7, streams)
    assert not rejected
    return decoded, frames


def kept(codec, params, layout=LAYOUT, round_=0):
    return sent(codec, torch.ones(1, layout.num_parameters), params, layout, round_)[0][0] != 0


def test_of_a_diagonal_matrix_the_principal_weight_is_kept():
    """By hand: diag(3, 2, 1) is 3 at (0, 0) after a reduction to rank 1."""
    layout = Layout((Slot("m", (3, 3), 0),))
    found = kept(Lift(density=0.1, filter_rank=1), np.diag([3.0, 2.0, 1.0]).reshape(-1), layout)
    assert found.nonzero().flatten().tolist() == [0]


def test_the_principal_weights_are_those_of_the_low_rank_part():
    """By hand: 4 alone at (0, 2) is larger than the ones of a matrix of rank 1, and no part of it."""
    matrix = np.zeros((3, 3))
    matrix[:2, :2] = 3.0  # singular value 6
    matrix[2, 2] = 4.0  # singular value 4
    layout = Layout((Slot("m", (3, 3), 0),))
    assert kept(Lift(density=0.4, filter_rank=1), matrix.reshape(-1), layout).tolist() == [
        *(True, True, False), *(True, True, False), *(False, False, False)
    ]  # fmt: skip
    assert kept(Lift(density=0.1, score="magnitude"), matrix.reshape(-1), layout)[8]


def test_the_mask_is_that_of_torchs_svd():
    params = np.random.default_rng(0).standard_normal(53)
    left, values, right = torch.linalg.svd(torch.from_numpy(params[:48]).reshape(8, 6), full_matrices=False)
    expected = ((left[:, :2] * values[:2]) @ right[:2]).abs().flatten().topk(10).indices.sort().values
    found = kept(Lift(density=10 / 48, filter_rank=2), params)
    assert found.nonzero().flatten().tolist() == expected.tolist()


def test_from_the_whole_rank_on_it_is_a_magnitude_mask():
    params = np.random.default_rng(1).standard_normal(53)
    lift, magnitude = (kept(Lift(density=0.2, filter_rank=6, score=s), params) for s in ("lift", "magnitude"))
    assert torch.equal(lift, magnitude)
    assert lift[:48].nonzero().flatten().tolist() == np.sort(np.argsort(-np.abs(params[:48]))[:10]).tolist()


def test_of_equal_scores_the_first_are_kept():
    assert kept(Lift(density=0.1, score="magnitude"), np.ones(53)).nonzero().flatten().tolist() == [*range(5)]


def test_values_alone_are_sent_and_vectors_not_at_all():
    """20 bytes, two record headers of 4, a checksum of the support, and 10 values; magnitudes need none."""
    params, row = np.random.default_rng(2).standard_normal((2, 53))
    decoded, frames = sent(Lift(density=0.2), [row, -row], params)
    mask = decoded[0] != 0
    assert int(mask.sum()) == 10
    torch.testing.assert_close(decoded[0][mask], torch.from_numpy(row).float()[mask], rtol=0, atol=0)
    assert not decoded[:, 48:].any()
    assert [len(frame) for frame in frames] == [20 + 8 + 4 + 40] * 2
    assert len(sent(Lift(density=0.2, score="magnitude"), [row], params)[1][0]) == 20 + 8 + 40


def test_a_frame_to_the_byte():
    """By hand: of [[1, 2], [3, 4]] the entry where the parameters are largest, (1, 0)."""
    layout = Layout((Slot("m", (2, 2), 0),))
    streams = CodecStreams(0, 7, params=torch.tensor([0.0, 1.0, -5.0, 2.0]))
    update = Updates(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([3]), torch.tensor([1]))
    (frame,), _ = encode_cohort(Lift(score="magnitude"), update, layout, 0xBEEF, None, streams)
    assert frame[:-4].hex() == "474e01130700000003000000" + "0100efbe" + "00400404" + "00004040"


def test_as_many_entries_as_lora_of_the_rank_has():
    """(8 + 6) rank entries, at most all 48."""
    params = np.random.default_rng(3).standard_normal(53)
    for rank, count in ((1, 14), (2, 28), (4, 48)):
        assert int(kept(Lift(rank=rank), params).sum()) == count


def test_messages_of_a_round_add_up():
    params, *rows = np.random.default_rng(4).standard_normal((4, 53))
    decoded, _ = sent(Lift(density=0.3), rows, params)
    total, _ = sent(Lift(density=0.3), [np.sum(rows, axis=0)], params)
    torch.testing.assert_close(decoded.sum(dim=0), total[0])


def test_a_message_of_several_groups_has_the_mask_in_each():
    params = np.random.default_rng(5).standard_normal(53)
    two = LAYOUT.repeated("update", "control")
    both, one = kept(Lift(density=0.2), params, two), kept(Lift(density=0.2), params)
    assert torch.equal(both, torch.cat([one, one]))


def test_random_scores_are_drawn_anew_each_round_and_read_nothing():
    codec = Lift(density=0.2, score="random")
    first, second = (kept(codec, np.zeros(53), round_=t) for t in (0, 1))
    assert int(first.sum()) == int(second.sum()) == 10
    assert not torch.equal(first, second)
    assert not codec.reads_params
    assert Lift().reads_params


def test_the_values_of_another_support_are_refused():
    """As from a machine whose linear algebra ordered two entries otherwise."""
    layout, context = (
        Layout((Slot("m", (2, 2), 0),)),
        CodecStreams(0, 7, params=torch.eye(2).flatten()).context(0),
    )
    for codec, tag, body, complaint in (
        (Lift(), 0x40, bytes(8), "values on another support"),
        (Lift(score="magnitude"), 0x40, bytes(8), "8 bytes, expected 4"),
        (Lift(score="magnitude"), 0x00, bytes(4), "tag 0x00, allowed 0x40"),
        (Lift(score="magnitude"), 0x40, bytes.fromhex("0000c07f"), "not finite"),
    ):
        with pytest.raises(FrameError, match=complaint):
            codec.decode([Record(0, tag, 4, body)], layout, context)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"density": 0.0}, "density must be above 0 and at most 1, got 0.0"),
        ({"rank": 0}, "rank must be at least 1, or left out, got 0"),
        ({"filter_rank": 0}, "filter_rank must be at least 1, got 0"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        Lift(**options)
