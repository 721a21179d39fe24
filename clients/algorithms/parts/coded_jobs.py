"""Gradients that several clients work on: results as they travel, how they add up, and models in turn.

A result is P + 1 numbers: the sum of some examples' gradients times the code's factors, and behind it the
number of examples times the same, so that what decodes is a sum and of how many. It travels as two float32,
which hold 48 bits of each float64: codes magnify what is lost.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import inf
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ....core.contracts import Sampling, Verdict, Visit, Worked
from ....core.layout import Layout
from ....core.seeds import generator
from .gradient_code import cyclic, decoding, repeated

Array = np.ndarray[Any, Any]
Form = Literal["cyclic", "repeated"]
FORMS = ("cyclic", "repeated")


@lru_cache(maxsize=8)
def code_of(form: Form, num_clients: int, spare: int, seed: int) -> Array:
    """Return B: client i sends sum_j B_ij g_j, float64, the same wherever it is asked for.  # [n, n]"""
    if form == "repeated":
        return repeated(num_clients, spare)
    return cyclic(num_clients, spare, generator(seed, "gradient code"))


def replicated(form: Form, client_id: int, num_clients: int, spare: int) -> tuple[int, ...]:
    """Return whose examples a client has replicas of: spare + 1 clients', its own among them."""
    first = client_id if form == "cyclic" else client_id - client_id % (spare + 1)
    return tuple((first + i) % num_clients for i in range(spare + 1))


def everybody(num_clients: int, spare: int, form: Form = "cyclic") -> Sampling:
    """Return the sampling of all clients in every round.

    Raises:
        ValueError: There is no such code of so many clients.
    """
    if not 0 <= spare < num_clients:
        raise ValueError(f"{num_clients} clients cannot spare {spare}, allowed: 0 to {num_clients - 1}")
    if form == "repeated" and num_clients % (spare + 1):
        raise ValueError(f"form repeated needs a multiple of {spare + 1} clients, got {num_clients}")
    return Sampling("full", num_clients, 1.0, float(num_clients))


def check_bursts(burst: int, window: int, most: int, lr: float, least: int = 0) -> None:
    """Raise ``ValueError`` for options that are out of range."""
    if not 1 <= burst < window:
        raise ValueError(f"burst must be at least 1 and below window, got {burst} and {window}")
    if most < least:
        raise ValueError(f"most_late must be at least {least}, got {most}")
    check_lr(lr)


def check_lr(lr: float) -> None:
    if not 0 < lr < float("inf"):
        raise ValueError(f"lr must be finite and above 0, got {lr}")


def results(layout: Layout, parts: int = 1) -> Layout:
    """Return the layout of a message of so many results."""
    return Layout(()).followed_by(results=(parts, 2, layout.num_parameters + 1))


def task(visit: Visit, params: Tensor, rows: Array | None = None) -> tuple[Tensor, Tensor, int]:
    """Return the result of some examples of a visit, float64 [P + 1], their mean loss, and how many.

    Of no examples it is 0.
    """
    count = visit.num_examples if rows is None else len(rows)
    if not count:
        return torch.zeros(len(params) + 1, dtype=torch.float64), torch.zeros(()), 0
    gradient, loss = visit.gradient(params, rows)
    one = torch.ones(1, dtype=torch.float64)
    return count * torch.cat([gradient.double(), one]), loss, count


def combination(visit: Visit, params: Tensor, factors: Array, replicas: Sequence[int]) -> Worked:
    """Return a client's result: the sums over the chunks that it has, times their factors [n]."""
    total, loss, count = summed(visit, params, factors, replicas, lambda _: None)
    return Worked(halves([total]), loss, examples=count)


