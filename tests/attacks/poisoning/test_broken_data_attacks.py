"""For each check of attacks on examples a twin that it catches."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from gauntlet.attacks.poisoning import contract
from gauntlet.core.contracts import Goal
from gauntlet.core.errors import PluginError


@dataclass(frozen=True)
class DataTwin:
    """Flips 1 to 7, with something wrong."""

    change: Callable[[Tensor, Tensor, Any], tuple[Any, Any]]

    def poison(self, x: Tensor, y: Tensor, generator: Any) -> tuple[Any, Any]:
        return self.change(x, y, generator)


BROKEN_DATA = [
    (contract.poisoned_examples_are_still_examples, lambda x, y, g: (x[:0], y[:0]), "1 to 40 examples may"),
    (contract.poisoned_examples_are_still_examples, lambda x, y, g: (x.repeat(2, 1, 1, 1), y), "got 80"),
    (contract.poisoned_examples_are_still_examples, lambda x, y, g: (x[..., :1], y), "x must stay"),
    (contract.poisoned_examples_are_still_examples, lambda x, y, g: (x[:1], y), "y must stay"),
    (contract.poisoned_examples_are_still_examples, lambda x, y, g: (x, y[:, None]), "y must stay"),
    (contract.poisoned_examples_are_still_examples, lambda x, y, g: (x.double(), y), "x must stay"),
    (contract.poisoned_examples_are_still_examples, lambda x, y, g: (x, y.float()), "y must stay"),
    (
        contract.poisoned_examples_are_still_examples,
        lambda x, y, g: (x + 0.5, y),
        r"pixels must stay in \[0, 1\]",
    ),
    (
        contract.poisoned_examples_are_still_examples,
        lambda x, y, g: (x / 0, y),
        r"pixels must stay in \[0, 1\]",
    ),
    (contract.poisoned_examples_are_still_examples, lambda x, y, g: (x, y + 1), "labels must stay below 10"),
    (
        contract.poisoned_examples_are_still_examples,
        lambda x, y, g: 1 / 0,
        "DataTwin raised ZeroDivisionError",
    ),
    (contract.a_data_attack_does_something, lambda x, y, g: (x, y), "nothing changed"),
    (
        contract.a_data_attack_leaves_its_inputs_as_they_were,
        lambda x, y, g: (x.mul_(0.5), y),
        "x was changed",
    ),
    (contract.a_data_attack_leaves_its_inputs_as_they_were, lambda x, y, g: (x, y.fill_(7)), "y was changed"),
    (
        contract.a_data_attack_draws_only_from_its_generator,
        lambda x, y, g: (x, y[torch.randperm(len(y))]),
        "equal generators give different examples",
    ),
]


@pytest.mark.parametrize(("check", "change", "complaint"), BROKEN_DATA)
def test_a_broken_data_attack_fails_the_check(check, change, complaint):
    with pytest.raises(PluginError, match=complaint):
        check(DataTwin(change))


@dataclass(frozen=True)
class GoalTwin:
    """Flips 1 to 7, and says something wrong about what it wants."""

    want: Callable[[Tensor, Tensor], Any]

    def poison(self, x: Tensor, y: Tensor, generator: Any) -> tuple[Tensor, Tensor]:
        return x, y.masked_fill(y == 1, 7)

    def goal(self, x: Tensor, y: Tensor) -> Any:
        return self.want(x, y)


@dataclass(frozen=True)
class PartTwin(GoalTwin):
    """Is split into parts that are no attacks."""

    def part(self, index: int, count: int) -> Any:
        return self.want(index, count)


BROKEN_GOALS = [
    (contract.a_goal_asks_for_other_labels, GoalTwin(lambda x, y: (x, y)), "got a tuple"),
    (contract.a_goal_asks_for_other_labels, GoalTwin(lambda x, y: Goal(x.add_(1), y, 9 - y)), "in place"),
    (
        contract.a_goal_asks_for_other_labels,
        GoalTwin(lambda x, y: Goal(x[:, 0], y, 9 - y)),
        "inputs must stay",
    ),
    (contract.a_goal_asks_for_other_labels, GoalTwin(lambda x, y: Goal(x, y[1:], y)), "at least one example"),
    (contract.a_goal_asks_for_other_labels, GoalTwin(lambda x, y: Goal(x, y + 0.5, y)), "whole numbers"),
    (contract.a_goal_asks_for_other_labels, GoalTwin(lambda x, y: Goal(x[:0], y[:0], y[:0])), "at least one"),
    (
        contract.a_goal_asks_for_other_labels,
        GoalTwin(lambda x, y: Goal(x, y, y * 0)),
        "ask for the true label",
    ),
    (contract.every_part_is_an_attack, PartTwin(lambda i, n: None), "part 0 of 1 has no method poison"),
    (
        contract.every_part_is_an_attack,
        PartTwin(lambda i, n: DataTwin(lambda x, y, g: (x, y + i))),
        "nothing changed",
    ),
]


@pytest.mark.parametrize(("check", "twin", "complaint"), BROKEN_GOALS)
def test_a_broken_goal_or_part_fails_the_check(check, twin, complaint):
    with pytest.raises(PluginError, match=complaint):
        check(twin)


@dataclass(frozen=True)
class RetrainTwin:
    """Writes its client's update itself, with something wrong."""

    update: Callable[[Any, Tensor, Any], Any]
    sees_model: bool = True

    def poison(self, x: Tensor, y: Tensor, generator: Any, model: Any = None) -> tuple[Tensor, Tensor]:
        return x, y.masked_fill(y == 1, 7)

    def retrain(self, x: Tensor, y: Tensor, generator: Any, model: Any, training: Any) -> Any:
        return self.update(model, x, generator)


BROKEN_UPDATES = [
    (RetrainTwin(lambda m, x, g: m.params + 1, sees_model=False), "must declare sees_model"),
    (RetrainTwin(lambda m, x, g: m.params[:-1] + 1), "must return an update as a tensor"),
    (RetrainTwin(lambda m, x, g: m.params / 0), "finite"),
    (RetrainTwin(lambda m, x, g: m.params + torch.rand(())), "equal generators give different updates"),
    (RetrainTwin(lambda m, x, g: m.params * 0), "the update is 0"),
    (RetrainTwin(lambda m, x, g: x.mul_(0.5).sum() + m.params), "equal generators|was changed"),
]


@pytest.mark.parametrize(("twin", "complaint"), BROKEN_UPDATES)
def test_a_broken_update_of_a_data_attack_fails_the_check(twin, complaint):
    contract.a_retrained_update_is_one(RetrainTwin(lambda m, x, g: m.params + float(g.random())))
    with pytest.raises(PluginError, match=complaint):
        contract.a_retrained_update_is_one(twin)


def test_every_check_of_data_attacks_catches_a_twin():
    caught = {check for check, _, _ in BROKEN_DATA} | {check for check, _, _ in BROKEN_GOALS}
    caught.add(contract.a_retrained_update_is_one)  # of BROKEN_UPDATES
    assert caught == set(contract.DATA_ATTACK_CHECKS)
