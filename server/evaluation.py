"""How good the global model is on the test set."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from ..clients.data.base import FederatedData, Targets, targets_of
from ..clients.losses import loss_name, loss_of
from ..clients.scoring import Answers, ScoredExamples
from ..core.contracts import Goal
from ..core.declarations import DataAttacks, declared
from ..core.errors import PluginError
from ..core.roles import Role


@dataclass(frozen=True)
class ClassScore:
    """One class of the test set, in examples: those of it, those taken for it, and those of both."""

    examples: int
    predicted: int
    right: int


@dataclass(frozen=True)
class GoalScore:
    """How far one attack came, whether or not it was active in the round.

    Attributes:
        attack: Its name.
        examples: Test examples on which it counts: for a backdoor the triggered ones, for a label flip those
            of its source classes.
        success: How many of them the model takes for what the attacker wants.
        recalled: How many it takes for what they are.
    """

    attack: str
    examples: int
    success: int
    recalled: int


@dataclass(frozen=True)
class OutputScore:
    """How far one output of a regression is off on the test set, in its own unit; NaN where it diverged.

    Attributes:
        output: Its name, and before it that of the group of test examples, where there are groups.
        examples: Test examples.
        rmse: Root of the mean squared error.
        mae: Mean absolute error.
    """

    output: str
    examples: int
    rmse: float
    mae: float


@dataclass(frozen=True)
class Score:
    """A model's score.

    Attributes:
        accuracy: Share of test examples classified right, between 0 and 1; None of a regression.
        loss: Mean of the loss that clients train with: cross-entropy in nats, or mae or mse of the targets.
        classes: Every class, from 0.
        goals: Every attack that has a goal on test examples, in the order of the plan.
        outputs: Every output of a regression, group by group.
    """

    accuracy: float | None
    loss: float
    classes: tuple[ClassScore, ...] = ()
    goals: tuple[GoalScore, ...] = ()
    outputs: tuple[OutputScore, ...] = ()

    @property
    def rmse(self) -> float | None:
        """The mean of the outputs' errors; None of a classification."""
        return fmean(one.rmse for one in self.outputs) if self.outputs else None

    @property
    def mae(self) -> float | None:
        """The mean of the outputs' errors; None of a classification."""
        return fmean(one.mae for one in self.outputs) if self.outputs else None


def goals_of(roles: Sequence[Role[Any]], data: FederatedData) -> list[tuple[str, Goal]]:
    """Return what the attacks want of any model on the test set, by name, of those that say so.

    Raises:
        PluginError: An attack that cannot say so of these data, or does not return a goal.
    """
    found: list[tuple[str, Goal]] = []
    for role in roles:
        goal = declared(role.attack, DataAttacks.goal)
        if goal is None or declared(role.attack, DataAttacks.sees_model):
            continue
        wish = goal(*data.test())
        if not isinstance(wish, Goal):
            raise PluginError(f"attack '{role.kind}': goal must return a Goal, got a {type(wish).__name__}")
        found.append((role.kind, wish))
    return found


class Evaluator:
    """Count a model's answers to the test set: how good it is, and how far the attackers came.

    Attributes:
        examples: What a model is asked: the test set, and what attackers want of it besides.
    """

    def __init__(
        self, data: FederatedData, goals: Sequence[tuple[str, Goal]] = (), loss: str = "auto"
    ) -> None:
        """Take the data, what attackers want by name, and the clients' loss by name."""
        self.examples, self._places = ScoredExamples.of(data, [goal.x for _, goal in goals])
        self._y = torch.from_numpy(self.examples.y)
        self._goals, self._num_classes = goals, data.num_classes
        self._targets, self._loss = targets_of(data), loss_of(loss_name(loss, data))

    def score(self, answers: Answers) -> Score:
        """Return the score of whoever gave ``answers``; NaN loss where the model diverged."""
        if self._targets is not None:
            return self._regression(answers.predicted, self._targets)
        predicted = answers.predicted[: len(self._y)]
        right, loss = predicted == self._y, 0.0
        for of_block in answers.losses.tolist():
            loss += of_block
        goals = tuple(
            goal_score(name, goal, answers.predicted[places])
            for (name, goal), places in zip(self._goals, self._places, strict=True)
        )
        accuracy = int(right.sum()) / len(self._y)
        return Score(accuracy, loss / len(self._y), self._classes(predicted, right), goals)

    def _regression(self, came: Tensor, targets: Targets) -> Score:
        """Return the score of a model's outputs [m, D] for real-valued targets, in float64."""
        forecast, truth = came.double(), self._y.double()  # [m, D]
        loss = float(self._loss(forecast, truth))
        off = forecast.clamp(min=targets.least) - truth
        groups = (
            [("", slice(None))]
            if targets.test_groups is None
            else [
                (f"{name}: ", torch.from_numpy(targets.test_groups == number))
                for number, name in enumerate(targets.group_names)
            ]
        )
        outputs = tuple(
            OutputScore(
                prefix + name,
                len(off[rows]),
                float(off[rows, place].square().mean().sqrt()),
                float(off[rows, place].abs().mean()),
            )
            for prefix, rows in groups
            for place, name in enumerate(targets.names)
        )
        return Score(None, loss, outputs=outputs)

    def _classes(self, predicted: Tensor, right: Tensor) -> tuple[ClassScore, ...]:
        counts = (
            torch.bincount(labels, minlength=self._num_classes).tolist()
            for labels in (self._y, predicted, self._y[right])
        )
        return tuple(ClassScore(*of_class) for of_class in zip(*counts, strict=True))


def goal_score(name: str, goal: Goal, predicted: Tensor) -> GoalScore:
    """Return how far an attack came, from the labels [m] that a model gives to its goal's examples."""
    success, recalled = (int((predicted == labels).sum()) for labels in (goal.wanted, goal.truth))
    return GoalScore(name, len(goal.x), success, recalled)
