"""What a rule owes whose clients send, receive or remember more than parameters: tried on three of them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ....core import trees
from ....core.contracts import ExchangingRule, Groups, LocalTraining, LocalWork
from ....core.declarations import Algorithms, declared
from ....core.layout import Layout, Slot
from ....core.registry import require
from ...exchange.exchange import Exchange, exchange_of
from .facts import told

_K, _P = 3, 5
LAYOUT = Layout((Slot("weight", (2, 2), 0), Slot("bias", (1,), 4)))
_TRAINING = LocalTraining(local_steps=2)


def exchange(algorithm: Any) -> Exchange:
    """Return what the algorithm's clients exchange, on five parameters."""
    return exchange_of(algorithm, LAYOUT, algorithm.schedule(_TRAINING))


def _drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def besides(algorithm: Any, memory: int = 2) -> tuple[Groups, ...]:
    """Return what ``correct`` is given besides gradient and parameters: nothing to a plain rule.  # [K, P]"""
    made = exchange(algorithm)
    count = made.down.num_parameters // _P - 1
    shared, own = made.besides(_drawn(count, _P, seed=1), _drawn(_K, made.memory.num_parameters, seed=memory))
    return () if shared is None or own is None else (shared, own)


def row_of(groups: tuple[Groups, ...], row: int) -> tuple[Groups, ...]:
    """Return the same for one client.  # [P]"""
    return tuple(
        {name: value if value.ndim == 1 else value[row] for name, value in group.items()} for group in groups
    )


def _finished(rule: ExchangingRule, rows: slice, memory: int = 2) -> tuple[Tensor, Tensor]:
    """Return what these clients send [k, M] and remember [k, S], through the engine's own writing."""
    made, (shared, own) = exchange(rule), besides(rule, memory)
    update, received = _drawn(_K, _P, seed=3)[rows], _drawn(_P, seed=4)
    size = len(update)
    gradient = _drawn(_K, _P, seed=5)[rows] if declared(rule, Algorithms.full_gradient) else None
    steps = torch.tensor([[1.0], [2.0], [2.0]])[rows]
    work = LocalWork(rule.schedule(_TRAINING), steps, gradient)
    messages = torch.zeros(size, made.up.num_parameters)
    kept = torch.zeros(size, made.memory.num_parameters)
    home = made.home(messages)
    home.copy_(update)
    mine = {name: kept[rows] for name, kept in own.items()}
    before = trees.pack([home.clone(), received, shared, mine])
    finish = declared(rule, Algorithms.finish)
    if finish is not None:
        finish(home.clone(), received, shared, mine, work)
        same = trees.equal(trees.unpack(*before), [home, received, shared, mine])
        require(same, "finish wrote to its inputs")
    made.finish((messages, kept), home, received, shared, mine, work)
    return messages, kept


def what_is_declared_can_be_laid_out(algorithm: Any) -> None:
    """Groups of vectors as long as the parameters, ``params`` the first of ``down``, scales above 0."""
    exchange(algorithm)


def finish_treats_stacked_clients_as_each_one_alone(algorithm: Any) -> None:
    if (rule := exchange(algorithm).rule) is None:
        return
    together = _finished(rule, slice(None))
    alone = [_finished(rule, slice(row, row + 1)) for row in range(_K)]
    for number, what in enumerate(("message", "memory")):
        same = torch.equal(together[number], torch.cat([one[number] for one in alone]))
        require(same, f"finish must give every client the {what} that it has alone")


def drift_is_what_correct_adds(algorithm: Any) -> None:
    rule, drift = exchange(algorithm).rule, declared(algorithm, Algorithms.drift)
    if rule is None or drift is None or declared(rule, Algorithms.proximal):
        return  # with a pull besides: ``a_proximal_rule_adds_what_it_says``
    gradient, params, received = _drawn(3, _K, _P, seed=6)
    shared, own = besides(algorithm)
    same = torch.equal(
        rule.correct(gradient, params, received[0], shared, own), gradient + drift(shared, own)
    )
    require(same, "correct must return the gradient plus drift(shared, own)")


