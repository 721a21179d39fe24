"""What a defense certifies of the model that is evaluated, example by example, as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from sys import float_info
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...clients.placement.device import one_thread
from ...core.contracts import EvaluatedModel
from ...core.declarations import Algorithms, Defenses, Optimizers, Schedules, declared, name_of
from ...core.errors import PluginError, shown
from ...core.wanted import kind_of

if TYPE_CHECKING:
    from ...clients.scoring.candidates import CandidateModels
    from ...clients.tasks.fitted import FittedTask
    from ..plan import Plan
    from ..state import ServerState

_FIRST = 8  # test examples that a defense is tried on before a run


@dataclass(frozen=True)
class CertificateScore:
    """One column of a defense's certificate, over the test set.

    Attributes:
        name: As the defense calls it.
        examples: Test examples; 0 of a number that is the same for all.
        mean: The mean of its values: of a truth, the share of examples of which it holds.
        right: The same with 0 in the place of examples that the model takes for something else: of a truth,
            the certified accuracy. None where a label is no one class, and of a number for all.
        least, median, most: Of its values; None of a number that is the same for all.
    """

    name: str
    examples: int
    mean: float
    right: float | None = None
    least: float | None = None
    median: float | None = None
    most: float | None = None


@dataclass(frozen=True, eq=False)
class Certifier:
    """Asks the defense of a run about its models, in the server's process whatever the pool.

    Attributes:
        plan: What stays.
        models: Runs models with the run's architecture.
        x, y: The test set, or some of it.
        task: What is learnt.
    """

    plan: Plan
    models: CandidateModels
    x: Tensor
    y: Tensor
    task: FittedTask

    def check(self, first: ServerState) -> None:
        """Ask about the first model and a few examples, so that what cannot be certified is refused before.

        Raises:
            PluginError: The defense raised, or did not return columns.
        """
        self._columns(first, self.plan.model(first.params, first.optimizer), self.x[:_FIRST])

    def scores(self, state: ServerState) -> tuple[CertificateScore, ...]:
        """Return the defense's columns for the model after a round, in its own order.

        Raises:
            PluginError: The defense raised, or did not return columns.
        """
        params = self.plan.model(state.params, state.optimizer)
        right = self._right(params, state.buffers) if self.task.by_class else None
        columns = self._columns(state, params, self.x)
        return tuple(_score(name, values, right) for name, values in columns.items())

    def _right(self, params: Tensor, buffers: Tensor) -> Tensor:
        """Return which test examples a model takes for what they are.  # [m]"""
        outputs = self.models.forward(buffers)(params[None], self.x)[0]  # [m, ...]
        return self.task.task.answer(outputs) == self.y

    def _columns(self, state: ServerState, params: Tensor, x: Tensor) -> Mapping[str, Tensor | float]:
        plan = self.plan
        model = EvaluatedModel(
            round=state.round,
            layout=plan.layout,
            num_classes=self.task.facts.num_classes if self.task.gives_logits else 0,
            seed=plan.seed,
            forward=self.models.forward(state.buffers),
            expected_size=plan.sampling.expected_size,
            gain=_gain(plan, state),
        )
        with one_thread():
            found: Any = declared(plan.defense, Defenses.evaluate)(params, x, model)  # type: ignore[misc]
        _check(found, len(x), f"defense {name_of(plan.defense)}: evaluate")
        columns: Mapping[str, Tensor | float] = found
        return columns


def _gain(plan: Plan, state: ServerState) -> float | None:
    """Return what an aggregate is multiplied by in the parameters after the next round, where that is all.

    It is not known of messages that are more than updates, of an algorithm that is scored by another model,
    or where a schedule multiplies what it counts; nor where clients' buffers move the model beside it.
    """
    gain = declared(plan.optimizer, Optimizers.gain)
    other = declared(plan.optimizer, Algorithms.model) is not None or plan.exchange.up != plan.layout
    other = other or plan.layout.num_buffers > 0
    if gain is None or other or declared(plan.schedule, Schedules.gain) is not None:
        return None
    return float(gain(state.optimizer))


def _check(found: object, size: int, who: str) -> None:
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise PluginError(f"{who} must return a table of columns by name, got {kind_of(found)}")
    for name, values in found.items():
        number = isinstance(values, int | float) and abs(values) <= float_info.max
        column = isinstance(values, Tensor) and values.shape == (size,) and not values.is_complex()
        if not (number or column):
            raise PluginError(
                f"{who} must return a number or a tensor [{size}] under {shown(name)}, got {kind_of(values)}"
            )


def _score(name: str, values: Tensor | float, right: Tensor | None) -> CertificateScore:
    if not isinstance(values, Tensor):
        return CertificateScore(name, 0, float(values))
    exact = values.detach().to(torch.float64)
    of_right = None if right is None else float(exact.where(right, 0.0).mean())
    order = exact.sort().values
    ends = float(order[0]), float(order[(len(order) - 1) // 2]), float(order[-1])
    return CertificateScore(name, len(exact), float(exact.mean()), of_right, *ends)
