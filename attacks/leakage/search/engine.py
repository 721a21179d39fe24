"""Search examples that explain a message, several restarts in one batch.

Restarts are told apart by the cost that the attacker sees, never by the truth. One of which the cost is no
number is dropped, and the best point that it saw is kept; the others are not touched.
"""

import math
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from math import inf

import numpy as np
import torch
from torch import Tensor

from ....core.observation import Progress, Reconstruction
from .adam import AdamSearch
from .lbfgs import LBFGS
from .line import Answer, Point, Question

STEPS = 20  # of L-BFGS in one iteration, as in the authors' code of DLG
PATIENCE = 10  # iterations without 1 % less cost before a search by L-BFGS is given up

Variables = tuple[Tensor, ...]
"""What is searched, each [R, ...] for R restarts; inputs [R, B, ...] stand first."""


@dataclass(frozen=True)
class Problem:
    """What is searched for.

    Attributes:
        cost: From variables to the matching cost of each restart, which tells them apart.  # [R]
        prior: From variables, and the share of the run that is over (0 to 1), to what is added to it.  # [R]
        bound: How many times the cost the prior may count at most, above 0, or None. The search goes along
            less of it where it would be more, so that a cost that can fall to 0 does.
        project: Moves variables, in place, to where they may be, after each step (not of L-BFGS).
    """

    cost: Callable[[Variables], Tensor]
    prior: Callable[[Variables, float], Tensor] | None = None
    project: Callable[[Variables], None] | None = None
    bound: float | None = None


@dataclass(frozen=True)
class Budget:
    """When a search ends.

    Attributes:
        max_iterations: Iterations of every restart, at least 1.
        tolerance: The cost at which it has converged, above 0; 0: it never has.
        restarts: Random starts, at least 1.
        max_seconds: Seconds of wall clock, above 0, or None.

    Raises:
        ValueError: One of them is out of range.
    """

    max_iterations: int
    tolerance: float
    restarts: int = 1
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_iterations", "restarts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.tolerance < inf:
            raise ValueError(f"tolerance must be at least 0 and finite, got {self.tolerance}")
        if self.max_seconds is not None and not 0 < self.max_seconds < inf:
            raise ValueError(f"max_seconds must be above 0 and finite or None, got {self.max_seconds}")


@dataclass(frozen=True)
class Found:
    """How a search ended.

    Attributes:
        variables: The best point of the restart of least cost, without the leading axis.
        cost: The matching cost there; infinite if no point had a finite one.
        trace: Its cost at the start of each iteration.
        stopped: ``"converged"`` (cost within tolerance), ``"plateau"``, ``"max_iterations"``,
            ``"time_budget"`` or ``"nan"``.
        details: ``closures`` (evaluations of the cost and its gradient, over all restarts), ``iterations``,
            ``restarts`` and ``chosen_restart``.
        progress: How it came about.
        traces: The traces of all restarts.
    """

    variables: Variables
    cost: float
    trace: tuple[float, ...]
    stopped: str
    details: dict[str, float]
    progress: Progress
    traces: tuple[tuple[float, ...], ...]

    def reconstruction(self, labels: Tensor, **figures: float) -> Reconstruction:
        """Return the inputs that were found, the first of the variables, with these labels [B].

        Args:
            labels: What the attack says of them.
            **figures: More details.
        """
        details = {**self.details, **figures}
        x, cost, stopped = self.variables[0], self.cost, self.stopped
        return Reconstruction(x, labels, cost, self.trace, stopped, details, progress=self.progress)


@dataclass
class Restart:
    """What one restart has seen: its best point, the costs at the start of its iterations, why it stopped."""

    best: Variables
    least: float = math.inf
    trace: list[float] = field(default_factory=list)
    leasts: list[float] = field(default_factory=list)
    stopped: str = ""


