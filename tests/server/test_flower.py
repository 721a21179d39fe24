"""Oracles: Flower's own strategies on equal replies; a defense of ours called directly; hand calculations."""

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
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
from flwr.serverapp.strategy import FedAvg

from gauntlet.core.contracts import Knowledge
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.seeds import generator
from gauntlet.core.updates import Context, Updates
from gauntlet.defenses import DEFENSES, contract
from gauntlet.server.flower import GauntletStrategy, attack_mod, client_id_of

ROOT = Path(__file__).parents[2]
LAYOUT = Layout((Slot("weight", (3, 4), 0), Slot("bias", (4,), 12), Slot("scale", (), 16)))
SIZE = LAYOUT.num_parameters


def updates_of(cohort_size: int = 11, round_: int = 0) -> Updates:
    """Return a cohort in a round, with parameters that are not 0 and unequal numbers of examples."""
    stream = generator(3, "flower test", round_)
    vectors = torch.from_numpy(stream.standard_normal((cohort_size, SIZE))).float()
    params = torch.from_numpy(stream.standard_normal(SIZE)).float()
    ids, counts = torch.arange(cohort_size) * 7 + 2, torch.arange(cohort_size) % 4 + 1
    return Updates(vectors, ids, counts, context=Context(round_, params, LAYOUT, seed=0))


def message(content: RecordDict, node_id: int) -> Message:
    metadata = Metadata(0, "", node_id, 0, "", "", 0.0, DEFAULT_TTL, MessageType.TRAIN)
    return Message(content=content, metadata=metadata)


def record(vector: torch.Tensor) -> ArrayRecord:
    return ArrayRecord({k: Array(v.numpy().copy()) for k, v in LAYOUT.views(vector).items()})


def replies_of(updates: Updates) -> list[Message]:
    rows = zip(updates.vectors, updates.client_ids.tolist(), updates.num_examples.tolist(), strict=True)
    return [
        message(
            RecordDict(
                {
                    "a": record(updates.context.params + row),
                    "m": MetricRecord({"num-examples": n, "loss": 2.0}),
                }
            ),
            node_id,
        )
        for row, node_id, n in rows
    ]


def flat(arrays: ArrayRecord) -> torch.Tensor:
    return LAYOUT.flatten({k: torch.from_numpy(np.asarray(a.numpy())) for k, a in arrays.items()})


def started(defense: Any, params: torch.Tensor, round_: int = 1, **options: Any) -> GauntletStrategy:
    """Return a strategy that has sent ``params`` out to nobody: with fraction 0 no grid is asked."""
    strategy = GauntletStrategy(defense, fraction_train=0.0, **options)
    strategy.configure_train(round_, record(params), ConfigRecord(), None)
    return strategy


# ---- flower:NAME ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "options", "flowers", "theirs"),
    [
        ("mean", {}, "FedAvg", {}),
        ("median", {}, "FedMedian", {}),
        ("trimmed_mean", {"beta": 0.2}, "FedTrimmedAvg", {"beta": 0.2}),
        ("krum", {"num_byzantine": 2}, "Krum", {"num_malicious_nodes": 2}),
        (
            "multi_krum",
            {"num_byzantine": 2, "num_selected": 5, "weighting": "num_examples"},
            "MultiKrum",
            {"num_malicious_nodes": 2, "num_nodes_to_select": 5},
        ),
        (
            "bulyan",
            {"num_byzantine": 2, "selection": "oneshot"},
            "Bulyan",
            {"num_malicious_nodes": 2},
        ),
    ],
)
def test_flowers_strategies_agree_with_ours_on_equal_updates(ours, options, flowers, theirs):
    """flwr 1.41: K - f - 2 neighbours, the chosen weighted with their examples."""
    updates = updates_of()
    expected = DEFENSES.build(ours, options).aggregate(updates, None)[0].aggregate

    verdict, state = DEFENSES.build(f"flower:{flowers}", theirs).aggregate(updates, None)

    assert state is None
    assert torch.allclose(verdict.aggregate, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("FedAvg", {}),
        ("FedMedian", {}),
        ("FedTrimmedAvg", {"beta": 0.1}),
        ("Krum", {"num_malicious_nodes": 2}),
        ("MultiKrum", {"num_malicious_nodes": 2, "num_nodes_to_select": 3}),
        ("Bulyan", {"num_malicious_nodes": 2}),
    ],
)
@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_a_strategy_owes_what_every_defense_owes(name, options, check):
    check(DEFENSES.build(f"flower:{name}", options))


