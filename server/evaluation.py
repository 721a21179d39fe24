"""How good the global model is on the test set."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from ..clients.data.base import FederatedData, Targets, targets_of
from ..clients.losses import loss_name, loss_of
from ..core.contracts import Goal
from ..core.declarations import DataAttacks, declared
from ..core.errors import PluginError, ScenarioError
from ..core.layout import Layout
from ..core.roles import Role
from ..core.untouched import untouched

_BATCH = 1000


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
    """Return what the attacks want of the model on the test set, by name, of those that say so.

    Raises:
        PluginError: An attack that cannot say so of these data, or does not return a goal.
        ScenarioError: An attack on a label that the data do not have, or one that wants it.
    """
    found: list[tuple[str, Goal]] = []
    for role in roles:
        _check_labels(role.kind, "changes", declared(role.attack, DataAttacks.sources), data)
        goal = declared(role.attack, DataAttacks.goal)
        if goal is None:
            continue
        wish = goal(*data.test())
        if not isinstance(wish, Goal):
            raise PluginError(f"attack '{role.kind}': goal must return a Goal, got a {type(wish).__name__}")
        _check_labels(role.kind, "wants", torch.unique(wish.wanted).tolist(), data)
        found.append((role.kind, wish))
    return found


def _check_labels(kind: str, verb: str, labels: Iterable[int], data: FederatedData) -> None:
    outside = [label for label in labels if not 0 <= label < data.num_classes]
    if outside:
        raise ScenarioError(
            f"attack '{kind}' {verb} label {outside[0]}; {data.name} has labels 0 to {data.num_classes - 1}"
        )


class Evaluator:
    """Score global parameters on the whole test set, and by what the attackers want."""

    def __init__(
        self,
        model: nn.Module,
        data: FederatedData,
        goals: Sequence[tuple[str, Goal]] = (),
        loss: str = "auto",
        device: str = "cpu",
    ) -> None:
        """Take the model, the data, what attackers want, the clients' loss by name, and where to score."""
        self._model, self._layout, self._device = model.eval().to(device), Layout.of(model), device
        self._x, self._y = data.test()
        self._goals, self._num_classes = goals, data.num_classes
        self._targets, self._loss = targets_of(data), loss_of(loss_name(loss, data))

    def score(self, params: Tensor, buffers: Tensor) -> Score:
        """Return the score of ``params`` [P] and ``buffers`` [Q]; NaN loss where the model diverged."""
        own = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
        with torch.no_grad():
            new = {**self._layout.views(params), **self._layout.buffer_views(buffers)}
            for name, value in new.items():
                own[name].copy_(value)
            if self._targets is not None:
                return self._regression(self._targets)
            predicted, loss = torch.empty_like(self._y), 0.0
            for at in range(0, len(self._y), _BATCH):
                x, y = self._x[at : at + _BATCH], self._y[at : at + _BATCH]
                output = self._outputs(x)  # [B, C]
                predicted[at : at + _BATCH] = output.argmax(dim=1)
                loss += float(nn.functional.cross_entropy(output.double(), y, reduction="sum"))
            right = predicted == self._y
            goals = tuple(self._goal_score(name, goal) for name, goal in self._goals)
        accuracy = int(right.sum()) / len(self._y)
        return Score(accuracy, loss / len(self._y), self._classes(predicted, right), goals)

    def _outputs(self, x: Tensor) -> Tensor:
        with untouched("the model", x):
            outputs: Tensor = self._model(x.to(self._device))
        return outputs.cpu()

    def _regression(self, targets: Targets) -> Score:
        """Return the score of the model as it stands on real-valued targets, in float64."""
        parts = [self._outputs(self._x[at : at + _BATCH]) for at in range(0, len(self._x), _BATCH)]
        forecast, truth = torch.cat(parts).double(), self._y.double()  # [m, D]
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

    def _goal_score(self, name: str, goal: Goal) -> GoalScore:
        success, recalled = 0, 0
        for at in range(0, len(goal.x), _BATCH):
            part = slice(at, at + _BATCH)
            predicted = self._outputs(goal.x[part]).argmax(dim=1)
            success += int((predicted == goal.wanted[part]).sum())
            recalled += int((predicted == goal.truth[part]).sum())
        return GoalScore(name, len(goal.x), success, recalled)