def summed(
    visit: Visit,
    params: Tensor,
    factors: Array,
    replicas: Sequence[int],
    rows: Callable[[int], Array | None],
) -> tuple[Tensor, Tensor, int]:
    """Return as ``task`` does what some clients' examples come to, times their factors.

    Args:
        visit: The client that has their replicas.
        params: Where the gradients are taken.  # [P]
        factors: By client.  # [n]
        replicas: The clients.
        rows: Which examples of a client; None: all.
    """
    total, losses, count = torch.zeros(len(params) + 1, dtype=torch.float64), torch.zeros(()), 0
    for client in replicas:
        theirs, which = visit.of(client), rows(client)
        size = theirs.num_examples if which is None else len(which)
        if size:
            gradient, loss = theirs.gradient(params, which)
            total[:-1].add_(gradient, alpha=float(factors[client]) * size)
            total[-1] += float(factors[client]) * size
            losses, count = losses + size * loss, count + size
    return total, losses / max(1, count), count


def halves(found: Sequence[Tensor]) -> Tensor:
    """Return results [P + 1] as they travel, in one vector float32."""
    whole = torch.stack(list(found))  # [parts, P + 1]
    high = whole.float()
    return torch.stack([high, (whole - high.double()).float()], dim=1).flatten()


def whole(vectors: Tensor) -> Tensor:
    """Return the results of messages of one result, float64.  # [K, 2 (P + 1)] to [K, P + 1]"""
    high, low = vectors.double().chunk(2, dim=1)
    return high + low


def decoded(code: Array, ids: Tensor, vectors: Tensor) -> Tensor:
    """Return the sum over all clients' examples, from results of those who came, float64.  # [P + 1]

    Raises:
        ValueError: They do not suffice.
    """
    return torch.from_numpy(decoding(code, ids.numpy())) @ whole(vectors)


def decided(code: Array, ids: Tensor, vectors: Tensor, worked_on: float = inf) -> Verdict:
    """Return what results of those who came tell, or that they do not suffice.  # [P]

    A sum over more examples than all of them say to have ``worked_on`` is none: somebody sent something else.
    """
    size = vectors.shape[1] // 2 - 1
    try:
        total = decoded(code, ids, vectors)
        if (count := float(total[-1])) > 1.01 * worked_on + 0.5:
            raise ValueError(f"what is decoded is a sum over {count:.4g} of {worked_on:.0f} examples at most")
        return told(total, size)
    except ValueError as error:
        return untold(str(error), size)


def told(total: Tensor, size: int) -> Verdict:
    """Return minus the mean gradient that a sum [P + 1] tells: a step of length 1.  # [P]

    A sum over no example tells nothing, as where somebody sent something else.
    """
    count = float(total[-1])
    if not (bool(total.isfinite().all()) and count > 0.5):
        return untold(f"what is decoded is a sum over {count:.4g} examples", size)
    most = torch.finfo(torch.float32).max
    return Verdict((-total[:-1] / count).clamp(-most, most).float())


def untold(why: str, size: int) -> Verdict:
    """Return that no job could be told.  # [P]"""
    return Verdict(torch.zeros(size), fallback=f"{why}: the model stays as it was")


def models_of(params: Tensor, state: Any, turns: int) -> Tensor:
    """Return the models in turn: job t trains model t mod ``turns``; all begin alike.  # [turns, P]"""
    found: Tensor = params.repeat(turns, 1) if state["models"] is None else state["models"]
    return found


def moved(
    params: Tensor, aggregate: Tensor, state: Any, lr: float, delay: int
) -> tuple[Tensor, dict[str, Any]]:
    """Step the model of the job that was told in this round; return the next job's, and the state.

    Args:
        params: The model of this round's job.  # [P]
        aggregate: Minus the gradient of the job that began ``delay`` rounds ago.  # [P]
        state: With the round, and the models in turn.
        lr: Step size.
        delay: T.
    """
    turns, round_ = delay + 1, state["round"]
    models = models_of(params, state, turns).clone()
    models[(round_ - delay) % turns] += lr * aggregate
    return models[(round_ + 1) % turns].clone(), {**state, "round": round_ + 1, "models": models}
