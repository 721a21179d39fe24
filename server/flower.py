"""Parts for Flower's own runtime: our defenses as its strategies, our attacks as mods of its clients.

``GauntletStrategy`` runs a defense of ours in a Flower ``ServerApp``, and ``attack_mod`` makes chosen nodes
of a Flower ``ClientApp`` lie. The other way, its strategies as defenses here, is ``flower_strategies``.

Nothing imports this file until it is asked for, so that Gauntlet neither needs Flower nor loads it.

Source: Beutel et al. Flower: A Friendly Federated Learning Research Framework. arXiv:2007.14390
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ..attacks.poisoning import UPDATE_ATTACKS
from ..core.contracts import Defense, Knowledge, UpdateAttack, Verdict, View, declared
from ..core.errors import PluginError
from ..core.layout import Layout, Slot
from ..core.seeds import generator
from ..core.trees import State, pack, unpack
from ..core.updates import Context, Updates, finite_rows
from ..defenses import DEFENSES
from .flower_records import WEIGHT, vector_of

try:
    from flwr.app import (
        Array,
        ArrayRecord,
        ConfigRecord,
        Message,
        MessageType,
        MetricRecord,
        RecordDict,
    )
    from flwr.app import Context as NodeContext
    from flwr.serverapp import Grid
    from flwr.serverapp.strategy import FedAvg
except ModuleNotFoundError as error:
    raise PluginError(f"Flower is not installed ({error}): pip install 'gauntlet-fl[flower]'") from error

ClientMod = Callable[[Message, NodeContext, Callable[[Message, NodeContext], Message]], Message]
"""What a Flower ``ClientApp(mods=[...])`` takes."""

_MEMORY, _ROUND = "gauntlet-attack", "server-round"
_MOST_EXAMPLES = 2**53  # a claim above this is no number of examples
_log = logging.getLogger(__name__)


# ---- records and vectors --------------------------------------------------------------------------------


def _layout(arrays: ArrayRecord) -> Layout:
    """Return where the floating arrays of a record lie in one vector; whole numbers stay outside it."""
    slots, start = [], 0
    for name, array in arrays.items():
        if np.issubdtype(np.dtype(array.dtype), np.floating):
            slots.append(Slot(name, tuple(array.shape), start))
            start += slots[-1].size
    return Layout(tuple(slots))


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
        params = vector_of(self._arrays, layout)
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
            vectors[row] = vector_of(local, context.layout) - context.params
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
        params = vector_of(broadcast, layout)
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
    claim = int(metrics[WEIGHT]) if metrics is not None and WEIGHT in metrics else 1
    vector = vector_of(honest, layout) - view.params
    own = Updates(vector.unsqueeze(0), torch.tensor([client_id]), torch.tensor([claim]))
    lie, memory = attack.corrupt(own, view, _recall(node, attack))
    _remember(node, memory)
    reply.content[key] = _record(honest, layout, view.params + lie.vectors[0])
    if metrics is not None and WEIGHT in metrics:
        metrics[WEIGHT] = int(lie.num_examples[0])


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
