"""What every algorithm owes: a local rule, or a procedure of its own, tried on three clients."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ....core import trees
from ....core.client_rows import rows_of, with_rows
from ....core.contracts import LocalProcedure, LocalRule, LocalTraining
from ....core.declarations import Algorithms, Declaration, declared
from ....core.layout import Layout
from ....core.registry import require
from ....core.seeds import generator
from ....core.trees import State
from ...data.gaussian_shards import GaussianShards
from ...exchange.exchange import Exchange, exchange_of
from ...exchange.messages import Broadcast
from ...training.procedure import Visits
from . import combined as combined_contract
from . import exchange as exchange_contract
from . import facts as facts_contract
from . import kept as kept_contract
from . import levels as levels_contract
from . import loss as loss_contract
from .exchange import besides, row_of

Algorithm = LocalRule | LocalProcedure
_CLIENTS, _ROUNDS = 3, 6


def _vectors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    stream = torch.Generator().manual_seed(0)
    gradient, params, received = torch.randn(3, 3, 5, generator=stream)
    return gradient, params, received


def _rule(algorithm: Algorithm) -> LocalRule | None:
    """Return the algorithm where it is a local rule."""
    return None if declared(algorithm, Algorithms.work) else cast(LocalRule, algorithm)


def it_corrects_gradients_or_works_in_a_way_of_its_own(algorithm: Algorithm) -> None:
    ways: tuple[Declaration[Any], ...] = (Algorithms.correct, Algorithms.work)
    verbs = [v.name for v in ways if declared(algorithm, v) is not None]
    require(len(verbs) == 1, f"an algorithm needs correct or work, got {' and '.join(verbs) or 'neither'}")
    if verbs == ["work"]:
        halves: tuple[Declaration[Any], ...] = (Algorithms.init, Algorithms.step)
        missing = [v.name for v in halves if declared(algorithm, v) is None]
        require(not missing, f"an algorithm with work needs {' and '.join(missing)} besides")


def the_direction_has_the_gradients_shape_and_type(algorithm: Algorithm) -> None:
    if (rule := _rule(algorithm)) is None:
        return
    gradient, params, received = _vectors()
    out = rule.correct(gradient, params, received, *besides(rule))
    require(
        out.shape == gradient.shape and out.dtype == gradient.dtype,
        f"correct must return {tuple(gradient.shape)} {gradient.dtype}, got {tuple(out.shape)} {out.dtype}",
    )


def clients_can_be_stacked(algorithm: Algorithm) -> None:
    if (rule := _rule(algorithm)) is None:
        return
    gradient, params, received = _vectors()
    told = besides(rule)
    together = rule.correct(gradient, params, received, *told)
    rows = enumerate(zip(gradient, params, received, strict=True))
    alone = torch.stack([rule.correct(*row, *row_of(told, number)) for number, row in rows])
    require(torch.equal(together, alone), "correct must treat stacked clients [K, P] as each one alone [P]")


def a_plain_rule_changes_nothing(algorithm: Algorithm) -> None:
    rule = _rule(algorithm)
    if rule is not None and declared(rule, Algorithms.plain):
        gradient, params, received = _vectors()
        same = torch.equal(rule.correct(gradient, params, received, *besides(rule)), gradient)
        require(same, "a rule that declares plain must return the gradient as it is")


def a_proximal_rule_adds_what_it_says(algorithm: Algorithm) -> None:
    if (rule := _rule(algorithm)) is None or not declared(rule, Algorithms.proximal):
        return
    gradient, params, received = _vectors()
    told, drift = besides(rule), declared(rule, Algorithms.drift)
    expected = gradient + declared(rule, Algorithms.proximal) * (params - received)
    expected = expected if drift is None else expected + drift(*told)
    same = torch.allclose(rule.correct(gradient, params, received, *told), expected, rtol=1e-4, atol=1e-5)
    require(
        same, "correct must return the gradient plus proximal (params - received), and drift if there is one"
    )


def the_inputs_are_left_as_they_were(algorithm: Algorithm) -> None:
    if (rule := _rule(algorithm)) is None:
        return
    vectors = _vectors()
    before = [v.clone() for v in vectors]
    rule.correct(*vectors, *besides(rule))
    same = all(torch.equal(a, b) for a, b in zip(vectors, before, strict=True))
    require(same, "correct must not change its arguments in place")


def the_schedule_is_a_local_training(algorithm: Algorithm) -> None:
    out = algorithm.schedule(LocalTraining())
    require(isinstance(out, LocalTraining), f"schedule must return a LocalTraining, got {type(out).__name__}")


# ---- procedures -----------------------------------------------------------------------------------------


def _data() -> Any:
    return GaussianShards(points_per_client=128).populate(_CLIENTS, 0)


def _loss(procedure: LocalProcedure) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of two classes: squared errors of one-hot targets for who goes with ``mse`` alone."""
    if declared(procedure, Algorithms.losses) != ("mse",):
        return nn.functional.cross_entropy
    return lambda outputs, labels: (outputs - nn.functional.one_hot(labels, 2)).square().mean()


def _visits(procedure: LocalProcedure) -> Visits:
    model, data = nn.Linear(2, 2), _data()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    flat = torch.zeros(6), torch.zeros(6)
    for name, parameter in model.named_parameters():
        place = slice(0, 4) if name == "weight" else slice(4, 6)
        parameter.data = flat[0][place].view_as(parameter)
        parameter.grad = flat[1][place].view_as(parameter)
    told = model, _loss(procedure), flat, 0, data, lambda i, _: data.client(i), None
    how = procedure.schedule(LocalTraining())
    return Visits(procedure, *told, exchange_of(procedure, Layout.of(model), how), how)