class SearchRecord:
    """What all restarts have seen so far."""

    def __init__(self, starts: Sequence[Variables], budget: Budget) -> None:
        self.restarts = [Restart(tuple(v.clone() for v in start)) for start in starts]
        self.budget, self.closures = budget, 0
        self._begin, self._clock = time.thread_time(), time.monotonic()
        self._next, self._kept = 1, list[tuple[Tensor, float, int, float]]()

    def see(self, numbers: Sequence[int], costs: Sequence[float], variables: Variables) -> None:
        """Note the costs of some restarts at their variables [len(numbers), ...]."""
        self.closures += len(numbers)
        for row, (number, cost) in enumerate(zip(numbers, costs, strict=True)):
            one = self.restarts[number]
            if cost < one.least:
                one.least, one.best = cost, tuple(v[row].detach().clone() for v in variables)
        if self.closures >= self._next:
            self._keep()
            self._next = math.ceil(self._next * math.sqrt(2)) + len(self.restarts)

    def count(self, closures: int) -> None:
        """Note work that gave no cost: so many times what a cost and its gradient take."""
        self.closures += closures

    def _keep(self) -> None:
        best = self.restarts[self.chosen()]
        self._kept.append((best.best[0], best.least, self.closures, time.thread_time() - self._begin))

    def chosen(self) -> int:
        return min(range(len(self.restarts)), key=lambda i: self.restarts[i].least)

    @property
    def out_of_time(self) -> bool:
        seconds = self.budget.max_seconds
        return seconds is not None and time.monotonic() - self._clock >= seconds

    @property
    def seconds_left(self) -> float | None:
        """What is left of the budget in seconds, above 0, or None."""
        seconds = self.budget.max_seconds
        return None if seconds is None else max(seconds - (time.monotonic() - self._clock), 1e-3)

    @property
    def converged(self) -> bool:
        return any(self.reached(one) for one in self.restarts)

    def reached(self, one: Restart) -> bool:
        """Return whether a restart has converged; a cosine can round to less than 0, and 0 is no bound."""
        return self.budget.tolerance > 0 and one.least <= self.budget.tolerance

    def stop(self, why: str, numbers: Iterable[int]) -> None:
        """Note why some restarts end here; of one whose cost was no number at last, that."""
        for number in numbers:
            one = self.restarts[number]
            last = one.trace[-1] if one.trace else math.nan
            one.stopped = one.stopped or (why if math.isfinite(last) else "nan")

    def found(self) -> Found:
        """Return the restart of least cost."""
        self._keep()
        number = self.chosen()
        one, kept = self.restarts[number], self._kept
        stopped = "converged" if self.reached(one) else one.stopped
        details = {
            "closures": float(self.closures),
            "iterations": float(sum(len(r.trace) for r in self.restarts)),
            "restarts": float(sum(bool(r.trace) for r in self.restarts)),
            "chosen_restart": float(number),
        }
        x, cost, closures, seconds = zip(*kept, strict=True)
        progress = Progress(torch.stack(x), cost, closures, seconds)
        traces = tuple(tuple(r.trace) for r in self.restarts)
        return Found(one.best, one.least, tuple(one.trace), stopped, details, progress, traces)


def _evaluated(problem: Problem, variables: Variables, share: float) -> tuple[list[float], Variables]:
    """Return the matching costs [R], and the gradient of cost and prior by each variable."""
    leaves = tuple(v.detach().requires_grad_() for v in variables)
    with torch.enable_grad():
        cost = problem.cost(leaves)  # [R]
        whole = (
            cost if problem.prior is None else cost + _bounded(problem.prior(leaves, share), cost, problem)
        )
        gradients = torch.autograd.grad(whole.sum(), leaves)
    return cost.detach().tolist(), gradients


def _bounded(prior: Tensor, cost: Tensor, problem: Problem) -> Tensor:
    """Return what is added to the costs [R], each times what its bound leaves of it.  # [R]"""
    if problem.bound is None:
        return prior
    most = problem.bound * cost.detach().clamp(min=0)
    return prior * (most / prior.detach().clamp(min=1e-30)).clamp(max=1)


