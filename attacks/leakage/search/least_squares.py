"""Levenberg-Marquardt: examples that explain a message entry by entry, as a least-squares problem.

A search that follows the cost's gradient crawls where the cost is ill-conditioned, as it is for images. Here
every step solves the problem linearised at the point, (J^T J + damping I) step = -J^T r, with J the
derivative of the P entries of the gradient by the N numbers that are searched. Close to the truth the number
of right digits about doubles with each step. Memory grows with N (P + 3 N), and time with N^2 P. A derivative
is used again for a step from the point that it led to, which takes next to no time, until that gains little.
Far from the truth a derivative is badly spent, and a search along the cost's gradient gains as much for a
tenth of the time: it may go first (``WarmUp``).

Source: Marquardt. An Algorithm for Least-Squares Estimation of Nonlinear Parameters. SIAM Journal on Applied
Mathematics 1963. Nocedal, Wright. Numerical Optimization. 2nd edition 2006, Section 10.3. Derivatives that
are used again: Ortega, Rheinboldt. Iterative Solution of Nonlinear Equations in Several Variables. 1970,
Section 7.4 (Shamanskii's method). Damping in proportion to the cost: Yamashita, Fukushima. On the Rate of
Convergence of the Levenberg-Marquardt Method. Computing 2001. That it is used on gradients is ours.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ....core.errors import PluginError
from ....core.observation import Observation
from .affine import settled
from .engine import Budget, Found, Restart, SearchRecord, Variables, shaped
from .gradients import one_gradient_of
from .hidden import unless_hidden
from .normal_equations import forwards, gram_of, root_of, solved

PATIENCE = 5  # iterations without 10 % less cost before a restart is given up
MOST_BYTES = 4 * 2**30  # of the derivative and the normal equations
_DAMPING = 1e-3  # in units of the mean diagonal entry of J^T J; at first the cost, if less
_MOST_DAMPING = 1e6
_CHORD = 0.1  # of the cost is left at most by a step without a derivative of its own, if another is to follow
_ROUNDING = 1e-7  # of the first cost, or of 1: a local minimum is far above, a message in float32 below
_NEAR = 2.0  # times the cost that rounding leaves at the truth: nothing more is to be found
_COLUMNS = 128  # derivatives taken at once

Residuals = Callable[[Variables], Tensor]
"""From the variables of one restart to what should be 0 [M]; its squared norm is the cost."""

WarmUp = Callable[[Variables, float | None], Found]
"""From a start, and the seconds that are left, to where a cheaper search came from there."""


def by_least_squares(
    residuals: Residuals,
    starts: Sequence[Variables],
    budget: Budget,
    affine: bool = False,
    floor: float = 0.0,
    warm_up: WarmUp | None = None,
) -> Found:
    """Search from one start after the other, until one has converged, or stands still at rounding.

    Deterministic unless time runs out. ``closures`` counts each column of a derivative as one. What fits a
    message that says nothing of some values of the inputs is ``not_certified`` (see ``hidden``).

    Args:
        residuals: What should be 0; it can be differentiated forwards, and backwards.
        starts: The variables of each restart.
        budget: Until when; an iteration is one step that leads down.
        affine: Whether the residuals are affine in the last variable, which is then solved for at every point
            (see ``affine``).
        floor: The cost that rounding is expected to leave at the truth: it ends the search, and at twice
            that an iteration that does not halve the cost does.
        warm_up: What searches from each start before; its trace stands first, and its iterations count for
            nothing in the budget.
    """
    record = SearchRecord(starts, budget)
    for number, one in enumerate(record.restarts):
        if warm_up is not None:
            found = warm_up(one.best, record.seconds_left)
            one.best, one.trace = found.variables, list(found.trace)
            record.count(int(found.details["closures"]))
        record.stop(_descend(residuals, number, record, affine, floor), [number])
        if record.converged or record.out_of_time or _rounding_is_left(one, floor):
            break
    return unless_hidden(record.found(), residuals)


def refuse_unsolvable(observation: Observation, labels: int = 0, masked: bool = False) -> None:
    """Refuse what cannot be searched as a least-squares problem.

    Args:
        observation: The message.
        labels: Numbers that are searched for the label of each example, beside its inputs.
        masked: Whether entries that are 0 count for nothing.

    Raises:
        PluginError: There are fewer entries that count than numbers to find; or their derivative does not
            fit into ``MOST_BYTES``; or the model cannot be differentiated forwards.
    """
    unknowns = (observation.knowledge.batch_size or 1) * (math.prod(observation.input_shape) + labels)
    equations, instead = len(observation.update), "use optimizer = 'lbfgs'"
    counting = int(observation.update.count_nonzero()) if masked else equations
    if (counting or equations) < unknowns:  # all zeros: before anybody has trained
        what = "entries that are not 0" if masked else "parameters"
        raise PluginError(
            f"levenberg_marquardt needs at least as many {what} as unknowns, got {counting} for "
            f"{unknowns}; {instead}"
        )
    solved_for = (observation.knowledge.batch_size or 1) * labels
    size = 4 * (unknowns + solved_for) * equations + 24 * unknowns**2
    if size > MOST_BYTES:
        raise PluginError(
            f"levenberg_marquardt needs {size / 2**30:.1f} GiB for {unknowns} unknowns and {equations} "
            f"parameters, allowed are {MOST_BYTES / 2**30:.0f}; {instead}"
        )
    size = 1 if observation.knowledge.batch_size == 1 else 2  # batch norms may need two
    x, y = torch.full((size, *observation.input_shape), 0.5), torch.zeros(size, dtype=torch.long)
    gradient = one_gradient_of(observation)
    try:
        forwards(lambda x: gradient(x, y), x, torch.ones(2, *x.shape))
    except Exception as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise PluginError(
            "levenberg_marquardt needs a model whose gradient can be differentiated forwards, and this one "
            f"cannot: {why}; {instead}"
        ) from error


def _rounding_is_left(one: Restart, floor: float) -> bool:
    """Return whether a restart stands still at so little of its first cost that it has not missed the truth.

    A message in float32 may be rounded so much that the truth itself has a cost above the tolerance. A first
    cost above 1, what a gradient of zeros scores, says no more than 1 does.
    """
    return one.stopped == "plateau" and one.least <= max(_ROUNDING * min(1.0, one.trace[0]), _NEAR * floor)


@dataclass(frozen=True)
class _Point:
    """Where a restart is [N], what should be 0 there [M], and the sum of its squares."""

    at: Tensor
    values: Tensor
    cost: float


def _descend(residuals: Residuals, number: int, record: SearchRecord, affine: bool, floor: float) -> str:
    """Search from one start; return why it ended."""
    one = record.restarts[number]
    shapes = [v.shape for v in one.best]

    def parts(point: Tensor) -> Variables:
        return tuple(v[0] for v in shaped(point[None], shapes))

    def values_at(point: Tensor) -> Tensor:
        return residuals(parts(point))

    def seen(point: Tensor) -> _Point:
        if affine:
            point = _flat(settled(residuals, parts(point)))
            record.count(shapes[-1].numel())
        values = values_at(point)
        cost = float(values.double().square().sum())
        record.see([number], [cost], shaped(point[None], shapes))
        return _Point(point, values, cost)

    here, costs = seen(_flat(one.best)), list[float]()
    damping = min(_DAMPING, here.cost)
    for _ in range(record.budget.max_iterations):
        costs.append(here.cost)
        one.trace.append(here.cost)
        if why := _why_stop(costs, record, floor):
            return why
        jacobian = _jacobian(values_at, here, record)  # [N, M]
        if record.out_of_time:
            return "time_budget"
        there, damping = _lower(jacobian, here, damping, seen, record)
        if not there.cost < here.cost:
            return "time_budget" if record.out_of_time else "plateau"
        here = there
    return "max_iterations"


def _flat(variables: Variables) -> Tensor:
    return torch.cat([v.reshape(-1) for v in variables])  # [N]


def _why_stop(trace: Sequence[float], record: SearchRecord, floor: float) -> str:
    if record.converged:
        return "converged"
    if len(trace) > PATIENCE and trace[-1] > 0.9 * trace[-1 - PATIENCE]:
        return "plateau"
    if trace[-1] <= floor or (len(trace) > 1 and trace[-2] / 2 < trace[-1] <= _NEAR * floor):
        return "plateau"
    if not math.isfinite(trace[-1]):
        return "nan"
    return "time_budget" if record.out_of_time else ""


def _lower(
    jacobian: Tensor, here: _Point, damping: float, seen: Callable[[Tensor], _Point], record: SearchRecord
) -> tuple[_Point, float]:
    """Return a point of lower cost and the damping to go on with; ``here`` where there is none, or no time.

    The damping grows until the cost falls, ever faster, and shrinks once it has: fast where it halved.
    """
    gram, growth = gram_of(jacobian), 4.0
    scale = float(gram.diagonal().mean())

    def next_to(point: _Point, root: Tensor) -> _Point:
        slope = (jacobian @ point.values).double()
        return seen(point.at + solved(root, slope).to(point.at.dtype))

    while damping <= _MOST_DAMPING and not record.out_of_time:
        root = root_of(gram, damping * scale)
        there = here if root is None else next_to(here, root)
        if root is not None and there.cost < here.cost:
            shrink = 30 if there.cost < here.cost / 2 else 5
            return _further(there, partial(next_to, root=root), record), damping / shrink
        damping, growth = damping * growth, growth * 2
    return here, damping


def _further(here: _Point, step: Callable[[_Point], _Point], record: SearchRecord) -> _Point:
    """Return where more steps by the same derivative lead, as long as each makes the cost fall tenfold."""
    while not record.out_of_time:
        there = step(here)
        if not there.cost < here.cost:
            return here
        if not there.cost < _CHORD * here.cost:
            return there
        here = there
    return here


def _jacobian(values_at: Callable[[Tensor], Tensor], here: _Point, record: SearchRecord) -> Tensor:
    """Return the derivative of the values by the point, one row an unknown; of no use once time is up.

    # [N, M]
    """
    unknowns = len(here.at)
    rows = here.values.new_empty(unknowns, len(here.values))
    for first in range(0, unknowns, _COLUMNS):
        last = min(first + _COLUMNS, unknowns)
        tangents = here.at.new_zeros(last - first, unknowns)
        tangents[range(last - first), range(first, last)] = 1
        rows[first:last] = forwards(values_at, here.at, tangents)
        record.count(last - first)
        if record.out_of_time:
            break
    return rows
