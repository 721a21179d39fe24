"""What an algorithm owes whose clients state single numbers beside their messages: tried on three of them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....core import trees
from ....core.contracts import Facts, LocalTraining, LocalWork
from ....core.declarations import Algorithms, declared
from ....core.layout import Layout
from ....core.registry import require
from ...exchange.facts import Statement, statement_of

_K, _P = 3, 5
_TRAINING = LocalTraining(local_steps=2)


def _statement(algorithm: Any) -> Statement:
    return statement_of(algorithm, algorithm.schedule(_TRAINING))


def _drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _work(statement: Statement, steps: Tensor) -> LocalWork:
    """Return the work of clients that took so many steps, which also say what gradient and loss they had."""
    return LocalWork(statement.training, steps, steps.expand(-1, _P) / 4, 0.25 + steps[:, 0] / 2)


def told(algorithm: Any, clients: int = _K, messages: Tensor | None = None) -> tuple[Facts, ...]:
    """Return what ``step`` is given after the share: nothing of an algorithm without facts.

    ``messages`` [K, M] are those of a model of five parameters unless given.
    """
    statement = _statement(algorithm)
    if not statement:
        return ()
    work = _work(statement, torch.full((clients, 1), 2.0))
    said = torch.ones(clients, len(statement), dtype=torch.float64)
    said = statement.by(_drawn(clients, _P, seed=1), work) if statement.of else said
    shares = torch.full((clients,), 1 / max(clients, 1), dtype=torch.float64)
    columns = dict(zip(statement.names, said.unbind(dim=1), strict=True))
    ids, sees = torch.arange(clients), declared(algorithm, Algorithms.sees_messages)
    drawn = _drawn(clients, _message_length(algorithm), seed=3) if messages is None else messages
    how = shares, statement.training, columns, drawn if sees else None
    return (Facts(ids, torch.full((clients,), 64), *how),)


def what_is_declared_is_stated_by_stacked_clients_as_by_each_one_alone(algorithm: Any) -> None:
    statement = _statement(algorithm)
    if statement.of is None:
        return
    update, steps = _drawn(_K, _P, seed=2), torch.tensor([[1.0], [2.0], [2.0]])
    before = update.clone()
    together = statement.by(update, _work(statement, steps))
    rows = [slice(row, row + 1) for row in range(_K)]
    alone = [statement.by(update[row], _work(statement, steps[row])) for row in rows]
    require(torch.equal(together, torch.cat(alone)), "facts_of must give every client the facts of it alone")
    require(bool(together.isfinite().all()), "facts_of must return finite numbers")
    require(torch.equal(update, before), "facts_of wrote to the updates")


def factors_are_finite_and_above_0(algorithm: Any) -> None:
    factors = declared(algorithm, Algorithms.factors)
    if factors is None:
        return
    require(bool(told(algorithm)), "factors needs facts that it follows from")
    for clients in (0, 1, _K):
        for facts in told(algorithm, clients):
            found = factors(facts)
            fits = found.shape == (clients,) and bool((found.isfinite() & (found > 0)).all())
            require(fits, f"factors must be finite and above 0, [{clients}], got {found}")


def the_server_half_takes_facts_and_survives_a_checkpoint(algorithm: Any) -> None:
    step = declared(algorithm, Algorithms.step)
    if not (facts := told(algorithm)):
        return
    require(step is not None, "an algorithm with facts needs a step that is told of them")
    length = _message_length(algorithm)
    found = [_served(algorithm, facts[0], length, packed) for packed in (False, True)]
    require(torch.equal(*found), "after a checkpoint the rounds go another way")
    inputs = [_drawn(_P, seed=8), _drawn(length, seed=9), algorithm.init(), *facts[0].values.values()]
    inputs += [] if facts[0].messages is None else [facts[0].messages]
    before = trees.pack(inputs)
    algorithm.step(*inputs[:3], 0.5, *facts)
    require(trees.equal(trees.unpack(*before), inputs), "step wrote to its inputs")
    empty = algorithm.step(
        _drawn(_P, seed=8), torch.zeros(length), algorithm.init(), 0.0, *told(algorithm, 0)
    )
    require(bool(empty[0].isfinite().all()), "step must be finite where nobody was counted")


def _message_length(algorithm: Any) -> int:
    """Return how long a message is of a model of five parameters."""
    up, layout = declared(algorithm, Algorithms.up), Layout(()).followed_by(weight=(2, 2), bias=(1,))
    return (layout if up is None else up(layout)).num_parameters


def _served(algorithm: Any, facts: Facts, length: int, packed: bool) -> Tensor:
    params, state = _drawn(_P, seed=8), algorithm.init()
    for t in range(3):
        params, state = algorithm.step(params, _drawn(length, seed=10 + t), state, 0.5, facts)
        state = trees.unpack(*trees.pack(state)) if packed else state
        fits = params.shape == (_P,) and params.dtype == torch.float32 and bool(params.isfinite().all())
        require(fits, f"step gave {params.dtype} {list(params.shape)}, expected finite float32 [{_P}]")
    return params


def who_sees_messages_has_clients_state_something(algorithm: Any) -> None:
    sees = declared(algorithm, Algorithms.sees_messages)
    require(not sees or bool(_statement(algorithm)), "sees_messages needs facts: messages come with them")


def it_takes_some_of_the_steps_that_it_planned(algorithm: Any) -> None:
    takes = declared(algorithm, Algorithms.takes_steps)
    if takes is None:
        return
    for planned in (1, 2, 7):
        for seed in range(20):
            twice = [takes(planned, partial(np.random.default_rng, seed)) for _ in range(2)]
            fits = isinstance(twice[0], int | np.integer) and 1 <= twice[0] <= planned
            require(fits, f"takes_steps must return a whole number from 1 to {planned}, got {twice[0]!r}")
            require(twice[0] == twice[1], "takes_steps must follow from what it is given alone")


CHECKS: tuple[Callable[[Any], None], ...] = (
    what_is_declared_is_stated_by_stacked_clients_as_by_each_one_alone,
    factors_are_finite_and_above_0,
    the_server_half_takes_facts_and_survives_a_checkpoint,
    who_sees_messages_has_clients_state_something,
    it_takes_some_of_the_steps_that_it_planned,
)
