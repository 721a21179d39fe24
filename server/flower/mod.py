"""Attacks of ours as mods of Flower's clients: chosen nodes of a ``ClientApp`` send a lie.

Nothing imports this file until it is asked for, so that Gauntlet neither needs Flower nor loads it.

Source: Beutel et al. Flower: A Friendly Federated Learning Research Framework. arXiv:2007.14390
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from ...attacks.poisoning import UPDATE_ATTACKS
from ...core.contracts import UpdateAttack, UpdateKnowledge, View
from ...core.declarations import UpdateAttacks, declared
from ...core.errors import PluginError
from ...core.seeds import generator
from ...core.trees import State, pack, unpack
from ...core.updates import Updates
from .records import WEIGHT, claim_of, client_id_of, layout_of, only, values_of, vector_of

if TYPE_CHECKING:
    from ...core.layout import Layout

try:
    from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType
    from flwr.app import Context as NodeContext
except ModuleNotFoundError as error:
    raise PluginError(f"Flower is not installed ({error}): pip install 'gauntlet-fl[flower]'") from error

ClientMod = Callable[[Message, NodeContext, Callable[[Message, NodeContext], Message]], Message]
"""What a Flower ``ClientApp(mods=[...])`` takes."""

_MEMORY, _ROUND = "gauntlet-attack", "server-round"
_UNTOLD = 10**6  # stands for a number of examples that the reply does not tell: any factor above 1 shows


def attack_mod(
    attack: UpdateAttack | str,
    clients: Collection[int],
    options: Mapping[str, Any] | None = None,
    *,
    cohort_size: int | None = None,
    seed: int = 0,
    weighted_by_key: str = WEIGHT,
) -> ClientMod:
    """Return a client mod that lets some nodes send what an attack on updates makes of their honest update.

    The mod raises ValueError where the attack changes a number of examples that the reply does not tell.

    Args:
        attack: An attack that knows its own update only, or its name.
        clients: The malicious nodes: partition ids, or node ids where a node has no ``partition-id``.
        options: The attack's options, where it is given by name.
        cohort_size: Clients in a cohort as the attack believes; None takes ``num-partitions``, or 1.
        seed: The attack draws from ``generator(seed, "attack", 0, round, client)``.
        weighted_by_key: The metric with the number of examples, as the strategy's option of this name.

    Raises:
        ValueError: The attack needs to know more than a Flower node knows, or to change how it trains.
    """
    plugin: UpdateAttack = UPDATE_ATTACKS.build(attack, options) if isinstance(attack, str) else attack
    _refuse_the_impossible(plugin)
    malicious = frozenset(clients)

    def mod(
        message: Message, node: NodeContext, call_next: Callable[[Message, NodeContext], Message]
    ) -> Message:
        client_id = int(node.node_config.get("partition-id", node.node_id))
        if message.metadata.message_type != MessageType.TRAIN or client_id not in malicious:
            return call_next(message, node)
        layout, view = _seen(message, node, cohort_size, seed, client_id)
        reply = call_next(message, node)
        if not reply.has_error():
            own = _honest(reply, view.params, layout, client_id_of(client_id), weighted_by_key)
            lie, memory = plugin.corrupt(own, view, _recall(node, plugin))
            if not torch.equal(lie.num_examples, own.num_examples):
                _claim(reply, weighted_by_key, int(lie.num_examples[0]))
            _send(reply, view.params + lie.vectors[0], layout)
            _remember(node, memory)
        return reply

    return mod


def _refuse_the_impossible(attack: UpdateAttack) -> None:
    name = type(attack).__name__
    if attack.knowledge is not UpdateKnowledge.OWN or declared(attack, UpdateAttacks.knows_defense):
        raise ValueError(
            "a Flower node knows its own update and nothing else: the attack must declare UpdateKnowledge."
            f"OWN and not knows_defense, got {name} with {attack.knowledge}"
        )
    if declared(attack, UpdateAttacks.steer) is not None:
        raise ValueError(
            "a Flower node's training is the app's own, and a mod changes what is sent only: the attack must "
            f"not steer the training, got {name}"
        )


def _seen(
    message: Message, node: NodeContext, cohort_size: int | None, seed: int, client_id: int
) -> tuple[Layout, View]:
    """Return how the received arrays lie in a vector, and what the attack sees in this round."""
    (broadcast,) = message.content.array_records.values()
    layout = layout_of(broadcast)
    configs = message.content.config_records.values()
    round_ = next((int(cast(int, c[_ROUND])) for c in configs if _ROUND in c), 1) - 1
    size = cohort_size or int(node.node_config.get("num-partitions", 1))
    stream = generator(seed, "attack", 0, round_, client_id)
    return layout, View(round_, vector_of(broadcast, layout), size, None, stream)


def _honest(reply: Message, params: Tensor, layout: Layout, client_id: int, key: str) -> Updates:
    """Return the update that the node has trained, with the examples that it reports under ``key``."""
    (local,) = reply.content.array_records.values()
    claim = claim_of(only(reply.content.metric_records), key)
    count = torch.tensor([_UNTOLD if claim is None else int(claim)])
    return Updates((vector_of(local, layout) - params).unsqueeze(0), torch.tensor([client_id]), count)


def _claim(reply: Message, key: str, num_examples: int) -> None:
    """Put another number of examples into a reply that has one.

    Raises:
        ValueError: It has none under ``key``, so that the lie would reach nobody.
    """
    metrics = only(reply.content.metric_records)
    if claim_of(metrics, key) is None:
        had = sorted(name for record in reply.content.metric_records.values() for name in record)
        raise ValueError(
            f"the attack changes the number of examples, and the reply has none as '{key}' in one metric "
            f"record, got {had}: weighted_by_key must name the metric that the strategy weighs with"
        )
    metrics[key] = num_examples


def _send(reply: Message, vector: Tensor, layout: Layout) -> None:
    """Replace the floating arrays of a reply by ``vector`` [P]."""
    ((key, honest),) = reply.content.array_records.items()
    lie = {name: Array(value) for name, value in values_of(vector, honest, layout).items()}
    reply.content[key] = ArrayRecord(dict(honest) | lie)


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
