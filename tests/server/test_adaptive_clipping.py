"""A clip norm that moves, inside a run: what is seen, what is recorded, what it costs, and after a resume."""

import pytest
import torch

from gauntlet.clients.codecs.parts.wire import decode_frame
from gauntlet.core.contracts import CodecStreams, Release
from gauntlet.core.frames import Envelope
from gauntlet.server.round import run_round
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec
from gauntlet.sims.records import rows


def private(small, clipping, **changes):
    """A run of 6 rounds, Poisson cohorts of about 4 of 8 clients, z = 1, C = 0.05 at first."""
    options = {"clip_norm": 0.05, "noise_multiplier": 1.0, "delta": 0.01, "clipping": clipping}
    return small(
        rounds=6,
        sampler=PluginSpec("poisson", {"sample_rate": 0.5}),
        privacy=PluginSpec("gaussian", options),
        defense=PluginSpec("mean", {"weighting": "fixed"}),
        **changes,
    )


def what_clients_sent(simulation, outcome) -> torch.Tensor:
    """Decode the exact frames, as an honest-but-curious server would.  # [K, P]"""
    plan = simulation.plan
    return torch.stack(
        [
            decode_frame(
                plan.codec,
                frame,
                Envelope(plan.codec.codec_id, outcome.round, i, plan.public),
                plan.layout,
                CodecStreams(plan.seed, outcome.round).context(i),
            )
            for i, frame in zip(outcome.sent.client_ids.tolist(), outcome.frames, strict=True)
        ]
    )


@pytest.mark.parametrize(
    ("clipping", "whole"),
    [("fixed", False), ("autos", False), ("quantile", True), ("moo", True), ("per_layer", True)],
)
def test_the_server_sees_whole_updates_where_it_clips_alone_and_clipped_ones_elsewhere(
    small, clipping, whole
):
    simulation = prepare(private(small, clipping))
    _, outcome = run_round(simulation.plan, simulation.first, simulation.serial_pool())
    norms = what_clients_sent(simulation, outcome).double().norm(dim=1)
    assert (float(norms.min()) > 0.06) == whole
    assert (float(norms.max()) <= 0.05) != whole


@pytest.mark.parametrize("clipping", ["quantile", "moo"])
def test_the_recorded_clip_norm_clipped_the_round_and_scaled_its_noise(small, clipping):
    """The mean before noise is at most C_t times its weights, the noise z_delta C_t / m; C_t always moves."""
    simulation = prepare(private(small, clipping))
    pool, state, recorded = simulation.serial_pool(), simulation.first, []
    for step in simulation.steps(pool, state):
        row, _ = rows(simulation.plan, step)
        recorded.append(row["clip_norm"])
        weights, norm = step.outcome.verdict.weights, float(step.outcome.verdict.aggregate.norm())
        assert norm <= recorded[-1] * float(weights.sum()) * (1 + 1e-5)
        assert row["clip_norm"] == step.state.privacy["clipped_at"]
        noise = (step.state.params - step.outcome.broadcast.params - step.outcome.verdict.aggregate).double()
        z_delta = (1 - (2 * 1.0) ** -2) ** -0.5  # automatic: sigma_b = z
        expected = z_delta * recorded[-1] / simulation.plan.sampling.expected_size
        assert float(noise.std()) == pytest.approx(expected, rel=0.1)  # of 610 draws
    assert recorded[0] == 0.05
    assert len(set(recorded)) == 6


@pytest.mark.parametrize("clipping", ["quantile", "moo"])
def test_a_moving_bound_costs_the_same_epsilon_as_a_fixed_one_of_equal_z(small, clipping):
    spent = []
    for choice in ("fixed", clipping):
        simulation = prepare(private(small, choice))
        *_, last = simulation.steps(simulation.serial_pool())
        assert last.outcome.release == Release(1.0, "add_remove")
        spent.append(last.outcome.epsilon.value)
    assert spent[0] == spent[1] > 1


def test_a_bare_count_gives_no_epsilon_and_says_why(small):
    simulation = prepare(private(small, {"name": "quantile", "count_noise_std": 0.0}))
    *_, last = simulation.steps(simulation.serial_pool())
    assert (last.outcome.epsilon.value, last.outcome.epsilon.reason) == (None, "private_clip")


def test_a_resumed_run_takes_the_same_path(small, tmp_path):
    from gauntlet.server.checkpoint import load_checkpoint, save_checkpoint

    simulation = prepare(private(small, "quantile"))
    straight = [step.state for step in simulation.steps(simulation.serial_pool())]
    save_checkpoint(tmp_path, straight[2], "print")
    again = prepare(private(small, "quantile"))
    restored = load_checkpoint(tmp_path, "print")
    resumed = [step.state for step in again.steps(again.serial_pool(), restored)]
    assert [s.privacy for s in resumed] == [s.privacy for s in straight[3:]]
    assert torch.equal(resumed[-1].params, straight[-1].params)
