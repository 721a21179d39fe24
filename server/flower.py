"""The bridge to Flower, both ways: its strategies as defenses here, our defenses and attacks as parts there.

``defense = "flower:MultiKrum"`` in a scenario names one of ``flwr.serverapp.strategy`` (or
``"flower:package.module:Class"`` any other). ``GauntletStrategy`` runs a defense of ours in a Flower
``ServerApp``, and ``attack_mod`` makes chosen nodes of a Flower ``ClientApp`` lie.

Nothing imports this file until one of them is named, so that Gauntlet neither needs Flower nor loads it.

Source: Beutel et al. Flower: A Friendly Federated Learning Research Framework. arXiv:2007.14390
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field, fields, make_dataclass
from inspect import signature
from typing import Any, cast, get_type_hints

import numpy as np
import torch
from torch import Tensor

from ..attacks.poisoning import UPDATE_ATTACKS
from ..core.contracts import Defense, Knowledge, UpdateAttack, Verdict, View, declared
from ..core.errors import PluginError
from ..core.layout import Layout, Slot
from ..core.registry import Family
from ..core.seeds import generator
from ..core.trees import State, pack, unpack
from ..core.updates import Context, Updates, finite_rows
from ..defenses import DEFENSES

try:
    import flwr.serverapp.strategy as flower_strategies
    from flwr.app import (
        DEFAULT_TTL,
        Array,
        ArrayRecord,
        ConfigRecord,
        Message,
        MessageType,
        Metadata,
        MetricRecord,
        RecordDict,
    )
    from flwr.app import Context as NodeContext
    from flwr.serverapp import Grid
    from flwr.serverapp.strategy import FedAvg, Strategy
except ModuleNotFoundError as error:
    raise PluginError(f"Flower is not installed ({error}): pip install 'gauntlet-fl[flower]'") from error

ClientMod = Callable[[Message, NodeContext, Callable[[Message, NodeContext], Message]], Message]
"""What a Flower ``ClientApp(mods=[...])`` takes."""

_WEIGHT, _MEMORY, _ROUND = "num-examples", "gauntlet-attack", "server-round"
_MOST_EXAMPLES = 2**53  # a claim above this is no number of examples
_log = logging.getLogger(__name__)


# ---- a strategy of Flower's as a defense ----------------------------------------------------------------


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
    with _quiet():
        arrays, _ = strategy.aggregate_train(context.round + 1, _replies(updates, context))
    if changed := [k for k, v in vars(strategy).items() if before.get(k) != repr(v)]:
        raise ValueError(f"it keeps state between rounds that no checkpoint holds: {', '.join(changed)}")
    if arrays is None:  # Flower then keeps its model, and says why in a warning
        return Verdict(torch.zeros_like(context.params)), state
    moved = _vector(arrays, context.layout).double() - context.params.double()  # [P]
    return Verdict(moved.to(updates.vectors.dtype)), state


def _replies(updates: Updates, context: Context) -> list[Message]:
    """Return what a Flower server would have received: local parameters, not updates.  # [K]"""
    replies = []
    claims = updates.num_examples.clamp(min=0).tolist()  # a negative claim would flip the sign
    for vector, client_id, claim in zip(updates.vectors, updates.client_ids.tolist(), claims, strict=True):
        local = context.layout.views(context.params + vector)
        arrays = ArrayRecord({name: Array(value.numpy()) for name, value in local.items()})
        content = RecordDict({"arrays": arrays, "metrics": MetricRecord({_WEIGHT: claim})})
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
def _quiet() -> Iterator[None]:
    """Let Flower warn, but not report every round."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


# ---- records and vectors --------------------------------------------------------------------------------


def _layout(arrays: ArrayRecord) -> Layout:
    """Return where the floating arrays of a record lie in one vector; whole numbers stay outside it."""
    slots, start = [], 0
    for name, array in arrays.items():
        if np.issubdtype(np.dtype(array.dtype), np.floating):
            slots.append(Slot(name, tuple(array.shape), start))
            start += slots[-1].size
    return Layout(tuple(slots))


def _vector(arrays: ArrayRecord, layout: Layout) -> Tensor:
    """Return the floating arrays of a record as one float32 vector.  # [P]"""
    values = {s.name: torch.from_numpy(np.asarray(arrays[s.name].numpy())) for s in layout.parameters}
    return layout.flatten(values)


