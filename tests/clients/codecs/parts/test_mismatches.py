"""How badly updates fit a frame, by hand."""

import math

import pytest
import torch

from gauntlet.clients.codecs.error_feedback import ErrorFeedback
from gauntlet.clients.codecs.fp16 import Fp16
from gauntlet.clients.codecs.identity import Identity
from gauntlet.clients.codecs.parts.mismatches import half_cells
from gauntlet.clients.codecs.parts.wire import encode_cohort, mismatch_of
from gauntlet.clients.codecs.stc import STC
from gauntlet.clients.codecs.terngrad import TernGrad
from gauntlet.clients.codecs.topk import TopK
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.frames import Envelope
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.updates import Updates


def mismatch(codec, *tensors, client=1):
    """Return the mismatch of a frame of one update, and the update."""
    layout = Layout(())
    for number, tensor in enumerate(tensors):
        layout = layout.followed_by(**{f"t{number}": tensor.shape})
    update, one = torch.cat([tensor.flatten() for tensor in tensors]), torch.tensor([client])
    streams = CodecStreams(0, 0)
    (frame,), _ = encode_cohort(codec, Updates(update[None], one, one), layout, 9, codec.init(), streams)
    envelope = Envelope(codec.codec_id, 0, client, 9)
    return mismatch_of(codec, frame, envelope, layout, streams.context(client)), update


def test_on_the_support_of_top_k_it_is_one_minus_the_cosine():
    """By hand: 3 and 4 of (3, 4, 1) are sent. (4, 3, 0) is at cos 24 / 25; the third may be up to 3 / 5."""
    found, update = mismatch(TopK(density=0.67), torch.tensor([3.0, 4.0, 1.0]))

    assert float(found(update)) == pytest.approx(0, abs=1e-7)
    assert float(found(torch.tensor([4.0, 3.0, 0.0]))) == pytest.approx(1 - 24 / 25, abs=1e-6)
    assert float(found(torch.tensor([3.0, 4.0, -3.0]))) == pytest.approx(0, abs=1e-7)
    assert float(found(torch.tensor([6.0, 8.0, 16.0]))) == pytest.approx(0.5 * (8 / 5 - 3 / 5) ** 2, abs=1e-6)


def test_in_the_cell_of_a_half_it_is_zero():
    """By hand: halves between 1024 and 2048 are the whole numbers, so that 1500.4 is sent as 1500."""
    sent = torch.tensor([1500.4, -1501.0])
    found, update = mismatch(Fp16(), sent)
    length = math.hypot(1500, 1501)

    assert float(found(update)) < 1e-9
    scaled = torch.tensor([1500.0, -1501.0]) + torch.tensor([5.0, 5.0 * 1500 / 1501])  # of the same length
    scaled = scaled * length / float(scaled.norm())
    beyond = ((scaled - torch.tensor([1500.0, -1501.0])).abs() - 0.5).square().sum() / length**2
    assert float(found(scaled)) == pytest.approx(float(beyond) / 2, rel=2e-3)


def test_the_cells_of_halves_end_half_way_to_their_neighbours():
    """IEEE 754: neighbours of 1 are 1 - 2^-11 and 1 + 2^-10, of 0 +-2^-24, of 65504 (the last) 65472."""
    below, above = half_cells(torch.tensor([1.0, 0.0, 65504.0]).numpy())

    assert below.tolist() == [2.0**-12, 2.0**-25, 16.0]
    assert above.tolist() == [2.0**-11, 2.0**-25, math.inf]


def test_of_ternary_codes_it_is_the_mean_negative_log_likelihood():
    """By hand: codes are drawn with |u| / s, s = 2: of u = (2, -1, 1) codes (1, -1, 0) with 1/4."""
    client = next(c for c in range(99) if _codes(c) == [1, -1, 0])
    found, update = mismatch(TernGrad(clip=0.0), torch.tensor([2.0, -1.0, 1.0]), client=client)

    assert float(found(update)) == pytest.approx(math.log(4) / 3, abs=1e-6)
    assert float(found(update * 7)) == pytest.approx(math.log(4) / 3, abs=1e-6)
    other = torch.tensor([2.0, -1.0, 0.5])  # the third is more likely to be left out
    assert float(found(other)) == pytest.approx(-math.log(0.5 * 0.75) / 3, abs=1e-6)


def _codes(client):
    codec, layout, one = TernGrad(clip=0.0), Layout((Slot("t", (3,), 0),)), torch.tensor([client])
    updates = Updates(torch.tensor([[2.0, -1.0, 1.0]]), one, one)
    records, _ = codec.encode(updates, layout, None, CodecStreams(0, 0))
    return codec.decode(records[0], layout, CodecStreams(0, 0).context(client)).sign().tolist()


def test_a_clipped_tensor_counts_by_its_own_clipped_scale():
    """By hand: of (3, 1, 1, 1), rms sqrt(3), s = sqrt(3): the 3 is always sent, each 1 with 1 / sqrt(3)."""
    found, update = mismatch(TernGrad(clip=1.0), torch.tensor([3.0, 1.0, 1.0, 1.0]))
    share = 1 / math.sqrt(3)
    sent = int(found.codes[1:].sum())

    assert found.codes[0] == 1
    expected = -(sent * math.log(share) + (3 - sent) * math.log(1 - share)) / 4
    assert float(found(update)) == pytest.approx(expected, abs=1e-5)