def the_first_memory_is_what_is_declared(algorithm: Any) -> None:
    first = exchange(algorithm).first(_drawn(_P, seed=7))
    require(bool(first.isfinite().all()), "what a client remembers at first must be finite")


def the_server_half_takes_messages_and_survives_a_checkpoint(algorithm: Any) -> None:
    made, step = exchange(algorithm), declared(algorithm, Algorithms.step)
    if made.rule is None or step is None:
        require(made.rule is None or made.up == LAYOUT, "a rule that sends more than updates needs a step")
        return
    found = [_served(algorithm, made, packed) for packed in (False, True)]
    require(torch.equal(*found), "after a checkpoint the rounds go another way")
    params, aggregate, state = _drawn(_P, seed=8), _drawn(made.up.num_parameters, seed=9), algorithm.init()
    before = trees.pack([params, aggregate, state])
    step(params, aggregate, state, 0.5, *told(algorithm))
    require(trees.equal(trees.unpack(*before), [params, aggregate, state]), "step wrote to its inputs")


def _served(algorithm: Any, made: Exchange, packed: bool) -> Tensor:
    params, state = _drawn(_P, seed=8), algorithm.init()
    extra, count = declared(algorithm, Algorithms.extra), made.down.num_parameters // _P - 1
    for t in range(3):
        besides = torch.zeros(0, 0) if extra is None else extra(params, state)
        require(
            len(besides) == count, f"extra gave {len(besides)} vectors, and down has {count} besides params"
        )
        aggregate = _drawn(made.up.num_parameters, seed=10 + t)
        params, state = algorithm.step(params, aggregate, state, 0.5, *told(algorithm))
        state = trees.unpack(*trees.pack(state)) if packed else state
        fits = params.shape == (_P,) and params.dtype == torch.float32 and bool(params.isfinite().all())
        require(fits, f"step gave {params.dtype} {list(params.shape)}, expected finite float32 [{_P}]")
    return params


def what_is_sent_follows_from_no_memory_that_stays(algorithm: Any) -> None:
    """Privacy counts on it: such a run is charged as if nothing were remembered."""
    if (rule := exchange(algorithm).rule) is None or not declared(algorithm, Algorithms.memory_stays):
        return
    gradient, params, received = _drawn(3, _K, _P, seed=6)
    moves = [rule.correct(gradient, params, received[0], *besides(algorithm, seed)) for seed in (2, 11)]
    sent = [_finished(rule, slice(None), seed)[0] for seed in (2, 11)]
    same = torch.equal(*moves) and torch.equal(*sent)
    require(same, "memory_stays, but what is sent depends on what is remembered")
    looks = declared(algorithm, Algorithms.added_loss) is not None
    asked = sorted({*declared(algorithm, Algorithms.frozen_models)} & {*exchange(algorithm).memory.groups})
    require(not (looks and asked), f"memory_stays, but added_loss looks at {', '.join(asked)}")


def a_personal_rule_is_a_plain_local_rule(algorithm: Any) -> None:
    if (own := declared(algorithm, Algorithms.personal)) is None:
        return
    rows = (Algorithms.up, Algorithms.down, Algorithms.memory, Algorithms.work, Algorithms.added_loss)
    said = [row.name for row in rows if declared(own, row) is not None]
    require(not said, f"a personal rule has schedule and correct alone, got {', '.join(said)} besides")
    how = own.schedule(_TRAINING)
    require(isinstance(how, LocalTraining), f"personal.schedule gave a {type(how).__name__}")
    gradient, params = _drawn(2, _K, _P, seed=6)
    received = _drawn(_P, seed=7)
    together = own.correct(gradient, params, received)
    alone = torch.stack([own.correct(g, v, received) for g, v in zip(gradient, params, strict=True)])
    require(torch.equal(together, alone), "personal.correct must treat stacked clients as each one alone")


CHECKS: tuple[Callable[[Any], None], ...] = (
    what_is_declared_can_be_laid_out,
    finish_treats_stacked_clients_as_each_one_alone,
    drift_is_what_correct_adds,
    the_first_memory_is_what_is_declared,
    the_server_half_takes_messages_and_survives_a_checkpoint,
    what_is_sent_follows_from_no_memory_that_stays,
    a_personal_rule_is_a_plain_local_rule,
)