def _record(like: ArrayRecord, layout: Layout, vector: Tensor) -> ArrayRecord:
    """Return ``like`` with its floating arrays taken from ``vector`` [P], in their own types."""
    values = layout.views(vector)
    return ArrayRecord(
        {k: Array(values[k].numpy().astype(a.dtype)) if k in values else a for k, a in like.items()}
    )


def _fits(arrays: ArrayRecord, like: ArrayRecord) -> bool:
    same = list(arrays.keys()) == list(like.keys())
    return same and all(tuple(arrays[k].shape) == tuple(like[k].shape) for k in like)


def _only(records: Mapping[str, Any]) -> Any:
    """Return the one record of its kind in a message; None where there is none, or several."""
    return next(iter(records.values())) if len(records) == 1 else None


def client_id_of(node_id: int) -> int:
    """Return a node's stable client id: the same 64 bits, read with a sign, as int64 holds them."""
    return node_id if node_id < 2**63 else node_id - 2**64


# ---- a defense of ours as a strategy of Flower's --------------------------------------------------------


class GauntletStrategy(FedAvg):
    """Aggregate with a defense of Gauntlet's inside Flower's own runtime; the rest is FedAvg's.

    The defense sees local minus global arrays, client ids that are the nodes' own, and the public context;
    what it remembers is kept from round to round in ``memory``. A reply that does not fit the global arrays
    or is not finite is left out, as in a run of Gauntlet's. Arrays of whole numbers stay as they were.

    Attributes:
        defense: The plug-in.
        memory: The defense's state, a tree as ``core.trees`` describes.
        verdict: What the defense said in the last round; None before the first.
    """

    def __init__(
        self,
        defense: Defense | str,
        options: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        **fedavg: Any,
    ) -> None:
        """Take a defense, or its name and ``options``; ``fedavg`` goes to Flower's FedAvg."""
        super().__init__(**fedavg)
        self.defense: Defense = DEFENSES.build(defense, options) if isinstance(defense, str) else defense
        if declared(self.defense, "needs_root", False):
            raise ValueError("the defense needs examples of the server's own: Flower's server has none")
        self.seed = seed
        self.memory: State = self.defense.init()
        self.verdict: Verdict | None = None
        self._arrays: ArrayRecord | None = None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        self._arrays = arrays
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        if self._arrays is None:
            raise ValueError("aggregate_train came before configure_train: the global arrays are not known")
        layout = _layout(self._arrays)
        params = _vector(self._arrays, layout)
        context = Context(server_round - 1, params, layout, self.seed)
        fitting = {client_id_of(r.metadata.src_node_id): r.content for r in replies if self._accepts(r)}
        if not fitting:
            return None, None
        updates = self._updates(fitting, context)
        if len(updates) == 0:
            return None, None
        self.verdict, self.memory = self.defense.aggregate(updates, self.memory)
        contents = [fitting[i] for i in updates.client_ids.tolist()]
        return _record(self._arrays, layout, params + self.verdict.aggregate), self._metrics(contents)

    def _accepts(self, reply: Message) -> bool:
        """Return whether a reply can be read as an update, and say so where it cannot."""
        assert self._arrays is not None
        if reply.has_error():
            reason = f"error: {reply.error.reason}"
        elif (arrays := _only(reply.content.array_records)) is None or not _fits(arrays, self._arrays):
            reason = "its arrays are not those of the global model"
        elif not self._claim(reply.content):
            reason = f"it has no '{self.weighted_by_key}' between 0 and 2**53"
        else:
            return True
        _log.warning("node %d is left out: %s", reply.metadata.src_node_id, reason)
        return False

    def _claim(self, content: RecordDict) -> bool:
        value = (_only(content.metric_records) or {}).get(self.weighted_by_key)
        return isinstance(value, (int, float)) and 0 <= value < _MOST_EXAMPLES

    def _updates(self, contents: Mapping[int, RecordDict], context: Context) -> Updates:
        """Return the finite updates of the cohort, in ascending client id."""
        ids = sorted(contents)
        vectors = torch.empty(len(ids), context.layout.num_parameters)  # [K, P]
        for row, client_id in enumerate(ids):
            local = _only(contents[client_id].array_records)
            vectors[row] = _vector(local, context.layout) - context.params
        claims = [int(_only(contents[i].metric_records)[self.weighted_by_key]) for i in ids]
        updates = Updates(vectors, torch.tensor(ids), torch.tensor(claims), context=context)
        finite = finite_rows(updates)
        if not bool(finite.all()):
            _log.warning("left out, not finite: %s", updates.client_ids[~finite].tolist())
        kept = updates.rows(finite)
        return Updates(kept.vectors, kept.client_ids, kept.num_examples, context=context)

    def _metrics(self, contents: list[RecordDict]) -> MetricRecord | None:
        """Return the clients' metrics as FedAvg does, of those that report what most of them do."""
        names = [frozenset(_only(c.metric_records)) for c in contents]
        usual = Counter(names).most_common(1)[0][0]
        alike = [c for c, n in zip(contents, names, strict=True) if n == usual]
        if not any(_only(c.metric_records)[self.weighted_by_key] for c in alike):
            return None
        return self.train_metrics_aggr_fn(alike, self.weighted_by_key)


