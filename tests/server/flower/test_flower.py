"""Our defenses in Flower. Oracles: a defense of ours called directly; hand calculations."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from flower_replies import flat, message, record, replies_of, started, updates_of
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from gauntlet.defenses import DEFENSES
from gauntlet.server.flower import GauntletStrategy, client_id_of


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mean", {}),
        ("multi_krum", {"num_byzantine": 2}),
        ("foolsgold", {}),
        ("centered_clipping", {"clip_norm": 0.5}),
    ],
)
def test_a_defense_decides_in_flower_as_it_does_here(name, options):
    """Three rounds, so that what FoolsGold and centered clipping remember counts."""
    defense = DEFENSES.build(name, options)
    memory, strategy = defense.init(), GauntletStrategy(name, options, fraction_train=0.0)
    for t in range(3):
        updates = updates_of(round_=t)
        expected, memory = defense.aggregate(updates, memory)
        strategy.configure_train(t + 1, record(updates.context.params), ConfigRecord(), None)

        arrays, metrics = strategy.aggregate_train(t + 1, reversed(replies_of(updates)))

        assert torch.allclose(flat(arrays), updates.context.params + expected.aggregate, atol=1e-5)
        assert metrics["loss"] == pytest.approx(2.0)


def test_a_reply_that_does_not_fit_or_is_not_finite_is_left_out():
    updates = updates_of()
    bad = updates.vectors.clone()
    bad[1, 0] = float("nan")
    replies = replies_of(updates.with_vectors(bad))
    replies[3].content["m"] = MetricRecord({"num-examples": -5})
    del replies[4].content["a"]["bias"]
    good = updates.rows(torch.tensor([0, 2, 5, 6, 7, 8, 9, 10]))
    expected = DEFENSES.build("mean").aggregate(good, None)[0].aggregate
    strategy = started("mean", updates.context.params)

    arrays, _ = strategy.aggregate_train(1, replies)

    assert torch.allclose(flat(arrays), updates.context.params + expected, atol=1e-5)


class Counted(Array):
    """An array that counts how often it is decoded."""

    times: ClassVar[list[int]] = [0]

    def numpy(self):
        self.times[0] += 1
        return super().numpy()


def test_each_reply_is_decoded_once():
    """By hand: one array of this kind in each of four replies."""
    updates = updates_of(4)
    replies = replies_of(updates)
    for reply in replies:
        reply.content["a"]["bias"] = Counted(reply.content["a"]["bias"].numpy())

    started("mean", updates.context.params).aggregate_train(1, replies)

    assert Counted.times == [4]


@pytest.mark.parametrize("dtype", ["<f2", "<f8", ">f4"])
def test_floating_arrays_of_another_width_or_byte_order_are_an_update(dtype):
    """Zeros in any of them: the local parameters are 0, the mean of one update gives them back."""
    params = updates_of().context.params
    zeros = ArrayRecord({k: Array(np.zeros(a.shape, dtype)) for k, a in record(params).items()})
    reply = message(RecordDict({"a": zeros, "m": MetricRecord({"num-examples": 1})}), 5)

    arrays, _ = started("mean", params).aggregate_train(1, [reply])

    assert torch.allclose(flat(arrays), torch.zeros(17), atol=1e-6)


def test_numbers_with_and_without_a_point_are_metrics_of_one_form():
    """By hand: (2 * 1 + 5.0 * 2) / 3 = 4, with the 1 and 2 examples of the first two clients."""
    updates = updates_of(2)
    replies = replies_of(updates)
    replies[0].content["m"]["loss"], replies[1].content["m"]["loss"] = 2, 5.0

    _, metrics = started("mean", updates.context.params).aggregate_train(1, replies)

    assert metrics["loss"] == pytest.approx(4.0)


def test_nobody_to_listen_to_leaves_flowers_model_alone():
    strategy = started("mean", updates_of().context.params)

    assert strategy.aggregate_train(1, []) == (None, None)


def test_whole_numbers_stay_as_they_were_and_types_are_kept():
    """A batch counter is no parameter; a float64 array comes back as one: (1 + 3) / 2 - 0 = 2."""
    before = ArrayRecord({"w": Array(np.zeros(2)), "batches": Array(np.array([7]))})
    strategy = GauntletStrategy("mean", fraction_train=0.0)
    strategy.configure_train(1, before, ConfigRecord(), None)
    metrics = MetricRecord({"num-examples": 1})
    replies = [
        message(
            RecordDict(
                {"a": ArrayRecord({"w": Array(np.full(2, v)), "batches": Array(np.array([9]))}), "m": metrics}
            ),
            node,
        )
        for node, v in ((2**64 - 1, 1.0), (5, 3.0))
    ]

    arrays, _ = strategy.aggregate_train(1, replies)

    assert arrays["w"].numpy().tolist() == [2.0, 2.0]
    assert arrays["w"].numpy().dtype == np.float64
    assert arrays["batches"].numpy().tolist() == [7]


def test_every_node_has_a_client_id_of_its_own_that_int64_holds():
    assert [client_id_of(n) for n in (0, 5, 2**63 - 1, 2**63, 2**64 - 1)] == [0, 5, 2**63 - 1, -(2**63), -1]
