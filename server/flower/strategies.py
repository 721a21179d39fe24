"""Flower's strategies as defenses.

``defense = "flower:MultiKrum"`` in a scenario names one of ``flwr.serverapp.strategy`` (or
``"flower:package.module:Class"`` any other).

Nothing imports this file until one of them is named, so that Gauntlet neither needs Flower nor loads it.

Source: Beutel et al. Flower: A Friendly Federated Learning Research Framework. arXiv:2007.14390
"""

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field, fields, make_dataclass
from inspect import signature
from typing import Any, cast, get_type_hints

import torch

from ...core.contracts import Defense, Verdict
from ...core.errors import PluginError
from ...core.layout import Layout, Slot
from ...core.registry import Family
from ...core.updates import Context, Updates
from ..defending.decision import STAYS
from .records import WEIGHT, vector_of

try:
    import flwr.serverapp.strategy as flower_strategies
    from flwr.app import (
        DEFAULT_TTL,
        Array,
        ArrayRecord,
        Message,
        MessageType,
        Metadata,
        MetricRecord,
        RecordDict,
    )
    from flwr.serverapp.strategy import FedAvg, Strategy
except ModuleNotFoundError as error:
    raise PluginError(f"Flower is not installed ({error}): pip install 'gauntlet-fl[flower]'") from error


def _strategies() -> Family[Strategy]:
    """Return Flower's strategies that only aggregate, as a family: the others are refused when found."""
    members = {n: getattr(flower_strategies, n) for n in flower_strategies.__all__}
    usable = [n for n, v in members.items() if isinstance(v, type) and _only_aggregates(v)]
    table = {n: f"flwr.serverapp.strategy:{n}" for n in usable}
    return Family("flower_strategies", "Flower strategy", ("aggregate_train",), table)


def _only_aggregates(strategy: type) -> bool:
    """Return whether a strategy has FedAvg's way of asking for training: no memory, no word to clients."""
    return issubclass(strategy, FedAvg) and strategy.configure_train is FedAvg.configure_train


def strategy_defense(name: str) -> type[Defense]:
    """Return the defense behind ``flower:NAME``: a frozen dataclass of the strategy's own options.

    Options about nodes and record keys are left out: they mean nothing here.

    Raises:
        PluginError: No such strategy, or one that does more than aggregate.
    """
    family, shown = _strategies(), name.rpartition(":")[2]
    outside = name if ":" in name else None
    if outside is None and name not in family.table and name in flower_strategies.__all__:
        outside = f"flwr.serverapp.strategy:{name}"
    strategy = cast(type, family.find(outside or name))
    if not _only_aggregates(strategy):
        raise PluginError(
            f"Flower strategy '{shown}' does more than aggregate: it keeps state that no checkpoint would "
            f"hold, or instructs the clients. Known as a defense: {', '.join(family.table)}."
        )
    members = {
        "__post_init__": _fresh,  # options out of range are refused before the first round
        "init": _init,
        "aggregate": _aggregate,
        "weighs_examples": property(_weighs_examples),
        "beside_params": True,
        "strategy": strategy,
        "__module__": __name__,
    }
    made = make_dataclass(f"Flower{shown}", _options(strategy), namespace=members, frozen=True)
    return cast(type[Defense], made)


def _options(strategy: type) -> list[tuple[str, Any, Any]]:
    """Return name, type and default of the options that FedAvg does not have and a scenario can write."""
    general, hints = signature(FedAvg).parameters, get_type_hints(strategy.__init__)  # type: ignore[misc]
    own = {k: p for k, p in signature(strategy).parameters.items() if k not in general}
    plain = {k: p for k, p in own.items() if hints.get(k) in (bool, int, float, str)}
    return [
        (k, hints[k], field(kw_only=True) if p.default is p.empty else field(default=p.default, kw_only=True))
        for k, p in plain.items()
    ]


def _fresh(self: Any) -> Strategy:
    return cast(Strategy, self.strategy(**{f.name: getattr(self, f.name) for f in fields(self)}))


def _init(self: Any) -> None:  # noqa: ARG001
    return None


def _aggregate(self: Any, updates: Updates, state: None) -> tuple[Verdict, None]:
    """Hand the cohort's local parameters to a fresh strategy, and return by how much its answer moves."""
    if len(updates) == 0:
        return Verdict(updates.vectors.sum(dim=0)), state
    size = updates.vectors.shape[1]
    context = updates.context or Context(0, torch.zeros(size), Layout((Slot("params", (size,), 0),)), 0)
    strategy = _fresh(self)
    before = {k: repr(v) for k, v in vars(strategy).items()}
    with _quiet(), _collecting_little():
        arrays, _ = strategy.aggregate_train(context.round + 1, _replies(updates, context))
    if changed := [k for k, v in vars(strategy).items() if before.get(k) != repr(v)]:
        raise ValueError(f"it keeps state between rounds that no checkpoint holds: {', '.join(changed)}")
    if arrays is None:  # Flower then keeps its model, and says why in a warning
        silent = f"{self.strategy.__name__} gives no answer for a cohort of {len(updates)}"
        return Verdict(torch.zeros_like(context.params), fallback=f"{silent}: {STAYS}"), state
    moved = vector_of(arrays, context.layout).double() - context.params.double()  # [P]
    return Verdict(moved.to(updates.vectors.dtype)), state


def _weighs_examples(self: Any) -> bool:
    """Return whether claimed examples move the answer: asked of it, since no strategy says so."""
    rows, ids = torch.linspace(0, 1, 25).square()[:, None], torch.arange(25)
    claims = torch.ones_like(ids), ids + 1
    found = [_aggregate(self, Updates(rows, ids, one), None)[0].aggregate for one in claims]
    return not torch.equal(*found)


def _replies(updates: Updates, context: Context) -> list[Message]:
    """Return what a Flower server would have received: local parameters, not updates.  # [K]"""
    replies = []
    claims = updates.num_examples.clamp(min=0).tolist()  # a negative claim would flip the sign
    for vector, client_id, claim in zip(updates.vectors, updates.client_ids.tolist(), claims, strict=True):
        local = context.layout.views(context.params + vector)
        arrays = ArrayRecord({name: Array(value.numpy()) for name, value in local.items()})
        content = RecordDict({"arrays": arrays, "metrics": MetricRecord({WEIGHT: claim})})
        replies.append(_reply(content, client_id, context.round + 1))
    return replies


def _reply(content: RecordDict, node_id: int, server_round: int) -> Message:
    """Return a node's answer as it stands outside of a Flower run, where no instruction went before."""
    metadata = Metadata(
        run_id=0,
        message_id=f"{server_round}/{node_id}",
        src_node_id=node_id,
        dst_node_id=0,
        reply_to_message_id="",
        group_id=f"{server_round}",
        created_at=0.0,
        ttl=DEFAULT_TTL,
        message_type=MessageType.TRAIN,
    )
    message: Any = Message  # mypy is told of the arguments for senders only
    return cast(Message, message(content=content, metadata=metadata))


@contextmanager
def _collecting_little() -> Iterator[None]:
    """Set aside what is alive for a while: flwr collects garbage once a client, over the whole heap."""
    if gc.get_freeze_count():  # somebody else's doing, which is not undone here
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _quiet() -> Iterator[None]:
    """Let Flower warn, but not report every round."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