# ---- an attack of ours as a mod of Flower's -------------------------------------------------------------


def attack_mod(
    attack: UpdateAttack | str,
    clients: Collection[int],
    options: Mapping[str, Any] | None = None,
    *,
    cohort_size: int | None = None,
    seed: int = 0,
) -> ClientMod:
    """Return a client mod that lets some nodes send what an attack on updates makes of their honest update.

    Args:
        attack: An attack that knows its own update only, or its name.
        clients: The malicious nodes: partition ids, or node ids where a node has no ``partition-id``.
        options: The attack's options, where it is given by name.
        cohort_size: Clients in a cohort as the attack believes; None takes ``num-partitions``, or 1.
        seed: The attack draws from ``generator(seed, "attack", 0, round, client)``.

    Raises:
        ValueError: The attack needs to know more than a Flower node knows.
    """
    plugin: UpdateAttack = UPDATE_ATTACKS.build(attack, options) if isinstance(attack, str) else attack
    if plugin.knowledge is not Knowledge.OWN or declared(plugin, "knows_defense", False):
        raise ValueError(
            "a Flower node knows its own update and nothing else: the attack must declare Knowledge.OWN and "
            f"not knows_defense, got {type(plugin).__name__} with {plugin.knowledge}"
        )
    malicious = frozenset(clients)

    def mod(
        message: Message, node: NodeContext, call_next: Callable[[Message, NodeContext], Message]
    ) -> Message:
        client_id = int(node.node_config.get("partition-id", node.node_id))
        if message.metadata.message_type != MessageType.TRAIN or client_id not in malicious:
            return call_next(message, node)
        (broadcast,) = message.content.array_records.values()
        layout = _layout(broadcast)
        params = _vector(broadcast, layout)
        configs = message.content.config_records.values()
        round_ = next((int(cast(int, c[_ROUND])) for c in configs if _ROUND in c), 1) - 1
        reply = call_next(message, node)
        if reply.has_error():
            return reply
        size = cohort_size or int(node.node_config.get("num-partitions", 1))
        stream = generator(seed, "attack", 0, round_, client_id)
        view = View(round_, params, size, None, stream)
        _lie(plugin, reply, node, view, layout, client_id_of(client_id))
        return reply

    return mod


def _lie(
    attack: UpdateAttack, reply: Message, node: NodeContext, view: View, layout: Layout, client_id: int
) -> None:
    """Rewrite the arrays and the claimed number of examples of a reply, and remember the attack's state."""
    ((key, honest),) = reply.content.array_records.items()
    metrics = _only(reply.content.metric_records)
    claim = int(metrics[_WEIGHT]) if metrics is not None and _WEIGHT in metrics else 1
    vector = _vector(honest, layout) - view.params
    own = Updates(vector.unsqueeze(0), torch.tensor([client_id]), torch.tensor([claim]))
    lie, memory = attack.corrupt(own, view, _recall(node, attack))
    _remember(node, memory)
    reply.content[key] = _record(honest, layout, view.params + lie.vectors[0])
    if metrics is not None and _WEIGHT in metrics:
        metrics[_WEIGHT] = int(lie.num_examples[0])


def _recall(node: NodeContext, attack: UpdateAttack) -> State:
    if _MEMORY not in node.state.config_records:
        return attack.init()
    tree = json.loads(cast(str, node.state.config_records[_MEMORY]["tree"]))
    arrays = node.state.array_records[f"{_MEMORY}-tensors"]
    return unpack(tree, {k: torch.from_numpy(a.numpy().copy()) for k, a in arrays.items()})


def _remember(node: NodeContext, state: State) -> None:
    """Keep the attack's state in the node's own context, which Flower keeps from round to round."""
    tree, tensors = pack(state)
    node.state[_MEMORY] = ConfigRecord({"tree": json.dumps(tree)})
    node.state[f"{_MEMORY}-tensors"] = ArrayRecord({k: Array(t.numpy()) for k, t in tensors.items()})
