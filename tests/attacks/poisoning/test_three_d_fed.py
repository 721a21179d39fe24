"""Oracles: what a mean, a clipped mean and a detector make of the indicators, by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.parts.feedback import read
from gauntlet.attacks.poisoning.three_d_fed import ThreeDFed
from gauntlet.core.seeds import generator

SIZE = 400


def play(attack, scene, server, rounds):
    """Return (what is sent in each round, the states after), where ``server`` says how the model moves."""
    rows = 0.1 + np.random.default_rng(0).normal(size=(4, SIZE))
    rows[:, :30] = 0.0  # coordinates that never move
    own, view = scene(np.zeros((6, SIZE)), rows)
    params, state, sent, states = torch.zeros(SIZE), attack.init(), [], []
    for t in range(rounds):
        now = replace(view, round=t, params=params, generator=generator(0, "attack", t))
        lies, state = attack.corrupt(own, now, state)
        sent.append(lies.vectors)
        states.append(state)
        params = params + server(lies.vectors).float()
    return sent, states


def a_mean(lies):
    return lies.sum(dim=0) / 10


def nobody(lies):
    return torch.zeros(SIZE)


def test_feedback_is_the_weight_of_an_update():
    """Values 2, 4 and 1 in coordinates 0, 1, 2: the model moved by 0.2, 0.1 and 0: weights 0.1, 0.025, 0."""
    indicators = [[0, 2.0, False], [1, 4.0, False], [2, 1.0, True]]
    move = torch.tensor([0.2, 0.1, 0.0])
    assert read(move, indicators) == ["accepted", "clipped", "rejected"]
    assert read(torch.tensor([0.2, 0.1, -0.3]), indicators) is None
    assert read(torch.tensor([2.5, 0.1, 0.0]), indicators) is None


def test_noise_tells_attackers_apart_and_goes_away_in_their_sum(scene):
    sent, states = play(ThreeDFed(least_noise=0.5, most_noise=0.5), scene, a_mean, 1)
    rows = np.random.default_rng(0).normal(size=(4, SIZE)) + 0.1
    mean = torch.from_numpy(rows).mean(dim=0)
    free = torch.ones(SIZE, dtype=torch.bool)
    free[:30] = False
    torch.testing.assert_close(sent[0].mean(dim=0)[free], mean[free])
    lengths = (sent[0] - mean)[:, free].norm(dim=1) / mean[free].norm()
    assert lengths.tolist() == pytest.approx([0.5 * 0.75**0.5] * 4, rel=0.1)
    places = [place for place, _, _ in states[0]["indicators"]]
    assert len(set(places)) == 4
    assert max(places) < 30
    for row, (place, value, decoy) in enumerate(states[0]["indicators"]):
        assert float(sent[0][row, place]) == value > 0
        assert not decoy
        assert int((sent[0][:, place] != 0).sum()) == 1


def test_where_it_is_accepted_nothing_changes(scene):
    _, states = play(ThreeDFed(), scene, a_mean, 4)
    assert [state["noise"] for state in states] == [0.05] * 4
    assert [state["decoys"] for state in states] == [0] * 4


def test_where_it_is_left_out_noise_is_drawn_anew_and_decoys_come_but_never_from_all(scene):
    sent, states = play(ThreeDFed(), scene, nobody, 6)
    assert [state["decoys"] for state in states] == [0, 1, 2, 3, 3, 3]
    assert all(0.05 <= state["noise"] <= 0.3 for state in states)
    assert len({state["noise"] for state in states}) == 6
    far = sent[1].abs().max(dim=1).values
    assert float(far[3]) > 2 * float(far[:3].max())


def test_decoys_that_are_accepted_go_back_to_the_attack(scene):
    """Two rounds of nothing, then a mean: the decoy's indicator comes through, and it is one no longer."""
    turns = iter([nobody, nobody, a_mean, a_mean, a_mean])
    _, states = play(ThreeDFed(), scene, lambda lies: next(turns)(lies), 5)
    assert [state["decoys"] for state in states] == [0, 1, 2, 0, 0]


def test_a_server_that_adds_noise_is_not_asked_again(scene):
    def noisy(lies):
        return a_mean(lies) + torch.from_numpy(generator(1, "noise").normal(0, 5, SIZE))

    _, states = play(ThreeDFed(), scene, noisy, 3)
    assert states[1]["noisy"]
    assert states[2]["noise"] == 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.0}, "alpha must be above 0 and below 1, got 1.0"),
        ({"least_noise": 3.0}, "least_noise must be at least 0 and at most most_noise"),
        ({"indicator": 0.0}, "indicator must be finite and above 0, got 0.0"),
        ({"decoy_scale": float("inf")}, "decoy_scale must be finite and above 0, got inf"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ThreeDFed(**options)


def test_local_training_is_held_to_the_received_model():
    """By hand: the slope of .8 loss + .2 |w - w0|^2 is .8 g + .4 (w - w0) = .8 5 + .4 3 = 5.2."""
    found = ThreeDFed(alpha=0.8).steer(torch.tensor([5.0]), torch.tensor([4.0]), torch.tensor([1.0]))
    assert found.tolist() == pytest.approx([5.2])
