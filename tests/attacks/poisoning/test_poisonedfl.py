"""Oracles: Algorithm 1 of the paper, by hand, and the binomial distribution of scipy."""

from dataclasses import replace

import pytest
import torch

from gauntlet.attacks.poisoning.poisonedfl import PoisonedFL, magnitudes, went
from gauntlet.core.seeds import generator


def play(attack, own, view, broadcasts):
    """Return (what is sent in each round, the last state)."""
    state, sent = attack.init(), []
    for t, params in enumerate(broadcasts):
        now = replace(view, round=t, params=params, generator=generator(0, "attack", t))
        rows, state = attack.corrupt(own, now, state)
        sent.append(rows.vectors)
    return sent, state


def test_what_is_sent_follows_the_move_and_what_was_sent_for_it(scene):
    """By hand. The model moved by g = (3, 4): nothing was sent for it, v = |g| / 5, and 2 * 5 * v = (6, 8) is
    sent, with the signs. Then by g = (-4, 3) (say the signs are +): g - 5 (0.6, 0.8) = (-7, -1), whose
    v = (7, 1) / sqrt(50)."""
    own, view = scene([[0.0, 0.0]], [[1.0, 2.0], [3.0, 4.0]])
    zero = torch.zeros(2)
    first, second = torch.tensor([3.0, 4.0]), torch.tensor([-1.0, 7.0])
    sent, state = play(PoisonedFL(scale=2.0), own, view, [zero, first, second])
    assert torch.equal(sent[0], own.vectors)  # nothing is known yet
    signs = state["signs"]
    torch.testing.assert_close(sent[1] * signs, torch.tensor([[6.0, 8.0]] * 2).double())
    rest = torch.tensor([-4.0, 3.0]).double() - 5 * torch.tensor([0.6, 0.8]).double() * signs
    expected = 10 * rest.abs() / rest.norm() * signs
    torch.testing.assert_close(sent[2], expected.repeat(2, 1))


def test_a_move_that_is_all_their_own_leaves_no_direction_and_none_does_no_harm():
    assert magnitudes(torch.tensor([3.0, 4.0]), torch.tensor([30.0, 40.0]).double()).tolist() == [0.0, 0.0]
    assert magnitudes(torch.zeros(2), None).tolist() == [0.0, 0.0]


def test_the_signs_are_kept_for_the_whole_run(scene):
    own, view = scene([[0.0] * 40], [[1.0] * 40])
    walk = torch.linspace(1.0, 2.0, 40)
    sent, state = play(PoisonedFL(period=2), own, view, [t * walk**t for t in range(6)])
    for rows in sent[1:]:
        assert torch.equal(rows[0].sign()[rows[0] != 0], state["signs"][rows[0] != 0])
    assert set(state["signs"].tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("size", [100, 139_960, 1_204_682])
def test_the_test_is_that_of_a_binomial(size):
    """The last two are sizes of public code, whose thresholds at 0.01 are 70,415 and 603,618."""
    from scipy.stats import binom

    signs, least = torch.ones(size), int(binom.ppf(0.99, size, 0.5))
    assert least == {139_960: 70_415, 1_204_682: 603_618}.get(size, least)
    for count, expected in ((least - 1, False), (least + 1, True)):
        moved = torch.where(torch.arange(size) < count, 1.0, -1.0)
        assert went(moved, signs, 0.01) is expected
    assert not went(torch.zeros(size), signs, 0.01)


def test_the_factor_shrinks_where_the_model_does_not_go_their_way_and_never_below_the_floor(scene):
    """By hand: 8, then 5.6 after each second round, ..., 0.7^7 * 8 = 0.66, 0.46 is below 0.5."""
    own, view = scene([[0.0] * 100], [[1.0] * 100])
    attack = PoisonedFL(period=2)
    signs = play(attack, own, view, [torch.zeros(100)])[1]["signs"]
    against = [-t * signs.float() for t in range(21)]
    _, state = play(attack, own, view, against[:3])
    assert state["scale"] == pytest.approx(5.6)
    _, state = play(attack, own, view, against)
    assert state["scale"] == 0.5
    _, state = play(attack, own, view, [-params for params in against])
    assert state["scale"] == 8.0


def test_honest_updates_are_never_looked_at(scene):
    """Not even the attackers' own, once there is a move to go by."""
    rows = [[1.0, 2.0, 3.0]]
    walk = [torch.zeros(3), torch.tensor([1.0, -2.0, 0.5])]
    one, _ = play(PoisonedFL(), *scene([[0.0] * 3], rows), walk)
    other, _ = play(PoisonedFL(), *scene([[9.0] * 3], [[-7.0, 5.0, 0.0]]), walk)
    assert torch.equal(one[1], other[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0.0}, "scale must be finite and above 0, got 0.0"),
        ({"floor": float("inf")}, "floor must be finite and above 0, got inf"),
        ({"shrink": 1.0}, "shrink must be above 0 and below 1, got 1.0"),
        ({"significance": 0.0}, "significance must be above 0 and below 1, got 0.0"),
        ({"period": 0}, "period must be at least 1, got 0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PoisonedFL(**options)