def test_a_cohort_that_bulyan_finds_too_small_moves_nothing():
    """flwr 1.41 asks for 4 f + 3 replies, and otherwise keeps the model."""
    verdict, _ = DEFENSES.build("flower:Bulyan", {"num_malicious_nodes": 3}).aggregate(updates_of(), None)

    assert not bool(verdict.aggregate.any())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("MultiKrun", {}, "did you mean 'MultiKrum'"),
        ("FedAdam", {}, "does more than aggregate"),
        ("FedProx", {}, "does more than aggregate"),
        ("FedAvg", {"fraction_train": 0.5}, "unknown option 'fraction_train'"),
        ("FedTrimmedAvg", {"beta": 0.7}, "0.5"),
        ("MultiKrum", {"num_malicious_nodes": "two"}, "valid integer"),
    ],
)
def test_what_cannot_be_a_defense_is_refused_in_one_line(name, options, words):
    with pytest.raises(PluginError, match=words) as caught:
        DEFENSES.build(f"flower:{name}", options)

    assert "\n" not in str(caught.value)


class Remembering(FedAvg):
    """A strategy that counts its rounds without a word."""

    def aggregate_train(self, server_round, replies):
        self.rounds = [*getattr(self, "rounds", []), server_round]
        return super().aggregate_train(server_round, replies)


def test_a_strategy_from_outside_that_remembers_is_caught_in_the_act(monkeypatch):
    monkeypatch.setitem(sys.modules, "remembering", sys.modules[__name__])
    defense = DEFENSES.build("flower:remembering:Remembering")

    with pytest.raises(ValueError, match=r"keeps state between rounds.*rounds"):
        defense.aggregate(updates_of(), None)


@pytest.mark.parametrize(
    "wish",
    ["from gauntlet.defenses import DEFENSES as d; d.find('flower:Krum')", "import gauntlet.server.flower"],
)
def test_without_flower_it_says_what_to_install(wish):
    code = f"import sys; sys.modules['flwr'] = None; {wish}"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stderr.splitlines()[-1].endswith("pip install 'gauntlet-fl[flower]'")


def test_naming_a_defense_of_ours_does_not_load_flower():
    code = (
        "import sys; from gauntlet.defenses import DEFENSES; DEFENSES.build('median'); "
        "print('flwr' in sys.modules, 'gauntlet.server.flower' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.split() == ["False", "False"]


# ---- GauntletStrategy -----------------------------------------------------------------------------------


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


# ---- attack_mod -----------------------------------------------------------------------------------------


def through(mod: Any, partition: int, updates: Updates, node: NodeContext | None = None) -> torch.Tensor:
    """Return the update that a node with this partition sends when its honest one is row 0."""
    params = updates.context.params
    config = ConfigRecord({"server-round": updates.context.round + 1})
    asked = message(RecordDict({"arrays": record(params), "config": config}), 99)
    node = node or NodeContext(0, 99, {"partition-id": partition, "num-partitions": 10}, RecordDict(), {})
    reply = mod(asked, node, lambda m, c: replies_of(updates)[0])
    return flat(reply.content["a"]) - params


def test_only_the_named_nodes_flip_their_update():
    """Li et al. (2019): minus ``scale`` times the honest update."""
    updates = updates_of(1)
    mod = attack_mod("sign_flip", {1, 4}, {"scale": 3.0})

    assert torch.allclose(through(mod, 4, updates), -3 * updates.vectors[0], atol=1e-5)
    assert torch.allclose(through(mod, 2, updates), updates.vectors[0], atol=1e-6)


@dataclass(frozen=True)
class Growing:
    """Send n times the honest update the n-th time; remembers n and the last update."""

    knowledge: ClassVar[Knowledge] = Knowledge.OWN

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
    with pytest.raises(ValueError, match=r"Knowledge\.OWN"):
        attack_mod("alie", [0])


# ---- the example ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_example_learns_behind_multi_krum_and_not_behind_the_mean():
    accuracies = {d: _last_accuracy(d) for d in ("multi_krum", "mean")}

    assert accuracies["multi_krum"] > 0.85
    assert accuracies["mean"] < 0.5


def _last_accuracy(defense: str) -> float:
    command = [sys.executable, "docs/examples/flower/digits.py", "--defense", defense]
    environment = os.environ | {"FLWR_TELEMETRY_ENABLED": "0", "RAY_ADDRESS": "local"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    lines = [line for line in done.stdout.splitlines() if line.startswith("round 3 accuracy")]
    assert done.returncode == 0, done.stderr[-2000:]
    assert lines, done.stderr[-2000:]
    return float(lines[0].split()[-1])
