"""Ask the server's own rule what it would make of an attack before it is sent.

Source of the line search: ByzFL (``Optimal_ALittleIsEnough``, ``Optimal_InnerProductManipulation``),
arXiv:2505.24802; used in Allouah et al., Fixing by Mixing, AISTATS 2023. arXiv:2302.01772
"""

from collections.abc import Callable
from dataclasses import replace
from math import isfinite
from typing import Protocol

import torch
from torch import Tensor

from ....core.contracts import Verdict, View
from ....core.updates import Updates, concatenate
from .moments import send_all


def crowd(row: Tensor, own: Updates, view: View) -> Updates:
    """Return the cohort, of its true size, as it would be if every attacker sent ``row`` [P].

    What other attacks send is not seen: their clients are taken to send the same, under ids behind the rest.
    """
    parts = [send_all(own, row)] + ([view.honest] if view.honest is not None else [])
    unseen = max(view.cohort_size - sum(map(len, parts)), 0)
    last = max(int(part.client_ids.max()) for part in parts if len(part))
    helpers = replace(
        own,
        vectors=row.to(own.vectors.dtype).repeat(unseen, 1),
        client_ids=torch.arange(last + 1, last + 1 + unseen),
        num_examples=own.num_examples[:1].repeat(unseen),
        buffers=own.buffers[:1].repeat(unseen, 1),
        facts=own.facts[:1].repeat(unseen, 1),
    )
    return concatenate([*parts, helpers], own.expected_size)


def ask(view: View, cohort: Updates) -> Verdict:
    """Return what the server would decide about a cohort.

    Raises:
        ValueError: The view does not know the server's rule.
    """
    if view.aggregate is None:
        raise ValueError("this attack needs the server's rule; the view has none")
    return view.aggregate(cohort)


class Options(Protocol):
    """The options of the line search, as the fields of the two attacks are."""

    @property
    def evaluations(self) -> int: ...

    @property
    def start(self) -> float: ...

    @property
    def delta(self) -> float: ...

    @property
    def ratio(self) -> float: ...


def check_line_search(options: Options) -> None:
    """Raise ``ValueError`` unless the options of the line search are in range."""
    if options.evaluations < 1:
        raise ValueError(f"evaluations must be at least 1, got {options.evaluations}")
    if not isfinite(options.start):
        raise ValueError(f"start must be finite, got {options.start}")
    if options.delta == 0 or not isfinite(options.delta):
        raise ValueError(f"delta must be finite and not 0, got {options.delta}")
    if not 0.5 < options.ratio < 1:
        raise ValueError(f"ratio must be above 0.5 and below 1, got {options.ratio}")


def selected(verdict: Verdict, cohort: Updates, view: View) -> bool:
    """Return whether some attacker of a cohort has a weight; always where the rule gives no weights."""
    if verdict.weights is None or len(verdict.weights) != len(cohort):
        return True
    lies = torch.ones(len(cohort), dtype=torch.bool)
    if view.honest is not None:
        lies = ~torch.isin(cohort.client_ids, view.honest.client_ids)
    return bool(verdict.weights[lies].gt(0).any())


def most_harmful(
    options: Options, row: Callable[[float], Tensor], mean: Tensor, own: Updates, view: View
) -> Updates:
    """Return what the attackers send: the row [P] that takes the aggregate farthest from the honest mean."""
    objective = harm(row, mean, own, view)
    best = line_search(objective, options.evaluations, options.start, options.delta, options.ratio)
    return send_all(own, row(best))


def harm(row: Callable[[float], Tensor], mean: Tensor, own: Updates, view: View) -> Callable[[float], float]:
    """Return, for every factor, how far it moves the aggregate from the honest mean, in L2 norm."""

    def moved(factor: float) -> float:
        aggregate = ask(view, crowd(row(factor), own, view)).aggregate
        return float(torch.linalg.vector_norm(aggregate.double() - mean))

    return moved


def line_search(
    objective: Callable[[float], float], evaluations: int, start: float, delta: float, ratio: float
) -> float:
    """Return the best factor found: steps double while they help, then shrink by ``ratio``."""
    best, value = start, objective(start)
    expands = True
    for _ in range(evaluations - 1):
        proposed = best + delta
        reached = objective(proposed)
        helps = reached > value
        if helps:
            best, value = proposed, reached
        expands = expands and helps
        delta *= 2 if expands else ratio
    return best
