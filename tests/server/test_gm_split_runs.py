"""Whole runs of ``gm_split``: clients that read labels in two ways, and what goes over the wire."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from whole_runs import fields, rounds, steps

from gauntlet.clients.data.digits import Digits
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import GauntletError
from gauntlet.core.trees import equal
from gauntlet.server.checkpoint import load_checkpoint, save_checkpoint
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

UNIFORM = PluginSpec("mean", {"weighting": "uniform"})


@dataclass(frozen=True)
class TwoMeanings:
    """Digits of eight natural clients; those from 4 on call a digit d 9 - d."""

    def load(self):
        pile = Digits().load()
        groups = np.arange(len(pile.y)) % 8
        return replace(pile, y=np.where(groups < 4, pile.y, 9 - pile.y), groups=groups)


@pytest.fixture
def two_meanings(small):
    """Return a spec of logistic regression, eight rounds; keywords replace its fields."""
    return lambda **changes: small(
        **{
            "rounds": 8,
            "data": PluginSpec(f"{__file__}:TwoMeanings"),
            "partition": PluginSpec("natural"),
            "model": PluginSpec("logistic_regression"),
            "training": LocalTraining(local_steps=5, batch_size=32, lr=0.3),
            "algorithm": PluginSpec("gm_split", {"warmup": 3, "window": 1, "room": 8, "max_clusters": 2}),
            "defense": UNIFORM,
            "held_out": 0.2,
            **changes,
        }
    )


def test_clients_part_by_how_they_read_labels_and_are_served_apart(two_meanings):
    simulation, found = rounds(two_meanings())
    optimizer, own = found[-1].state.optimizer, found[-1].personal
    assert optimizer["membership"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert found[-1].outcome.sent.facts[:, 0].tolist() == [0.0] * 4 + [1.0] * 4
    mean = steps(two_meanings(algorithm=PluginSpec("fedavg")))[-1].personal
    assert min(one.accuracy for one in own) > 0.75
    assert np.mean([one.global_accuracy for one in mean]) < 0.6
    for one in own:  # the scored model is that of the first four
        same = one.accuracy == one.global_accuracy
        assert same if one.client_id < 4 else not same
    plan, state = simulation.plan, found[-1].state
    assert torch.equal(plan.served(state.params, state.optimizer)(4), optimizer["others"][0])


def test_it_is_fedavg_to_the_last_bit_while_nobody_parts(two_meanings):
    split, plain = (
        steps(two_meanings(rounds=2, vectorize="off", algorithm=PluginSpec(name), model=PluginSpec("mlp")))
        for name in ("gm_split", "fedavg")
    )
    assert torch.equal(split[-1].state.params, plain[-1].state.params)
    assert [one.accuracy for one in split[-1].personal] == [one.global_accuracy for one in plain[-1].personal]


def test_every_client_is_sent_all_models_and_the_list_and_sends_one_update(two_meanings):
    split, plain = (
        steps(two_meanings(rounds=1, **more))[0].state
        for more in ({}, {"algorithm": PluginSpec("fedavg"), "vectorize": "off"})
    )
    assert split.bytes_down - plain.bytes_down == 8 * 4 * (650 + 8)
    assert split.bytes_up - plain.bytes_up == 8 * 8


def test_a_run_goes_on_from_a_checkpoint_to_the_same_bits(two_meanings, tmp_path):
    spec = two_meanings(sampler=PluginSpec("fixed_size", {"cohort_size": 6}))
    whole = steps(spec)
    save_checkpoint(tmp_path, whole[3].state, "run")
    again = steps(spec, state=load_checkpoint(tmp_path, "run"))
    assert equal(fields(again[-1].state), fields(whole[-1].state))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"defense": PluginSpec("median")}, "needs the plain mean"),
        ({"defense": PluginSpec("mean")}, "count alike|plain mean"),
        ({"pre_aggregations": (PluginSpec("clipping"),)}, "needs the plain mean"),
        ({"schedule": PluginSpec("buffered", {"buffer_size": 4})}, "messages that began in the same round"),
    ],
)
def test_what_does_not_go_with_it_is_refused_in_one_line(two_meanings, changes, complaint):
    with pytest.raises(GauntletError, match=complaint) as caught:
        prepare(two_meanings(**changes))
    assert "\n" not in str(caught.value)
