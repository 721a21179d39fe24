"""EF21 in a run: whose step is made, what goes down, what is restored, charged and refused."""

import pytest
import torch

from gauntlet.core.errors import ScenarioError
from gauntlet.core.trees import equal
from gauntlet.server.checkpoint import load_checkpoint, save_checkpoint
from gauntlet.server.round import run_round
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

TOP = {"name": "topk", "density": 0.05}
EF21 = PluginSpec("ef21", {"codec": TOP})
LOSSY = PluginSpec("links", {"latency_seconds": 1.0, "jitter": 0.3, "dropout": 0.3})
SOME = PluginSpec("fixed_size", {"cohort_size": 5})


def rounds(simulation, count, state=None):
    """Return the state after ``count`` rounds, and their outcomes."""
    outcomes, state, pool = [], state or simulation.first, simulation.serial_pool()
    for _ in range(count):
        state, outcome = run_round(simulation.plan, state, pool)
        outcomes.append(outcome)
    return state, outcomes


def test_the_step_is_the_mean_of_what_clients_hold(small):
    """With every client in every round: the server's aggregate is its H after the round."""
    simulation = prepare(small(codec=EF21))
    state = simulation.first
    for _ in range(3):
        state, outcome = run_round(simulation.plan, state, simulation.serial_pool())
        assert torch.allclose(outcome.verdict.aggregate, state.shared["mean"], atol=1e-6)
        assert bool(outcome.verdict.aggregate.any())


def test_nothing_goes_down_besides_the_parameters(small):
    """The server alone reads frames: as many bytes as around no mean, up and down."""
    sent = [
        rounds(prepare(small(codec=codec)), 2)[0] for codec in (EF21, PluginSpec("topk", {"density": 0.05}))
    ]
    assert sent[0].bytes_down == sent[1].bytes_down


def test_a_run_of_cohorts_and_losses_goes_on_from_a_checkpoint_to_the_same_bits(small, tmp_path):
    simulation = prepare(small(rounds=4, codec=EF21, sampler=SOME, network=LOSSY))
    whole, _ = rounds(simulation, 4)
    half, _ = rounds(simulation, 2)
    save_checkpoint(tmp_path, half, "run")
    resumed, _ = rounds(simulation, 2, load_checkpoint(tmp_path, "run"))
    assert torch.equal(whole.params, resumed.params)
    assert equal(whole.codec, resumed.codec)


@pytest.mark.parametrize(
    "changes",
    [
        {"defense": PluginSpec("median")},
        {"defense": PluginSpec("mean", {"weighting": "uniform"})},
        {"codec": PluginSpec("ef21", {"codec": TOP, "weighting": "uniform"})},
    ],
    ids=["a robust rule", "another weighting", "another weighting of the codec"],
)
def test_another_rule_than_the_mean_that_it_keeps_is_refused(small, changes):
    with pytest.raises(ScenarioError, match="codec 'ef21' keeps a mean of the clients' messages"):
        prepare(small(**{"codec": EF21, **changes}))


def test_what_it_remembers_leaves_no_epsilon(small):
    table = {"clip_norm": 0.5, "noise_multiplier": 1.0, "delta": 0.01}
    spec = small(
        codec=PluginSpec("ef21", {"codec": TOP, "weighting": "uniform"}),
        privacy=PluginSpec("gaussian", table),
        defense=PluginSpec("mean", {"weighting": "fixed"}),
    )
    _, (outcome,) = rounds(prepare(spec), 1)
    assert outcome.epsilon.value is None
    assert outcome.epsilon.reason == "client_memory"