def by_lbfgs(problem: Problem, starts: Sequence[Variables], how: LBFGS, budget: Budget) -> Found:
    """Search from every start by L-BFGS; all stop once one has converged.

    Deterministic unless time runs out. Priors stay as they are at the beginning.

    Args:
        problem: What is searched for.
        starts: The variables of each restart, without a leading axis.
        how: How.
        budget: Until when.
    """
    record, shapes = SearchRecord(starts, budget), [v.shape for v in starts[0]]
    searches = [how.search(_flat(start)) for start in starts]
    asked: dict[int, Question] = {number: next(search) for number, search in enumerate(searches)}
    while asked and not record.converged:
        numbers, late = list(asked), record.out_of_time
        flat = torch.from_numpy(np.stack([asked[n][0] for n in numbers])).float()  # [R, N]
        variables = shaped(flat, shapes)
        costs, gradients = _evaluated(problem, variables, 0.0)
        record.see(numbers, costs, variables)
        slopes = torch.cat([g.flatten(1) for g in gradients], dim=1).double().numpy()  # [R, N]
        for row, number in enumerate(numbers):
            answer = costs[row], slopes[row]
            asked.update(_ask(searches[number], number, answer, asked.pop(number), record))
        if late:
            record.stop("time_budget", asked)
            break
    return record.found()


def by_adam(
    problem: Problem,
    starts: Sequence[Variables],
    how: AdamSearch,
    budget: Budget,
    stream: np.random.Generator | None = None,
) -> Found:
    """Search from every start by Adam, all at once, each step of all restarts one computation.

    Args:
        problem: What is searched for.
        starts: The variables of each restart, without a leading axis.
        how: How.
        budget: Until when.
        stream: Where noise comes from, if there is any.
    """
    record = SearchRecord(starts, budget)
    variables = tuple(torch.stack(parts) for parts in zip(*starts, strict=True))
    step, numbers = how.steps(variables, budget.max_iterations, stream), range(len(starts))
    for iteration in range(budget.max_iterations):
        late = record.out_of_time
        costs, gradients = _evaluated(problem, variables, iteration / budget.max_iterations)
        record.see(numbers, costs, variables)
        for one, cost in zip(record.restarts, costs, strict=True):
            one.trace.append(cost)
        if record.converged or late or not any(map(math.isfinite, costs)):
            record.stop("time_budget" if late else "nan", numbers)
            return record.found()
        step(gradients)
        if problem.project is not None:
            problem.project(variables)
    record.stop("max_iterations", numbers)
    return record.found()


def _ask(
    search: Generator[Question, Answer, str],
    number: int,
    answer: Answer,
    asked: Question,
    record: SearchRecord,
) -> dict[int, Question]:
    """Return a restart's next question; nothing, and why in the record, where it has ended."""
    one, budget = record.restarts[number], record.budget
    iteration = asked[1] // STEPS
    if iteration == len(one.trace):
        one.trace.append(answer[0])
        one.leasts.append(one.least)
        if iteration > PATIENCE and one.leasts[-1] > 0.99 * one.leasts[-1 - PATIENCE]:
            one.stopped = "plateau"
    try:
        question = search.send(answer)
    except StopIteration as end:
        one.stopped = one.stopped or end.value
        return {}
    if question[1] >= budget.max_iterations * STEPS:
        one.stopped = one.stopped or "max_iterations"
    return {} if one.stopped else {number: question}


def _flat(variables: Variables) -> Point:
    return torch.cat([v.detach().reshape(-1) for v in variables]).double().numpy()


def shaped(flat: Tensor, shapes: Sequence[torch.Size]) -> Variables:
    """Return variables [R, ...] that stand one after the other in rows [R, N]."""
    parts = torch.split(flat, [shape.numel() for shape in shapes], dim=1)
    return tuple(part.reshape(len(flat), *shape) for part, shape in zip(parts, shapes, strict=True))
