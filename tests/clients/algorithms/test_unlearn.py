"""Oracles: steps worked out by hand; the mean over clients, which must be one over each group."""

from dataclasses import dataclass

import pytest
import torch

from gauntlet.clients.algorithms.unlearn import Unlearn

KEPT, GONE = torch.tensor([1.0, -2.0, 0.0, 0.5]), torch.tensor([3.0, 0.0, 4.0, 0.0])  # |GONE| = 5
PARAMS = torch.tensor([0.5, -3.0, 1.0, 2.0])


def stepped(rule, loss=1.0, state=None, share=1.0):
    message = torch.cat([KEPT, GONE, torch.tensor([loss])])
    return rule.step(PARAMS, message, rule.init() if state is None else state, share)


def test_a_step_is_the_difference_of_gradients_and_the_climb_is_bounded():
    moved, state = stepped(Unlearn(lr=0.1, retain=2.0, most=1.0))
    torch.testing.assert_close(moved, PARAMS - 0.1 * (2 * KEPT - GONE / 5))
    assert state["steps"] == 1
    free, _ = stepped(Unlearn(lr=0.1, most=100.0))
    torch.testing.assert_close(free, PARAMS - 0.1 * (KEPT - GONE))
    ascent, _ = stepped(Unlearn(lr=0.1, retain=0.0, most=100.0))
    torch.testing.assert_close(ascent, PARAMS + 0.1 * GONE)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ("magnitude", [0.0, 1.0, 0.0, 1.0]),
        ("wagle", [0.0, 1.0, 1.0, 0.0]),  # x g_f - g_r g_f = -1.5, 0, 4, 0: of equals the first
        ("all", [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_only_chosen_weights_move_and_they_stay_the_same(mask, expected):
    rule = Unlearn(mask=mask, keep=1.0 if mask == "all" else 0.5)
    moved, state = stepped(rule)
    assert state["mask"].tolist() == expected
    assert torch.equal((moved != PARAMS).float() * state["mask"], (moved != PARAMS).float())
    again = rule.step(moved, torch.cat([GONE, KEPT, torch.ones(1)]), state, 1.0)[1]
    assert torch.equal(again["mask"], state["mask"])


def test_gamma_divides_what_the_others_lose():
    """1.5 - 3 / 10, 0, 4, 0."""
    assert Unlearn(mask="wagle", keep=0.5, gamma=10.0).chosen(PARAMS, KEPT, GONE).tolist() == [1, 0, 1, 0]


def test_a_random_choice_has_as_many_weights_as_it_is_told():
    masks = [Unlearn(mask="random", keep=0.3, seed=s).chosen(torch.zeros(50), 0, 0) for s in (0, 1)]
    assert [int(mask.sum()) for mask in masks] == [15, 15]
    assert not torch.equal(*masks)


def test_it_ends_after_its_steps_or_when_enough_is_forgotten():
    rule = Unlearn(steps=2, stop_loss=2.5)
    _, state = stepped(rule)
    assert stepped(rule, 1.0, {**state, "steps": 2})[0].tolist() == PARAMS.tolist()
    moved, ended = stepped(rule, 2.5, state)
    assert moved.tolist() == PARAMS.tolist()
    assert stepped(rule, 1.0, ended)[0].tolist() == PARAMS.tolist()  # for good
    assert stepped(rule, share=0.0)[0].tolist() == PARAMS.tolist()


@dataclass
class One:
    client_id: int
    num_clients: int = 5
    received: torch.Tensor = None

    def gradient(self, params):
        return torch.full((4,), float(self.client_id)), torch.tensor(float(self.client_id))


def test_the_mean_of_messages_is_a_mean_over_each_group():
    """Clients 1 and 4 are forgotten: means of 1, 4 and of 0, 2, 3."""
    rule = Unlearn(forget=(1, 4))
    message = torch.stack([rule.work(One(i))[0] for i in range(5)]).mean(dim=0)
    assert message[:4].tolist() == pytest.approx([5 / 3] * 4)
    assert message[4:].tolist() == pytest.approx([2.5] * 5)


@pytest.mark.parametrize("forget", [(5,), (0, 1, 2, 3, 4)])
def test_somebody_must_stay_and_everybody_forgotten_must_be_there(forget):
    with pytest.raises(ValueError, match="some of clients 0 to 4"):
        Unlearn(forget=forget).work(One(0))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"forget": ()}, "forget must be ids"),
        ({"forget": (1, 1)}, "each once"),
        ({"keep": 0.5}, "1 with mask all"),
        ({"mask": "half"}, "mask must be"),
        ({"most": 0.0}, "most must be"),
        ({"steps": 0}, "steps must be"),
        ({"stop_loss": float("nan")}, "stop_loss must be finite, or left out; got nan"),
    ],
)
def test_options_that_cannot_be_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        Unlearn(**options)
