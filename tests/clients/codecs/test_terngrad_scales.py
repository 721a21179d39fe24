"""TernGrad's scales that are shared, capped or fixed, by hand and by the paper's grid."""

import numpy as np
import pytest
import torch

from gauntlet.clients.codecs.parts.between_rounds import settled, shared_by
from gauntlet.clients.codecs.parts.wire import decode_cohort, encode_cohort
from gauntlet.clients.codecs.terngrad import TernGrad
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.options import public_options
from gauntlet.core.seeds import generator
from gauntlet.core.updates import Updates

STREAMS = CodecStreams(seed=5, round=0)


def flat(numel):
    return Layout((Slot("t", (numel,), 0),))


def cohort(rows):
    vectors = torch.as_tensor(np.asarray(rows, dtype=np.float32))
    return Updates(vectors, torch.arange(len(vectors)), torch.ones(len(vectors), dtype=torch.int64))


def in_rounds(codec, rounds, layout):
    """Return what the server decodes [K, P] in each of several rounds, in which all messages are counted."""
    state, shared, found = codec.init(), None, []
    for number, rows in enumerate(rounds):
        streams = CodecStreams(5, number, shared)
        updates = cohort(rows)
        frames, state = encode_cohort(codec, updates, layout, 1, state, streams)
        vectors, rejected = decode_cohort(codec, frames, range(len(frames)), layout, 1, streams)
        assert not rejected
        state = settled(codec, state, range(len(frames)))
        shared = shared_by(codec, torch.zeros(1), torch.zeros(1), state)
        found.append(vectors.numpy())
    return found


def test_shared_scales_are_the_largest_of_the_round_before():
    """Three workers with 0.9 at most: averages are multiples of 0.3, seven of them (the paper, 3.2)."""
    draws = generator(8, "rows").uniform(-0.9, 0.9, (2, 3, 400))
    draws[:, :, 0] = 0.9, 0.5, 0.2  # the scales of the three
    draws[:, 1], draws[:, 2] = draws[:, 1].clip(-0.5, 0.5), draws[:, 2].clip(-0.2, 0.2)
    first, second = in_rounds(TernGrad(clip=0, share_scales=True), draws, flat(400))
    for row, own in zip(first, (0.9, 0.5, 0.2), strict=True):
        assert set(np.abs(row)) == {np.float32(0), np.float32(own)}
    assert set(np.abs(second.ravel())) == {np.float32(0), np.float32(0.9)}
    levels = np.unique(np.rint(second.mean(axis=0) / 0.3))
    assert levels.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    np.testing.assert_allclose(second.mean(axis=0), 0.3 * np.rint(second.mean(axis=0) / 0.3), atol=1e-6)


def test_shared_scales_leave_the_mean_as_it_is():
    """E = g where no coordinate is beyond the shared scale: 5 standard errors of 2000 clients."""
    g = np.array([1.0, 0.5, -0.25, 0.0])
    _, second = in_rounds(TernGrad(clip=0, share_scales=True), [np.tile(2 * g, (2000, 1))] * 2, flat(4))
    _, after = in_rounds(
        TernGrad(clip=0, share_scales=True), [np.tile(2 * g, (2000, 1)), np.tile(g, (2000, 1))], flat(4)
    )
    assert set(np.abs(after.ravel())) == {0.0, 2.0}
    for found, wanted in ((second, 2 * g), (after, g)):
        errors = found.std(axis=0) / 2000**0.5
        assert (np.abs(found.mean(axis=0) - wanted) <= 5 * errors + 1e-9).all()


def test_a_client_beyond_the_shared_scale_is_clipped_there():
    """The authors' code: uniform(0, s) < |g| at the shared scale."""
    _, second = in_rounds(
        TernGrad(clip=0, share_scales=True), [np.full((2, 5), 0.1), np.full((2, 5), 7.0)], flat(5)
    )
    np.testing.assert_array_equal(second, np.float32(0.1))


@pytest.mark.parametrize(("share", "scale"), [(True, 1e30), ("capped", 3.0)])
def test_one_client_sets_the_scale_of_all_unless_it_is_capped(share, scale):
    """Of scales 1, 1, 1 and 1e30 the cap is 3 medians; 1e30 sends every honest code to 0."""
    rows = np.ones((4, 50))
    rows[3] *= 1e30
    codec = TernGrad(clip=0, share_scales=share)
    _, second = in_rounds(codec, [rows, rows], flat(50))
    np.testing.assert_array_equal(second[3], np.float32(scale))
    assert bool(second[:3].any()) == (share == "capped")


def test_scales_of_messages_that_were_not_counted_are_not_shared():
    codec, layout = TernGrad(clip=0, share_scales=True), flat(3)
    _, state = encode_cohort(codec, cohort([[1, 0, 0], [9, 0, 0]]), layout, 1, codec.init(), STREAMS)
    assert shared_by(codec, torch.zeros(1), torch.zeros(1), state) is None
    state = settled(codec, state, [0])
    assert shared_by(codec, torch.zeros(1), torch.zeros(1), state).tolist() == [1]
    state = settled(codec, state, [1])  # it came in a later round
    assert shared_by(codec, torch.zeros(1), torch.zeros(1), state).tolist() == [9]


def test_a_tensor_of_zeros_does_not_silence_the_next_round():
    _, second = in_rounds(TernGrad(share_scales=True), [np.zeros((2, 4)), np.ones((2, 4))], flat(4))
    np.testing.assert_array_equal(second, np.float32(1))


def test_a_fixed_scale_is_theta_whatever_comes_and_nothing_else_is_read():
    codec = TernGrad(clip=0, scale="fixed", theta=0.5)
    (decoded,) = in_rounds(codec, [[[4.0, -4.0, 0.0], [0, 0, 0]]], flat(3))
    np.testing.assert_array_equal(decoded, [[0.5, -0.5, 0], [0, 0, 0]])
    body = np.float32(0.25).tobytes() + bytes([2])
    with pytest.raises(FrameError, match=r"scale 0.25, expected 0.5"):
        codec.decode([Record(0, 0x05, 1, body)], flat(1), STREAMS.context(0))
    assert not codec.unbiased


def test_frames_from_before_these_options_came_are_read_as_long_as_they_have_their_defaults():
    """The five options that TernGrad had from the start name its frames."""
    before = {"clip": 2.5, "sd": "rms", "scale": "max", "size_to_binarize": 0, "pack": "base3"}
    assert public_options(TernGrad()) == before
    assert public_options(TernGrad(share_scales=True)) == {**before, "share_scales": True}
