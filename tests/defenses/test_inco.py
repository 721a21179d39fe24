"""InCo Aggregation. Oracles: the vectors of a hand calculation, and a property of projections."""

import pytest
import torch

from gauntlet.core.layout import Layout, Slot
from gauntlet.core.presence import Presence
from gauntlet.core.updates import Context, Updates
from gauntlet.defenses.inco import InCo, partners

G0 = torch.tensor([[0.03, 0.0, 0.04]])
AGAINST, ALONG = torch.tensor([[-0.06, 0.08, 0.0]]), torch.tensor([[0.06, 0.08, 0.0]])
LAYOUT = Layout((Slot("in.weight", (1, 3), 0), Slot("a.weight", (1, 3), 3), Slot("b.weight", (1, 3), 6)))


@pytest.mark.parametrize(
    ("form", "deep", "expected"),
    [
        ("projection", AGAINST, [-0.0384, 0.08, 0.0288]),
        ("projection", ALONG, [0.06, 0.08, 0.0]),
        ("mix", AGAINST, [-0.0126013, 0.0599999, 0.0431982]),
        ("mix", ALONG, [0.0773986, 0.0599999, 0.0431982]),
    ],
)
def test_deep_means_are_bent_as_by_hand(form, deep, expected):
    """b = -.0018 or .0018 of a = .0025, so that theta is .71997; lengths .05 and .1."""
    found = InCo(form).combined(G0, deep)
    torch.testing.assert_close(found[0], torch.tensor(expected), rtol=0, atol=1e-7)


def test_theta_and_entries_are_bounded():
    """g0 a thousandth of gk: theta would be 1000, and is 5: (1 + 5) (.3003) / 2 = .9009, cut off at .1."""
    deep, shallow = torch.tensor([[0.3, 0.0]]), torch.tensor([[0.0003, 0.0]])
    wide = InCo(grad_clip=10.0).combined(shallow, deep)
    torch.testing.assert_close(wide, torch.tensor([[0.9009, 0.0]]), rtol=1e-3, atol=0)
    assert float(InCo().combined(shallow, deep)[0, 0]) == pytest.approx(0.1)


def test_a_projection_never_points_against_the_shallow_layer():
    torch.manual_seed(0)
    g0, gk = torch.randn(2, 5, 4, 3, 3).double()
    found = InCo("projection").combined(g0, gk)
    inner = (found * g0).sum((2, 3))
    assert float(inner.min()) >= -1e-12
    before = (gk * g0).sum((2, 3))
    assert torch.equal(found[before >= 0], gk[before >= 0])
    assert bool((inner[before < 0].abs() < 1e-12).all())


def cohort(with_context=True):
    """Client 3 has no tensor b; 5 has all: means are over both, but of b over 5 alone."""
    there = torch.ones(2, 9, dtype=torch.bool)
    there[0, 6:] = False
    vectors = torch.cat([torch.full((2, 3), 1.0), G0.repeat(2, 1), AGAINST.repeat(2, 1)], dim=1)
    vectors[0, 6:] = 0
    context = Context(0, torch.zeros(9), LAYOUT, 0) if with_context else None
    return Updates(
        vectors,
        torch.tensor([3, 5]),
        torch.tensor([1, 9]),
        context=context,
        presence=Presence(there, torch.tensor([0, 1])),
    )


def test_who_lacks_a_layer_has_no_vote_there_and_its_mean_is_bent_by_the_last_that_all_have():
    verdict, _ = InCo("projection").aggregate(cohort(), None)
    expected = torch.tensor([1.0, 1, 1, 0.03, 0, 0.04, -0.0384, 0.08, 0.0288])
    torch.testing.assert_close(verdict.aggregate, expected)


def test_where_everybody_has_everything_it_is_the_uniform_mean():
    updates = Updates(torch.tensor([[1.0] * 9, [3.0] * 9]), torch.tensor([3, 5]), torch.tensor([1, 9]))
    assert InCo().aggregate(updates, None)[0].aggregate.tolist() == [2.0] * 9


def test_biases_and_layers_of_a_shape_of_their_own_have_no_partner():
    layout = Layout((*LAYOUT.parameters, Slot("b.bias", (3,), 9), Slot("c.weight", (2, 2), 12)))
    everywhere = torch.ones(16, dtype=torch.bool)
    everywhere[6:] = False
    assert [(a.name, b.name) for a, b in partners(layout, everywhere)] == [("b.weight", "a.weight")]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"form": "sum"}, "form must be mix or projection, got 'sum'"),
        ({"clamp_max": -1.0}, "clamp_max must be at least 0"),
        ({"grad_clip": 0.0}, "grad_clip must be above 0"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        InCo(**options)
