"""Momentum correction against momentum SGD, numbers by hand and its conservation law."""

import numpy as np
import pytest
import torch

from gauntlet.clients.codecs import CODECS
from gauntlet.clients.codecs.momentum_correction import MomentumCorrection
from gauntlet.clients.codecs.parts.between_rounds import settled
from gauntlet.clients.codecs.parts.wire import decode_cohort, encode_cohort
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.updates import Updates

TOP_2 = {"name": "topk", "density": 0.4}  # of 5
WHOLE = {"name": "topk", "density": 1.0}


def one_round(codec, state, row, round_, counted=True):
    """Return what the server decodes of client 7's update, and the state."""
    layout, ids = Layout((Slot("t", (len(row),), 0),)), torch.tensor([7])
    updates = Updates(torch.tensor([row], dtype=torch.float32), ids, torch.ones_like(ids))
    streams = CodecStreams(seed=0, round=round_)
    frames, state = encode_cohort(codec, updates, layout, 1, state, streams)
    decoded, _ = decode_cohort(codec, frames, [7], layout, 1, streams)
    return decoded[0].tolist() if len(decoded) else None, settled(codec, state, [7] if counted else [])


def test_the_two_largest_go_with_their_momentum_and_the_rest_stays():
    """By hand, mu = 0.5: two of (5, 4, 3, 2, 1) go, their momentum is cleared; m = (0, 0, 1.5, 1, 0.5)."""
    codec = MomentumCorrection(codec=TOP_2, momentum=0.5)
    first, state = one_round(codec, codec.init(), [5, 4, 3, 2, 1], 0)
    second, state = one_round(codec, state, [0, 0, 0, 0, 0], 1)
    assert first == [5, 4, 0, 0, 0]
    assert second == [0, 0, 4.5, 3, 0]
    assert state["left"][7].tolist() == [0, 0, 0, 0, 1.5]
    assert state["momenta"][7].tolist() == [0, 0, 0, 0, 0.5]


def test_without_masking_momentum_goes_on_where_it_was_sent():
    """By hand: m = (2.5, 2, 1.5, 1, 0.5) in the second round."""
    codec = MomentumCorrection(codec=TOP_2, momentum=0.5, masking=False)
    _, state = one_round(codec, codec.init(), [5, 4, 3, 2, 1], 0)
    second, _ = one_round(codec, state, [0, 0, 0, 0, 0], 1)
    assert second == [0, 0, 4.5, 3, 0]
    third, _ = one_round(codec, one_round(codec, state, [0, 0, 0, 0, 0], 1)[1], [0, 0, 0, 0, 0], 2)
    assert third == [3.75, 3, 0, 0, 0]


def test_everything_sent_is_momentum_sgd_and_masked_it_is_plain_sgd():
    """Oracle: torch's own momentum, to the last bit."""
    stream = np.random.default_rng(0)
    gradients = stream.standard_normal((20, 5)).astype(np.float32)
    x = torch.zeros(5, requires_grad=True)
    sgd = torch.optim.SGD([x], lr=1.0, momentum=0.9)
    codec, masked = (MomentumCorrection(codec=WHOLE, masking=m) for m in (False, True))
    state, other = codec.init(), masked.init()
    for number, gradient in enumerate(gradients):
        before = x.detach().clone()
        x.grad = -torch.from_numpy(gradient)
        sgd.step()
        sent, state = one_round(codec, state, gradient.tolist(), number)
        plain, other = one_round(masked, other, gradient.tolist(), number)
        assert torch.equal(before + torch.tensor(sent), x.detach())
        assert plain == gradient.tolist()


def test_a_message_that_was_not_counted_is_sent_again_and_its_momentum_stays():
    """By hand, mu = 0.5: m = (2.5, 2, 1.5, 1, 0.5), v = (5, 4, 3, 2, 1)."""
    codec = MomentumCorrection(codec=TOP_2, momentum=0.5)
    _, state = one_round(codec, codec.init(), [5, 4, 3, 2, 1], 0, counted=False)
    second, state = one_round(codec, state, [0, 0, 0, 0, 0], 1)
    assert second == [7.5, 6, 0, 0, 0]
    assert state["momenta"][7].tolist() == [0, 0, 1.5, 1, 0.5]
    assert state["sent"] == {}


def test_an_update_that_is_not_finite_spoils_no_later_message():
    codec = MomentumCorrection(codec=TOP_2, momentum=0.5)
    _, state = one_round(codec, codec.init(), [5, 4, 3, 2, 1], 0)
    lost, state = one_round(codec, state, [float("nan"), 0, 0, 0, 0], 1)
    third, _ = one_round(codec, state, [0, 0, 0, 0, 0], 2)
    assert lost is None
    assert third == [0, 0, 4.5, 3, 0]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"codec": "terngrad"}, "does not say that it is contractive.*use topk"),
        ({"codec": "error_feedback"}, "keeps a memory of its own"),
        ({"codec": "momentum_correction"}, "keeps a memory of its own"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1, got 1"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(options, complaint):
    with pytest.raises(PluginError, match=complaint):
        CODECS.build("momentum_correction", options)
