"""Oracles: the paper's rule, hand calculations, and the honest reply itself."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from flower_replies import SIZE, flat, message, record, replies_of, updates_of
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from flwr.app import Context as NodeContext

from gauntlet.core.contracts import UpdateKnowledge
from gauntlet.core.updates import Updates
from gauntlet.server.flower import attack_mod


def through(mod: Any, partition: int, updates: Updates, node: NodeContext | None = None) -> torch.Tensor:
    """Return the update that a node with this partition sends when its honest one is row 0."""
    reply = sent(mod, partition, updates, replies_of(updates)[0], node)
    return flat(reply.content["a"]) - updates.context.params


def sent(
    mod: Any, partition: int, updates: Updates, honest: Message, node: NodeContext | None = None
) -> Message:
    config = ConfigRecord({"server-round": updates.context.round + 1})
    asked = message(RecordDict({"arrays": record(updates.context.params), "config": config}), 99)
    node = node or NodeContext(0, 99, {"partition-id": partition, "num-partitions": 10}, RecordDict(), {})
    return mod(asked, node, lambda m, c: honest)


def test_only_the_named_nodes_flip_their_update():
    """Li et al. (2019): minus ``scale`` times the honest update."""
    updates = updates_of(1)
    mod = attack_mod("sign_flip", {1, 4}, {"scale": 3.0})

    assert torch.allclose(through(mod, 4, updates), -3 * updates.vectors[0], atol=1e-5)
    assert torch.allclose(through(mod, 2, updates), updates.vectors[0], atol=1e-6)


@dataclass(frozen=True)
class Growing:
    """Send n times the honest update the n-th time; remembers n and the last update."""

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN

    def init(self) -> Any:
        return {"times": 0, "last": torch.zeros(0)}

    def corrupt(self, own: Updates, view: Any, state: Any) -> tuple[Updates, Any]:
        times = state["times"] + 1
        assert times == 1 or len(state["last"]) == SIZE
        assert (view.round, view.cohort_size) == (times - 1, 10)
        lie = replace(own, vectors=times * own.vectors, num_examples=own.num_examples + 40)
        return lie, {"times": times, "last": own.vectors[0]}


def test_what_an_attack_remembers_lives_in_the_nodes_own_context():
    node = NodeContext(0, 99, {"partition-id": 3, "num-partitions": 10}, RecordDict(), {})
    mod = attack_mod(Growing(), [3])
    for t in range(3):
        updates = updates_of(1, round_=t)

        assert torch.allclose(through(mod, 3, updates, node), (t + 1) * updates.vectors[0], atol=1e-5)


def test_an_attack_that_must_know_the_others_is_refused():
    with pytest.raises(ValueError, match=r"UpdateKnowledge\.OWN"):
        attack_mod("alie", [0])


def test_an_attack_that_steers_the_training_is_refused():
    """``gradient_ascent`` sends the honest update: all it does is to flip each local gradient."""
    with pytest.raises(ValueError, match=r"training is the app's own.*GradientAscent"):
        attack_mod("gradient_ascent", [0])


def test_the_number_of_examples_is_inflated_under_the_key_that_the_strategy_weighs_with():
    """By hand: 12 examples, claimed 2.5 times; the rest of the metrics is left as it was."""
    updates = updates_of(1)
    mod = attack_mod("num_examples_inflation", [4], {"factor": 2.5}, weighted_by_key="images")
    (honest,) = replies_of(updates)
    honest.content["m"] = MetricRecord({"images": 12, "num-examples": 3, "loss": 2.0})

    reply = sent(mod, 4, updates, honest)

    assert dict(reply.content["m"]) == {"images": 30, "num-examples": 3, "loss": 2.0}


@pytest.mark.parametrize("factor", [1.01, 100.0])
@pytest.mark.parametrize("metrics", [{"images": 12, "loss": 2.0}, {"images": 12, "num-examples": [3]}])
def test_a_number_of_examples_that_no_reply_tells_cannot_be_inflated_in_silence(metrics, factor):
    updates = updates_of(1)
    mod = attack_mod("num_examples_inflation", [4], {"factor": factor})
    (honest,) = replies_of(updates)
    honest.content["m"] = MetricRecord(metrics)

    with pytest.raises(ValueError, match=rf"'num-examples'.*got \['images', '{list(metrics)[1]}'\]"):
        sent(mod, 4, updates, honest)


def test_an_attack_that_leaves_the_number_of_examples_alone_needs_none():
    """Li et al. (2019): minus the honest update; a number with a point is not rounded on the way."""
    updates = updates_of(1)
    for metrics in ({}, {"num-examples": 2.5}):
        (honest,) = replies_of(updates)
        honest.content["m"] = MetricRecord(metrics)

        reply = sent(attack_mod("sign_flip", [4]), 4, updates, honest)

        assert torch.allclose(
            flat(reply.content["a"]) - updates.context.params, -updates.vectors[0], atol=1e-5
        )
        assert dict(reply.content["m"]) == metrics
