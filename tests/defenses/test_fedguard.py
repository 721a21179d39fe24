"""Oracles: scores by hand, two clouds whose centres are known, half a cohort that flips signs."""

from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from gauntlet.core.contracts import LocalTraining
from gauntlet.core.updates import OwnExamples
from gauntlet.defenses import fedguard
from gauntlet.defenses.fedguard import FedGuard
from gauntlet.defenses.parts.cvae import Shape, decoded, trained_decoder
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec, RunSpec

OWN = OwnExamples(torch.rand(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3)


def answering(classes):
    """Return a model of three classes, whose first parameter chooses a row of answers to six inputs."""

    def run(params, x, buffers=None):
        chosen = torch.tensor([classes[round(float(p[0]))] for p in params])
        return one_hot(chosen, 3).float()

    return run


def test_who_is_below_the_mean_accuracy_goes(cohort, at):
    """By hand: labels 0 1 2 0 1 2; accuracies 1, 1/2 and 0 have the mean 1/2: the last one goes."""
    answers = {0: [0, 1, 2, 0, 1, 2], 1: [0, 1, 2, 1, 2, 0], 2: [1, 2, 0, 1, 2, 0]}
    updates = cohort([[0.0, 2.0], [1.0, 4.0], [2.0, 9.0]])
    updates = at(updates, forward=answering(answers), examples=OWN, params=torch.zeros(2))
    verdict, state = FedGuard(num_drawn=6, steps=2).aggregate(updates, [])
    assert list(verdict.scores.values()) == pytest.approx([1.0, 0.5, 0.0])
    assert verdict.flags == {25: "malicious"}
    assert verdict.aggregate.tolist() == [0.5, 3.0]
    again, kept = FedGuard(num_drawn=6, steps=2).aggregate(updates, state)
    assert kept is state
    assert again.scores == verdict.scores


def test_the_middle_client_goes_where_it_is_below_the_mean(cohort, at):
    """By hand: accuracies 1, 1/2 and 1/6 have the mean 5/9 and the median 1/2."""
    answers = {0: [0, 1, 2, 0, 1, 2], 1: [0, 1, 2, 1, 2, 0], 2: [0, 2, 0, 1, 2, 0]}
    updates = cohort([[0.0, 2.0], [1.0, 4.0], [2.0, 9.0]])
    updates = at(updates, forward=answering(answers), examples=OWN, params=torch.zeros(2))
    verdict, _ = FedGuard(num_drawn=6, steps=2).aggregate(updates, [])
    assert list(verdict.scores.values()) == pytest.approx([1.0, 1 / 2, 1 / 6])
    assert set(verdict.flags) == {15, 25}


def test_a_decoder_is_trained_once_for_the_same_examples_and_seed(cohort, at, monkeypatch):
    """Oracle: a count of trainings; whoever writes into a decoder writes into no other one's."""
    trained, kept = [], OrderedDict()

    def counting(*given):
        trained.append(given)
        return trained_decoder(*given)

    monkeypatch.setattr(fedguard, "trained_decoder", counting)
    monkeypatch.setattr(fedguard, "_KEPT", kept)
    other = OwnExamples(OWN.x.flip(0), OWN.y)

    def decoder(seed=0, examples=OWN, **options):
        updates = at(cohort([[0.0, 2.0], [1.0, 4.0]]), forward=answering({0: [0] * 6, 1: [1] * 6}), seed=seed)
        updates = replace(updates, context=replace(updates.context, examples=examples))
        return FedGuard(num_drawn=6, **{"steps": 2, **options}).aggregate(updates, [])[1]

    first = decoder()
    wanted = [part.clone() for part in first]
    first[0].zero_()
    for found, part in zip(decoder(), wanted, strict=True):
        torch.testing.assert_close(found, part, rtol=0, atol=0)
    assert len(trained) == 1
    for changed in ({"seed": 1}, {"examples": other}, {"steps": 3}, {"hidden": 5}):
        decoder(**changed)
    assert len(trained) == 5
    for seed in range(2, 12):
        decoder(seed)
    assert len(kept) == fedguard._MOST_KEPT


def test_a_decoder_draws_each_class_where_it_was():
    """Two clouds of standard deviation 0.05 around points whose coordinates are 0.2 and 0.8, in turn."""
    draws = np.random.default_rng(1)
    centres = torch.tensor([[0.2, 0.8, 0.2], [0.8, 0.2, 0.2]])
    y = torch.arange(80) % 2
    x = (centres[y] + 0.05 * torch.from_numpy(draws.standard_normal((80, 3)))).clamp(0, 1).float()
    decoder = trained_decoder(x, y, 2, Shape(16, 2, 300, 0.02), draws)
    wanted = torch.arange(60) % 2
    found = decoded(decoder, wanted, 2, draws)
    for label in (0, 1):
        off = (found[wanted == label].mean(dim=0) - centres[label]).abs()
        assert float(off.max()) < 0.08


def test_what_it_lacks_and_what_is_out_of_range_is_refused(cohort, at):
    updates = at(cohort([[0.0, 1.0]]), forward=answering({0: [0] * 6}), params=torch.zeros(2))
    with pytest.raises(ValueError, match="root_examples must be above 0"):
        FedGuard().aggregate(updates, [])
    updates = at(cohort([[0.0, 1.0]]), forward=answering({0: [0] * 6}), params=torch.zeros(2), examples=OWN)
    with pytest.raises(ValueError, match="num_drawn must be at least 3, got 2"):
        FedGuard(num_drawn=2).aggregate(updates, [])
    for wrong in ({"num_drawn": 0}, {"latent": 0}, {"lr": 0.0}):
        with pytest.raises(ValueError, match="must be at least 1"):
            FedGuard(**wrong)


def test_half_of_the_cohort_may_flip_signs():
    """The mean stays at chance here; docs/robustness-certified.md has more seeds, and where it fails."""
    training = LocalTraining(local_epochs=4, batch_size=8, lr=0.1, momentum=0.5)
    accuracy = {}
    for name in ("mean", "fedguard"):
        simulation = prepare(
            RunSpec(
                seed=0,
                rounds=3,
                num_clients=20,
                data=PluginSpec("digits"),
                partition=PluginSpec("iid"),
                model=PluginSpec("mlp", {"hidden": [32]}),
                training=training,
                roles=(RoleSpec(PluginSpec("sign_flip"), count=10),),
                defense=PluginSpec(name),
                root_examples=100,
                evaluate_every=3,
            )
        )
        accuracy[name] = list(simulation.steps(simulation.serial_pool()))[-1].score.accuracy
    assert accuracy["mean"] < 0.5 < 0.7 < accuracy["fedguard"]


@pytest.mark.parametrize(
    ("y", "outputs", "line"),
    [
        (torch.rand(12, 1), (1,), r"got labels torch.float32 \[1\] and outputs \[1\]"),
        (torch.zeros(12, 5, dtype=torch.int64), (5, 3), r"got labels torch.int64 \[5\] and outputs \[5, 3\]"),
    ],
)
def test_a_task_without_one_class_an_example_is_refused(cohort, at, y, outputs, line):
    def run(params, x, buffers=None):
        return torch.zeros(len(params), len(x), *outputs)

    updates = at(cohort([[0.0, 2.0]]), forward=run, examples=OwnExamples(OWN.x, y))
    with pytest.raises(ValueError, match=line):
        FedGuard(num_drawn=6).aggregate(updates, [])


def test_what_is_drawn_lies_where_the_servers_inputs_lie(cohort, at):
    """Oracle: inputs from 10 to 20, of which a decoder that gives values in (0, 1) knows nothing."""
    shown = []

    def run(params, x, buffers=None):
        shown.append(x)
        return torch.zeros(len(params), len(x), 3)

    own = OwnExamples(10 + 10 * OWN.x, OWN.y)
    updates = at(cohort([[0.0, 2.0]]), forward=run, examples=own, params=torch.zeros(2))
    FedGuard(num_drawn=6, steps=2).aggregate(updates, [])
    low, high = own.x.aminmax()
    assert low < shown[-1].min() < shown[-1].max() < high
