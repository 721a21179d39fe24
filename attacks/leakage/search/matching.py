"""Gradient matching: move dummy examples until they give the gradient that the client sent.

The cost is the squared distance between the two gradients over the squared norm of the client's, so that 1 is
what a zero gradient scores, and tolerances mean the same for every model.

Source: Zhu, Liu, Han. Deep Leakage from Gradients. NeurIPS 2019, Algorithm 1. arXiv:1906.08935 (the
distance is not divided there).
"""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ....core.errors import PluginError
from ....core.observation import Observation

INNER_STEPS = 20  # L-BFGS steps in one iteration, as in the authors' code
PATIENCE = 10  # iterations without 1 % less cost before a search is given up

Init = Literal["normal", "uniform"]
Cost = Callable[[Sequence[Tensor]], Tensor]


@dataclass(frozen=True)
class Search:
    """How L-BFGS searches; the meaning of each option stands with the attacks that hand it on."""

    max_iterations: int
    lr: float
    history: int
    line_search: bool
    tolerance: float
    restarts: int
    max_seconds: float | None

    def __post_init__(self) -> None:
        for name in ("max_iterations", "history", "restarts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.lr > 0:
            raise ValueError(f"lr must be above 0, got {self.lr}")
        if not self.tolerance >= 0:
            raise ValueError(f"tolerance must be at least 0, got {self.tolerance}")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ValueError(f"max_seconds must be above 0 or None, got {self.max_seconds}")


@dataclass(frozen=True)
class Descent:
    """How one search ended.

    Attributes:
        variables: The best point that was visited.
        cost: The cost there; infinite if no point had a finite one.
        trace: The cost at the start of each iteration.
        stopped: ``"converged"`` (cost within tolerance), ``"plateau"``, ``"max_iterations"``,
            ``"time_budget"`` or ``"nan"``.
        closures: How often the cost and its gradient were computed.
    """

    variables: tuple[Tensor, ...]
    cost: float
    trace: tuple[float, ...]
    stopped: str
    closures: int


def gradient_distance(observation: Observation, masked: bool = False) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the cost of examples x [B, ...] with labels y: class numbers [B] or probabilities [B, C].

    Where ``masked``, entries that are 0 in the message count for nothing: they were taken away, or not sent.
    It works on a copy of the model in evaluation mode: the observation's own stays as it is.

    Raises:
        ValueError: The observation allows no gradient (unknown step size, several steps).
    """
    target = observation.gradient()  # [P]
    scale = float(target.square().sum()) or 1.0
    model = copy.deepcopy(observation.model).eval()
    named = dict(model.named_parameters())
    parameters = [named[slot.name].requires_grad_() for slot in observation.layout.parameters]
    there = target != 0  # [P]

    def distance(x: Tensor, y: Tensor) -> Tensor:
        loss = functional.cross_entropy(model(x), y)
        gradients = torch.autograd.grad(
            loss, parameters, create_graph=True, allow_unused=True, materialize_grads=True
        )
        gradient = torch.cat([g.reshape(-1) for g in gradients])  # [P]
        difference = gradient - target
        return (difference * there if masked else difference).square().sum() / scale

    return distance


def refuse_unsearchable(observation: Observation, init: Init) -> None:
    """Refuse a model or a start with which no search can move inputs.

    Raises:
        PluginError: The loss has no second derivative by parameters and inputs (inputs are rounded to tokens,
            an operation without one), or a uniform start where values have no finite range.
    """
    refuse_boundless(observation.value_range, init)
    blank = replace(
        observation,
        update=torch.zeros_like(observation.update),
        knowledge=replace(observation.knowledge, lr=1.0, local_steps=1),
    )
    x = torch.full((1, *observation.input_shape), 0.5, requires_grad=True)
    try:
        with torch.enable_grad():
            cost = gradient_distance(blank)(x, torch.zeros(1, dtype=torch.long))
            torch.autograd.grad(cost, x)
    except Exception as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise PluginError(
            "gradient matching needs a model that can be differentiated twice, by parameters and then by "
            f"inputs, and this one cannot: {why}"
        ) from error


def refuse_boundless(value_range: tuple[float, float], init: Init) -> None:
    """Raise ``PluginError`` where a uniform start is wanted and values have no finite range."""
    low, high = value_range
    if init == "uniform" and not math.isfinite(high - low):
        raise PluginError(
            f"init 'uniform' needs a finite value_range, got ({low}, {high}); use init = 'normal'"
        )


def dummy_inputs(
    observation: Observation, batch_size: int, init: Init, stream: np.random.Generator
) -> Tensor:
    """Return starting inputs [B, ...]: standard normal, or uniform over the range of values.

    Raises:
        PluginError: A uniform start where values have no finite range.
    """
    shape = (batch_size, *observation.input_shape)
    if init == "normal":
        return torch.from_numpy(stream.standard_normal(shape)).float()
    refuse_boundless(observation.value_range, init)
    low, high = observation.value_range
    return torch.from_numpy(stream.uniform(low, high, shape)).float()


class _Tracker:
    """The closure that L-BFGS calls: it counts, and keeps the best point that it saw."""

    def __init__(self, cost: Cost, variables: Sequence[Tensor]) -> None:
        self.cost, self.variables = cost, variables
        self.best = tuple(v.detach().clone() for v in variables)
        self.least, self.last, self.closures = math.inf, math.inf, 0

    def __call__(self) -> float:
        cost = self.cost(self.variables)
        gradients = torch.autograd.grad(cost, self.variables)
        for variable, gradient in zip(self.variables, gradients, strict=True):
            variable.grad = gradient
        self.closures += 1
        self.last = float(cost.detach())
        if self.last < self.least:
            self.least, self.best = self.last, tuple(v.detach().clone() for v in self.variables)
        return self.last


def minimise(cost: Cost, start: Sequence[Tensor], search: Search, deadline: float = math.inf) -> Descent:
    """Return the best point that L-BFGS finds from ``start``; deterministic unless ``deadline`` cuts in."""
    variables = [v.clone().requires_grad_() for v in start]
    tracker = _Tracker(cost, variables)
    optimizer = torch.optim.LBFGS(
        variables,
        lr=search.lr,
        max_iter=INNER_STEPS,
        history_size=search.history,
        tolerance_grad=0.0,
        tolerance_change=search.tolerance * 1e-3,
        line_search_fn="strong_wolfe" if search.line_search else None,
    )
    trace: list[float] = []
    leasts: list[float] = []
    stopped = "max_iterations"
    for _ in range(search.max_iterations):
        trace.append(float(optimizer.step(tracker)))  # type: ignore[no-untyped-call]
        leasts.append(tracker.least)
        if why := _why_stop(tracker, leasts, search, deadline):
            stopped = why
            break
    return Descent(tracker.best, tracker.least, tuple(trace), stopped, tracker.closures)


def _why_stop(tracker: _Tracker, leasts: list[float], search: Search, deadline: float) -> str:
    if tracker.least <= search.tolerance:
        return "converged"
    if not math.isfinite(tracker.last) or not all(bool(v.isfinite().all()) for v in tracker.variables):
        return "nan"
    if len(leasts) > PATIENCE and leasts[-1] > 0.99 * leasts[-1 - PATIENCE]:
        return "plateau"
    return "time_budget" if time.monotonic() >= deadline else ""


def best_of(
    cost: Cost, draw: Callable[[], Sequence[Tensor]], search: Search
) -> tuple[Descent, dict[str, float]]:
    """Return the restart of least cost, which the attacker sees, and figures on all of them.

    Once a restart has converged, or time is up, the others are left out.
    """
    deadline = math.inf if search.max_seconds is None else time.monotonic() + search.max_seconds
    descents: list[Descent] = []
    for _ in range(search.restarts):
        descents.append(minimise(cost, draw(), search, deadline))
        if descents[-1].stopped in ("converged", "time_budget"):
            break
    chosen = min(range(len(descents)), key=lambda i: descents[i].cost)
    details = {
        "closures": float(sum(d.closures for d in descents)),
        "iterations": float(sum(len(d.trace) for d in descents)),
        "restarts": float(len(descents)),
        "chosen_restart": float(chosen),
    }
    return descents[chosen], details
