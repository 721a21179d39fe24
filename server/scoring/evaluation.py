"""How good the global model is on the test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...clients.scoring.scorer import Answers, ScoredExamples
from ...clients.tasks.fitted import FittedTask, task_of
from ...core.contracts import ClassScore, Goal, OutputScore
from ...core.declarations import DataAttacks, declared
from ...core.errors import PluginError

if TYPE_CHECKING:
    import numpy as np

    from ...clients.data.base import FederatedData
    from ...core.roles import Role


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
class Score:
    """A model's score.

    Attributes:
        accuracy: Share that is right of the test set, between 0 and 1; None of a regression.
        loss: Mean of the loss that clients train with: cross-entropy in nats, or mae or mse of the targets.
        classes: Every class, from 0.
        goals: Every attack that has a goal on test examples, in the order of the plan.
        outputs: Every output of a regression, group by group.
        metrics: What else the task measures, by name.
    """

    accuracy: float | None
    loss: float
    classes: tuple[ClassScore, ...] = ()
    goals: tuple[GoalScore, ...] = ()
    outputs: tuple[OutputScore, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)

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
        task: What is learnt.
    """

    def __init__(
        self,
        data: FederatedData,
        goals: Sequence[tuple[str, Goal]] = (),
        loss: str = "auto",
        task: FittedTask | None = None,
    ) -> None:
        """Take the data, what attackers want by name, the clients' loss by name, and what is learnt.

        By default that is what the data are made for. Examples are looked for once a model is asked: a sweep
        checks each of its runs before the first one, and asks nothing then.
        """
        shapes = sorted({tuple(goal.x.shape[1:]) for _, goal in goals})
        if len(shapes) > 1:
            raise PluginError(f"attacks' goals must have inputs of one shape, got {shapes}")
        self._goals, self.task = goals, task or task_of(data)
        self._of, self._loss = (data, loss), self.task.form(loss)

    @cached_property
    def _asked(self) -> tuple[ScoredExamples, list[np.ndarray[Any, Any]]]:
        """What a model is asked, and where each goal's examples are in it."""
        data, loss = self._of
        return ScoredExamples.of(data, [goal.x for _, goal in self._goals], self.task, loss)

    @property
    def examples(self) -> ScoredExamples:
        return self._asked[0]

    @cached_property
    def _y(self) -> Tensor:
        return torch.from_numpy(self.examples.y)

    def score(self, answers: Answers) -> Score:
        """Return the score of whoever gave ``answers``; NaN loss where the model diverged."""
        predicted, loss = answers.predicted[: len(self._y)], self._mean_loss(answers)
        found = self.task.measure(predicted, self._y, loss)
        goals = tuple(
            goal_score(name, goal, answers.predicted[places])
            for (name, goal), places in zip(self._goals, self._asked[1], strict=True)
        )
        return Score(found.accuracy, loss, found.classes, goals, found.outputs, found.metrics)

    def _mean_loss(self, answers: Answers) -> float:
        """Return the mean of the test set's losses, in float64."""
        if self.task.whole_outputs:
            outputs = answers.predicted[: len(self._y)]
            labels = self._y.double() if self._y.is_floating_point() else self._y
            return float(self._loss.mean(outputs.double(), labels))
        loss = 0.0
        for of_block in answers.losses.tolist():
            loss += of_block
        return loss / len(self._y)


def goal_score(name: str, goal: Goal, predicted: Tensor) -> GoalScore:
    """Return how far an attack came, from the labels [m] that a model gives to its goal's examples."""
    success, recalled = (int((predicted == labels).sum()) for labels in (goal.wanted, goal.truth))
    return GoalScore(name, len(goal.x), success, recalled)
