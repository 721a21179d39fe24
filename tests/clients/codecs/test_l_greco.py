"""L-GreCo: frames of one value are the codec's own; a plan sends less at no more summed error."""

import numpy as np
import pytest
import torch

from gauntlet.clients.codecs.error_feedback import ErrorFeedback
from gauntlet.clients.codecs.l_greco import LGreco
from gauntlet.clients.codecs.parts.between_rounds import shared_by
from gauntlet.clients.codecs.parts.wire import decode_cohort, encode_cohort
from gauntlet.clients.codecs.topk import TopK
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.updates import Updates

LAYOUT = Layout((Slot("a", (40, 50), 0), Slot("b", (30, 20), 2000), Slot("c", (100,), 2600)))
P = LAYOUT.num_parameters
MENUS = {
    "topk": LGreco(menu=(0.02, 0.05, 0.1, 0.2, 0.4), uniform=2),
    "qsgd": LGreco("qsgd", "levels", (1, 3, 7, 15, 31), 2),
    "powersgd": LGreco("powersgd", "rank", (1, 2, 4, 6), 2),
}


def skewed(rows=1, seed=0):
    """Return updates whose tensors differ: a has low rank and tails, b is noise, c tiny.  # [rows, P]"""
    draws = np.random.default_rng(seed)
    a = draws.standard_normal((rows, 40, 2)) @ draws.standard_normal((rows, 2, 50))
    a = a.reshape(rows, -1) * 0.01 + draws.standard_t(1.5, (rows, 2000)) * 1e-3
    parts = [a, draws.standard_normal((rows, 600)), draws.standard_normal((rows, 100)) * 1e-4]
    return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))


def cohort(vectors):
    ids = torch.arange(len(vectors))
    return Updates(vectors, ids, torch.ones_like(ids))


def rounds(codec, number):
    """Return (what was decoded [K, P], the frames, what was shared) of each round of three equal clients."""
    state, shared, found = codec.init(), None, []
    for t in range(number):
        streams = CodecStreams(3, t, shared)
        updates = cohort(skewed(3, seed=t))
        frames, state = encode_cohort(codec, updates, LAYOUT, 7, state, streams)
        vectors, rejected = decode_cohort(codec, frames, range(3), LAYOUT, 7, streams)
        assert not rejected
        found.append((vectors, frames, shared))
        shared = shared_by(codec, torch.zeros(P), vectors.mean(dim=0), state)
    return found


def test_without_a_plan_frames_are_those_of_the_uniform_choice():
    codec, plain = LGreco(menu=(0.05, 0.2), uniform=1), TopK(density=0.2)
    streams, updates = CodecStreams(3, 0), cohort(skewed(2))
    frames, _ = encode_cohort(codec, updates, LAYOUT, 7, codec.init(), streams)
    assert frames == encode_cohort(plain, updates, LAYOUT, 7, None, streams)[0]


def test_each_tensor_is_sent_with_the_value_that_the_plan_gives_it():
    """Densities 0.1, 0.5 and 0.02: 200, 300 and 2 values."""
    codec = LGreco(menu=(0.02, 0.1, 0.5), uniform=0)
    streams = CodecStreams(3, 1, torch.tensor([1, 2, 0], dtype=torch.uint8))
    frames, _ = encode_cohort(codec, cohort(skewed()), LAYOUT, 7, codec.init(), streams)
    (vector,), rejected = decode_cohort(codec, frames, [0], LAYOUT, 7, streams)
    assert not rejected
    kept = [int((vector[s.start : s.start + s.size] != 0).sum()) for s in LAYOUT.parameters]
    assert kept == [200, 300, 2]


def test_a_frame_of_another_plan_is_refused():
    codec = LGreco(menu=(0.02, 0.1, 0.5), uniform=0)
    frames, _ = encode_cohort(codec, cohort(skewed()), LAYOUT, 7, codec.init(), CodecStreams(3, 1))
    planned = CodecStreams(3, 1, torch.tensor([1, 2, 0], dtype=torch.uint8))
    _, rejected = decode_cohort(codec, frames, [0], LAYOUT, 7, planned)
    assert "positions, expected" in rejected[0][1]


@pytest.mark.parametrize("inner", MENUS)
def test_a_plan_takes_fewer_bits_and_loses_no_more(inner):
    """On the update that it is made of: bodies smaller than the uniform choice's, summed errors no larger."""
    codec, update = MENUS[inner], skewed()[0]
    sizes, errors = codec.tables(update, LAYOUT)
    state = {"shapes": [list(s.shape) for s in LAYOUT.parameters], "round": 0, "plan": None}
    choice = codec.share(torch.zeros(P), update, state).tolist()
    layers = np.arange(3)
    assert sizes[layers, choice].sum() < sizes[:, codec.uniform].sum()
    assert errors[layers, choice].sum() <= errors[:, codec.uniform].sum() * (1 + 1e-9)


def test_the_table_of_top_k_is_the_energy_of_the_tail():
    """||x - top_k(x)|| from one sort."""
    update = skewed()[0]
    _, errors = MENUS["topk"].tables(update, LAYOUT)
    for slot, row in zip(LAYOUT.parameters, errors, strict=True):
        sizes = update[slot.start : slot.start + slot.size].abs().double().sort(descending=True).values
        for density, found in zip((0.02, 0.05, 0.1, 0.2, 0.4), row, strict=True):
            tail = sizes[max(1, round(density * slot.size)) :]
            assert found == pytest.approx(float(tail.norm()), rel=1e-5, abs=1e-12)


def test_plans_are_made_every_so_many_rounds_and_kept_in_between():
    plans = [shared for _, _, shared in rounds(LGreco(menu=(0.02, 0.1, 0.4), uniform=1, every=3), 8)]
    assert plans[0] is None
    assert plans[1].tolist() == plans[2].tolist()
    assert plans[3].tolist() == plans[4].tolist() == plans[5].tolist()
    assert len(plans[6]) == 3


def test_error_feedback_around_it_keeps_plan_and_residuals():
    """What was decoded and what is held back add up to the updates; frames shrink once there is a plan."""
    codec = ErrorFeedback(codec={"name": "l_greco", "menu": [0.02, 0.1, 0.4], "uniform": 1})
    state, shared, total, lengths = codec.init(), None, torch.zeros(P), []
    for t in range(6):
        streams = CodecStreams(3, t, shared)
        frames, state = encode_cohort(codec, cohort(skewed(seed=t)), LAYOUT, 7, state, streams)
        (vector,), _ = decode_cohort(codec, frames, [0], LAYOUT, 7, streams)
        state = codec.settle(state, [0])
        shared = shared_by(codec, torch.zeros(P), vector, state)
        total, lengths = total + vector, [*lengths, len(frames[0])]
    wanted = sum(skewed(seed=t)[0] for t in range(6))
    torch.testing.assert_close(total + state["residuals"][0], wanted, rtol=1e-4, atol=1e-6)
    assert shared is not None


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"menu": ()}, "place in the menu of 0"),
        ({"uniform": 7}, "place in the menu of 7, got 7"),
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"alpha": 0.0}, "alpha must be above 0"),
        ({"codec": "error_feedback", "option": "decay", "menu": (0.5,), "uniform": 0}, "keeps a memory"),
        ({"option": "densty"}, "unknown option 'densty'; did you mean 'density'"),
        ({"menu": (0.1, 2.0), "uniform": 0}, "density must be above 0 and at most 1, got 2.0"),
    ],
)
def test_options_that_cannot_be_are_refused(options, complaint):
    with pytest.raises((ValueError, PluginError), match=complaint):
        LGreco(**options)