def test_tensors_that_are_sent_as_they_are_count_by_their_angle():
    """By hand: fives are always sent, of s = 5; (3, 4) goes as it is, and (4, 3) is at 24 / 25 to it."""
    found, update = mismatch(
        TernGrad(clip=0.0, size_to_binarize=3), torch.tensor([3.0, 4.0]), torch.tensor([5.0, 5.0, 5.0])
    )

    assert float(found(update)) == pytest.approx(0, abs=1e-6)
    assert float(found(torch.tensor([4.0, 3.0, 5.0, 5.0, 5.0]))) == pytest.approx(1 / 25, abs=1e-6)


def test_scales_in_other_proportions_than_the_frames_count():
    """By hand: one of two tensors is twice too large: the logs are off by 0 and log 2."""
    found, update = mismatch(TernGrad(clip=0.0), torch.tensor([5.0, 5.0]), torch.tensor([-1.0, -1.0]))

    assert float(found(update)) == pytest.approx(0, abs=1e-6)
    twice = update * torch.tensor([1.0, 1.0, 2.0, 2.0])
    assert float(found(twice)) == pytest.approx(0.1 * math.log(2) ** 2 / 4, abs=1e-6)


def test_of_the_largest_and_their_signs_it_is_how_far_the_ranking_is_from_the_frames():
    """By hand: of (4, -3, 1, 0) the first two are named, with mean 3.5 (alone, so that it says nothing).

    Of (4, -1, 2, 0) the threshold is between 2 and 1, 1.5: the second misses 1/3 of it, the third is 1/3
    beyond. Of (4, 3, 1, 0) it is 2, and 3 is 5 from beyond -2: 2.5 of it.
    """
    found, update = mismatch(STC(density=0.5), torch.tensor([4.0, -3.0, 1.0, 0.0]))

    assert float(found(update)) == float(found(7 * update)) == 0
    assert float(found(torch.tensor([9.0, -2.0, 1.9, -1.9]))) == 0  # ranked alike: nothing else was said
    assert float(found(torch.tensor([4.0, -1.0, 2.0, 0.0]))) == pytest.approx(2 / 9 / 2, abs=1e-6)
    assert float(found(torch.tensor([4.0, 3.0, 1.0, 0.0]))) == pytest.approx(2.5**2 / 2, abs=1e-6)
    assert bool(found(torch.zeros(2, 4)).isfinite().all())


def test_mean_sizes_in_other_proportions_than_the_frames_count():
    """By hand: of two tensors one is twice too large, and all are ranked right: 0.1 times (log 2)^2 / 4."""
    found, update = mismatch(STC(density=0.5), torch.tensor([5.0, 1.0]), torch.tensor([-1.0, 0.5]))

    assert float(found(update)) == pytest.approx(0, abs=1e-7)
    twice = update * torch.tensor([1.0, 1.0, 2.0, 2.0])
    assert float(found(twice)) == pytest.approx(0.1 * math.log(2) ** 2 / 4, abs=1e-6)
    assert float(mismatch(STC(), torch.zeros(3))[0](torch.ones(3))) == 0


def test_tensors_of_several_numbers_of_named_coordinates_are_compared_by_their_means():
    """Of four coordinates two are named, of two one: the update itself is in the frame's proportions."""
    found, update = mismatch(STC(density=0.5), torch.tensor([5.0, -4.0, 1.0, 0.0]), torch.tensor([2.0, 0.1]))

    assert float(found(update)) == pytest.approx(0, abs=1e-7)


def test_where_all_are_named_the_least_is_the_threshold():
    """Of (3, -2) all are named: no size is beyond them, and a wrong sign is 2 x 2 from right, twice 2."""
    found, update = mismatch(STC(density=1.0), torch.tensor([3.0, -2.0]))

    assert float(found(update)) == 0
    assert float(found(torch.tensor([3.0, 2.0]))) == pytest.approx(2.0**2 / 2, abs=1e-6)


def test_the_threshold_of_the_largest_is_a_constant():
    """By hand: with t = 1.5 and two named, (t + u)^2 / t^2 / 2 has the slope 2 / 9 at -1; (u - t)^2 at 2."""
    found, _ = mismatch(STC(density=0.5), torch.tensor([4.0, -3.0, 1.0, 0.0]))
    candidate = torch.tensor([4.0, -1.0, 2.0, 0.0], requires_grad=True)

    (slope,) = torch.autograd.grad(found(candidate), candidate)
    torch.testing.assert_close(slope, torch.tensor([0, 2 / 9, 2 / 9, 0]), atol=1e-6, rtol=1e-5)


def test_a_tensor_of_zeros_says_nothing():
    found, _ = mismatch(TernGrad(), torch.zeros(4))
    assert float(found(torch.ones(4))) == 0


def test_error_feedback_judges_as_the_codec_inside_and_a_lossless_codec_not_at_all():
    sent = torch.tensor([3.0, 4.0, 1.0])
    inside, _ = mismatch(TopK(density=0.67), sent)
    around, _ = mismatch(ErrorFeedback({"name": "topk", "density": 0.67}, decay=0.5), sent)
    other = torch.tensor([4.0, 3.0, 2.0])

    assert float(around(other)) == float(inside(other))
    assert ErrorFeedback(decay=0.5).carries == 0.5
    assert mismatch(Identity(), sent)[0] is None
    assert mismatch(ErrorFeedback("identity"), sent)[0] is None
