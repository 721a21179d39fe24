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


@pytest.mark.parametrize("who", [{}, {"sampler": SOME, "network": LOSSY}], ids=["all", "cohorts, losses"])
def test_the_step_is_the_mean_of_what_clients_hold(small, who):
    """Whoever came: the server steps along the weighted mean of all h, of clients that stayed away too."""
    simulation = prepare(small(codec=EF21, **who))
    state = simulation.first
    for _ in range(3):
        before = state.params
        state, _ = run_round(simulation.plan, state, simulation.serial_pool())
        weights, held = state.codec["weights"], state.codec["references"]
        total = sum(weights[i] * held[i].double() for i in held) / sum(weights.values())
        assert bool(total.any())
        torch.testing.assert_close(state.params - before, total.float(), atol=1e-6, rtol=1e-5)
    if not who:
        return
    assert len(weights) > 5  # not the last cohort alone


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
        {"pre_aggregations": (PluginSpec("nnm", {"num_byzantine": 1}),)},
    ],
    ids=["a robust rule", "another weighting", "another weighting of the codec", "pre-aggregations"],
)
def test_another_rule_than_the_mean_that_it_keeps_is_refused(small, changes):
    with pytest.raises(ScenarioError, match="codec 'ef21' keeps a mean of the clients' messages"):
        prepare(small(**{"codec": EF21, **changes}))


def test_a_mechanism_that_would_noise_what_nobody_steps_along_is_refused(small):
    table = {"clip_norm": 0.5, "noise_multiplier": 1.0, "delta": 0.01}
    spec = small(
        codec=PluginSpec("ef21", {"codec": TOP, "weighting": "uniform"}),
        privacy=PluginSpec("gaussian", table),
        defense=PluginSpec("mean", {"weighting": "fixed"}),
    )
    with pytest.raises(ScenarioError, match="which privacy 'gaussian' would neither clip nor noise"):
        prepare(spec)
