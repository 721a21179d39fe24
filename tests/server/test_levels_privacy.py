"""What is promised where clients train models of several widths, and what noise covers."""

from dataclasses import replace

import pytest
from level_runs import hetero
from whole_runs import rounds

from gauntlet.core.contracts import LocalTraining, NoGuarantee
from gauntlet.core.errors import ScenarioError
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec


def private(privacy, weighting="fixed", **algorithm):
    return {
        "privacy": privacy,
        "defense": PluginSpec("mean", {"weighting": weighting}),
        "algorithm": hetero(**algorithm),
        "sampler": PluginSpec("poisson", {"sample_rate": 0.5}),
        "model": PluginSpec("mlp", {"hidden": [12, 6]}),
        "rounds": 2,
        "training": LocalTraining(local_epochs=1, batch_size=16, lr=0.1),
    }


CENTRAL = PluginSpec("gaussian", {"clip_norm": 0.5, "noise_multiplier": 1.0, "delta": 1e-3})
LOCAL = PluginSpec("local_gaussian", {"clip_norm": 0.5, "noise_multiplier": 4.0, "delta": 1e-3})
STEPS = PluginSpec("dp_sgd", {"clip_norm": 0.5, "noise_multiplier": 1.0, "delta": 1e-3})
MECHANISMS = [
    pytest.param(CENTRAL, id="gaussian"),
    pytest.param(LOCAL, id="local_gaussian"),
    pytest.param(STEPS, id="dp_sgd", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("privacy", MECHANISMS)
def test_epsilon_is_fedavgs_where_the_denominator_is_fixed_and_labels_are_not_told(levels, privacy):
    """A client moves the sum by at most C whatever it lacks: over the fixed size, as much as in FedAvg."""
    plain = private(privacy) | {"algorithm": PluginSpec("fedavg")}
    theirs = rounds(levels(**plain))[1][-1].outcome
    ours = rounds(levels(**private(privacy, mask=False)))[1][-1].outcome

    assert ours.epsilon.value == theirs.epsilon.value
    assert ours.epsilon.value is not None
    assert ours.sent.presence is not None


@pytest.mark.parametrize("privacy", MECHANISMS)
def test_telling_labels_leaves_no_epsilon_and_says_why(levels, privacy):
    outcome = rounds(levels(**private(privacy)))[1][-1].outcome

    assert outcome.release == NoGuarantee("extra_release")
    assert outcome.epsilon.value is None


def test_a_count_of_who_has_a_coordinate_leaves_no_epsilon(levels):
    outcome = rounds(levels(**private(CENTRAL, "uniform", mask=False)))[1][-1].outcome

    assert outcome.release == NoGuarantee("weights")
    assert outcome.epsilon.value is None


def test_a_budget_that_labels_break_is_refused_with_the_way_out(levels):
    budget = PluginSpec("gaussian", {"clip_norm": 0.5, "epsilon": 5.0, "delta": 1e-3})
    with pytest.raises(
        ScenarioError, match="tells the server which labels each client holds, which nothing prot"
    ):
        prepare(levels(**private(budget)))
    assert prepare(levels(**private(budget, mask=False))).plan.levels is not None


def test_local_noise_covers_what_a_client_has_and_nothing_else(levels):
    outcome = rounds(levels(**private(LOCAL, mask=False)))[1][0].outcome
    presence = outcome.sent.presence
    there = presence.levels[presence.level]

    assert bool((outcome.sent.vectors[there] != 0).all())
    assert not bool(outcome.sent.vectors[~there].any())


def test_central_noise_covers_every_coordinate_though_nobody_has_it(levels):
    """Three narrow clients alone: what they lack moves by the noise, of standard deviation z C / size."""
    spec = levels(**private(CENTRAL, rates=(0.25,), mask=False))
    spec = replace(spec, algorithm=hetero(rates=(1.0, 0.25), shares=(0.01, 0.99), mask=False))
    simulation, found = rounds(spec)
    before, after = simulation.first.params, found[0].state.params
    there = simulation.plan.levels.parts[1].present

    assert not bool(found[0].outcome.verdict.aggregate[~there].any())
    moved = (after - before)[~there]
    assert float(moved.std()) == pytest.approx(0.5 / 4.5, rel=0.15)
