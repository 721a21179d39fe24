"""Oracles: the definitions, by hand."""

from dataclasses import replace

import pytest
import torch

from gauntlet.attacks.poisoning.evasion import Evasion

OWN = [[2.0, 1.0, 0.0], [2.0, -1.0, 0.0], [2.0, 0.0, 3.0], [2.0, 0.0, -3.0]]  # mean (2, 0, 0)


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("scale", [1.0, 1.9])
def test_under_leaves_the_cosine_with_the_crowd_at_the_margin(scene, margin, scale):
    own, view = scene([[9.0, 9.0, 9.0]], OWN)
    sent, _ = Evasion(scale=scale, margin=margin).corrupt(own, view, None)
    norms = sent.vectors.norm(dim=1)
    assert norms.tolist() == pytest.approx((scale * own.vectors.norm(dim=1)).tolist())
    assert (sent.vectors[:, 0] / norms).tolist() == pytest.approx([margin] * 4)


def test_an_update_below_the_margin_is_not_turned_towards_the_crowd(scene):
    own, view = scene([[1.0, 0.0]], [[-1.0, 4.0], [3.0, -4.0]])  # mean (1, 0)
    sent, _ = Evasion(margin=0.5).corrupt(own, view, None)
    assert sent.vectors[0].tolist() == pytest.approx([-1.0, 4.0])


@pytest.mark.parametrize("attackers", [1, 3])
@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_equal_updates_lean_to_sides_drawn_by_lot(scene, attackers, margin):
    """What is left of them across their mean is rounding error, whose cosine with them is anything."""
    update = torch.linspace(-1.0, 3.0, 650).sin()
    own, view = scene(update[None], update.repeat(attackers, 1))
    sent, _ = Evasion(margin=margin).corrupt(own, view, None)
    cosine = torch.nn.functional.cosine_similarity(sent.vectors, own.vectors)
    assert cosine.tolist() == pytest.approx([margin] * attackers, abs=1e-9)
    assert sent.vectors.norm(dim=1).tolist() == pytest.approx(own.vectors.norm(dim=1).tolist())
    assert len(sent.vectors.unique(dim=0)) == attackers


def test_of_one_parameter_there_is_no_side_to_lean_to(scene):
    own, view = scene([[1.0]], [[2.0], [-1.0]])  # mean 0.5
    sent, _ = Evasion(margin=0.5).corrupt(own, view, None)
    assert sent.vectors[:, 0].tolist() == [0.0, -1.0]


def test_groups_take_turns(scene):
    """Every second attacker of the round, the first one in even rounds."""
    own, view = scene([[9.0, 9.0, 9.0]], OWN)
    for round_, signs in ((2, [-1, 1, -1, 1]), (3, [1, -1, 1, -1])):
        sent, _ = Evasion("rotate", period=2).corrupt(own, replace(view, round=round_), None)
        assert torch.equal(sent.vectors, own.vectors * torch.tensor(signs)[:, None])


@pytest.mark.parametrize(
    ("mode", "factors"),
    [("warm_up", [-2.0, -2.0, -2.0, 1.0, 1.0]), ("drift", [1.0, 0.0, -1.0, -2.0, -2.0])],
)
def test_some_stop_in_time_and_some_turn_slowly(scene, mode, factors):
    own, view = scene([[9.0, 9.0, 9.0]], OWN)
    for round_, factor in enumerate(factors):
        sent, _ = Evasion(mode, scale=2.0, period=3).corrupt(own, replace(view, round=round_), None)
        torch.testing.assert_close(sent.vectors, factor * own.vectors)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "hide"}, "mode must be one of under, rotate, warm_up, drift, got 'hide'"),
        ({"scale": 0.0}, "scale must be finite and above 0, got 0.0"),
        ({"margin": 1.0}, "margin must be from 0 to below 1, got 1.0"),
        ({"period": 0}, "period must be at least 1, got 0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Evasion(**options)