def _cohort(procedure: LocalProcedure, round_: int) -> np.ndarray[Any, Any]:
    sample = declared(procedure, Algorithms.sample)
    return np.arange(_CLIENTS) if sample is None else sample(_CLIENTS, generator(0, "sample"), round_)


def _run(procedure: LocalProcedure, packed: bool = False, anew: bool = False) -> list[Tensor]:
    """Return the parameters after each round: through a checkpoint, or in a new process, if asked for."""
    visits, state, params, seen = _visits(procedure), procedure.init(), torch.zeros(6), []
    exchange, kept = visits.exchange, dict[int, Tensor]()
    for t in range(_ROUNDS):
        visits, ids = _visits(procedure) if anew else visits, _cohort(procedure, t)
        memory = rows_of(kept, ids.tolist(), exchange.first(params))
        sent = Broadcast(t, params, torch.zeros(0), _extra(procedure, exchange, params, state), memory)
        updates, losses, memory = visits.train(sent, ids)
        require(bool(losses.isfinite().all()), f"a loss in round {t} is not finite")
        require(bool(memory.isfinite().all()), f"what clients remember in round {t} is not finite")
        kept = with_rows(kept, ids.tolist(), memory)
        told = (len(ids) / _CLIENTS,) if exchange.tells_more or exchange.statement else ()
        aggregate, state = combined_contract.aggregate_of(procedure, exchange, updates, state)
        step: Any = procedure.step
        facts = facts_contract.told(procedure, len(ids), exchange.unscaled(updates.vectors))
        params, state = step(params, aggregate, state, *told, *facts)
        state = trees.unpack(*trees.pack(state)) if packed else state
        fits = params.shape == (6,) and params.dtype == torch.float32 and bool(params.isfinite().all())
        require(fits, f"step gave {params.dtype} {tuple(params.shape)}, expected finite float32 (6,)")
        seen.append(params)
    return seen


def _extra(procedure: LocalProcedure, exchange: Exchange, params: Tensor, state: State) -> Tensor:
    """Return what the server sends besides: one row where ``down`` says what it is."""
    extra = declared(procedure, Algorithms.extra)
    found = torch.zeros(0, 0) if extra is None else extra(params, state)
    if exchange.down == exchange.layout:
        count = declared(procedure, Algorithms.extras)
        require(len(found) == count, f"extra gave {len(found)} vectors, and extras says {count}")
        return found
    behind = exchange.down.num_parameters - len(params)
    require(found.numel() == behind, f"extra gave {found.numel()} numbers, and down says {behind}")
    return found.reshape(1, -1)


def a_procedure_gives_the_same_in_any_process_and_after_a_checkpoint(algorithm: Algorithm) -> None:
    if _rule(algorithm) is not None:
        return
    procedure = cast(LocalProcedure, algorithm)
    first = _run(procedure)
    for what, run in (
        ("a checkpoint", _run(procedure, packed=True)),
        ("another process", _run(procedure, anew=True)),
    ):
        same = all(torch.equal(a, b) for a, b in zip(first, run, strict=True))
        require(same, f"after {what} the rounds go another way")


def a_procedure_moves_the_parameters_and_leaves_its_inputs_as_they_were(algorithm: Algorithm) -> None:
    if _rule(algorithm) is not None:
        return
    procedure = cast(LocalProcedure, algorithm)
    exchange = _visits(procedure).exchange
    params, aggregate = torch.zeros(6), torch.ones(combined_contract.step_length(procedure, exchange))
    state = procedure.init()
    before = trees.pack([params, aggregate, state])
    told = (0.5,) if exchange.tells_more or exchange.statement else ()
    facts = facts_contract.told(procedure, _CLIENTS, aggregate.repeat(_CLIENTS, 1))
    cast(Any, procedure).step(params, aggregate, state, *told, *facts)
    same = trees.equal(trees.unpack(*before), [params, aggregate, state])
    require(same, "step wrote to its inputs")
    require(bool((_run(procedure)[-1] != 0).any()), f"nothing moved in {_ROUNDS} rounds")


def each_client_is_served_a_model(algorithm: Algorithm) -> None:
    served, init = declared(algorithm, Algorithms.served), declared(algorithm, Algorithms.init)
    if served is None:
        return
    require(init is not None, "served needs init and step: what it follows from")
    params, state = _vectors()[1][0], cast(Any, algorithm).init()
    for client_id in range(_CLIENTS):
        found = served(params, state, client_id)
        fits = found.shape == params.shape and found.dtype == params.dtype and bool(found.isfinite().all())
        require(fits, f"served must return finite {params.dtype} {list(params.shape)}, got {found.shape}")


CHECKS: tuple[Callable[[Algorithm], None], ...] = (
    it_corrects_gradients_or_works_in_a_way_of_its_own,
    the_direction_has_the_gradients_shape_and_type,
    clients_can_be_stacked,
    a_plain_rule_changes_nothing,
    a_proximal_rule_adds_what_it_says,
    the_inputs_are_left_as_they_were,
    the_schedule_is_a_local_training,
    a_procedure_gives_the_same_in_any_process_and_after_a_checkpoint,
    a_procedure_moves_the_parameters_and_leaves_its_inputs_as_they_were,
    each_client_is_served_a_model,
    *combined_contract.CHECKS,
    *exchange_contract.CHECKS,
    *facts_contract.CHECKS,
    *loss_contract.CHECKS,
    *levels_contract.CHECKS,
    *kept_contract.CHECKS,
)
