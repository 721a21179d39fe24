"""Algorithms that bring both of their halves, in whole runs: what they do, cost and refuse."""

from dataclasses import replace

import pytest
import torch
from whole_runs import rounds as run

from gauntlet.core import trees
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

FIXED = PluginSpec("mean", {"weighting": "fixed"})
FSGLD = {
    "step_size": 1e-4,
    "batch_size": 10,
    "local_steps": 5,
    "prior_precision": 0.0,
    "thin": 5,
    "surrogate": "laplace",
    "surrogate_steps": 60,
    "surrogate_burn_in": 0,
}
NOISE = {"gradient_multiplier": 2.0, "difference_multiplier": 3.0, "delta": 1e-5}


@pytest.fixture
def toy(small):
    """Six shards of Gaussian points, sampled by fsgld; keywords replace fields."""
    return lambda **changes: small(
        **{
            "rounds": 8,
            "num_clients": 6,
            "data": PluginSpec("gaussian_shards", {"points_per_client": 40}),
            "model": PluginSpec("gaussian_mean"),
            "algorithm": PluginSpec("fsgld", FSGLD),
            "defense": PluginSpec("mean", {"weighting": "uniform"}),
            "rows": False,
            **changes,
        }
    )


@pytest.fixture
def diff2(small):
    """DIFF2 on the four workers of a synthetic population; keywords replace fields."""
    return lambda **changes: small(
        **{
            "rounds": 7,
            "num_clients": 4,
            "data": PluginSpec("synthetic", {"num_features": 6, "num_classes": 2}),
            "model": PluginSpec("logistic_regression", {"zero_init": True, "reference_class": True}),
            "algorithm": PluginSpec("diff2_gd", {"restart": 3}),
            "privacy": PluginSpec("diff2", NOISE),
            "defense": FIXED,
            **changes,
        }
    )


def test_everybody_sends_a_surrogate_and_then_one_client_at_a_time_is_visited(toy):
    _, steps = run(toy())
    sizes = [len(step.outcome.sent) for step in steps]

    assert sizes == [6, 6, 1, 1, 1, 1, 1, 1]
    assert torch.equal(steps[1].state.params, steps[0].outcome.broadcast.params)


def test_the_server_knows_the_sum_of_exact_surrogates(toy):
    """Gaussian points: precisions are the number of points; the server holds means over clients."""
    simulation, steps = run(toy(rounds=2))
    precision, shift = steps[-1].state.optimizer["surrogate"]
    means = torch.stack([simulation.data.client(i)[0].mean(dim=0) for i in range(6)])

    assert precision == pytest.approx(torch.full((2,), 40.0), rel=1e-3)
    assert shift == pytest.approx(40.0 * means.mean(dim=0), rel=1e-3, abs=0.05)


def test_samples_are_part_of_the_state(toy):
    simulation, steps = run(toy())
    kept = simulation.plan.optimizer.posterior(steps[-1].state.optimizer)

    assert len(kept) == 6
    assert torch.equal(kept[-1], steps[-1].state.params)


def test_langevin_noise_proves_nothing(toy):
    _, steps = run(toy(rounds=3))
    assert (steps[-1].outcome.epsilon.value, steps[-1].outcome.epsilon.reason) == (None, "uncalibrated_noise")


@pytest.mark.parametrize("name", ["toy", "diff2"])
@pytest.mark.parametrize("rows", [True, False])
def test_a_run_taken_up_from_a_checkpoint_ends_with_the_same_bits(name, rows, request):
    spec = request.getfixturevalue(name)(rows=rows)
    _, whole = run(spec)
    middle = whole[3].state
    packed = trees.unpack(*trees.pack({f: getattr(middle, f) for f in vars(middle)}))
    _, rest = run(spec, state=replace(middle, **packed))

    assert len(rest) == len(whole) - 4
    for field in ("params", "optimizer", "privacy", "ledger"):
        assert trees.equal(getattr(rest[-1].state, field), getattr(whole[-1].state, field))


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("name", ["toy", pytest.param("diff2", marks=pytest.mark.slow)])
def test_any_pool_gives_the_same_bits(name, request):
    spec = request.getfixturevalue(name)(rounds=5)
    _, serial = run(spec)
    for workers in (1, 2):
        _, ray = run(spec, lambda s, n=workers: s.ray_pool(n))
        assert torch.equal(ray[-1].state.params, serial[-1].state.params)
        assert trees.equal(ray[-1].state.optimizer, serial[-1].state.optimizer)


def test_local_steps_visit_one_worker_between_two_exchanges(diff2):
    local = PluginSpec("diff2_bvr_l_sgd", {"batch_size": 8, "inner_multiplier": 4.0})
    _, steps = run(diff2(algorithm=local))

    assert [len(step.outcome.sent) for step in steps] == [4, 1, 4, 1, 4, 1, 4]
    assert steps[-1].outcome.epsilon.value > 0


def test_a_visit_is_taken_whole_although_the_denominator_is_fixed(diff2):
    """Under weighting fixed the sum is divided by the round's own expected size: 4, then 1."""
    local = PluginSpec("diff2_bvr_l_sgd", {"batch_size": 8})
    _, steps = run(diff2(algorithm=local, privacy=PluginSpec("none"), rounds=2))
    visit = steps[1].outcome
    mean = steps[0].outcome.sent.vectors.mean(dim=0)

    assert visit.verdict.aggregate == pytest.approx(visit.sent.vectors[0], abs=1e-7)
    assert steps[0].outcome.verdict.aggregate == pytest.approx(mean, abs=1e-7)
    assert [step.outcome.sampling.expected_size for step in steps] == [4.0, 1.0]


def test_only_visited_workers_pay_for_visits(diff2):
    """Exchanges cost everybody 1/z1^2 + 1/z2^2 ...; a visit costs the visited worker 1/z3^2 = 1/16."""
    local = PluginSpec("diff2_bvr_l_sgd", {"batch_size": 8, "inner_multiplier": 4.0, "restart": 2})
    _, steps = run(diff2(algorithm=local, rounds=8))
    visited = torch.bincount(
        torch.cat([step.outcome.sent.client_ids for step in steps[1::2]]), minlength=4
    ).double()
    exchanges = 2 / 2.0**2 + 2 / 3.0**2  # restarts in pairs 0 and 2, differences in 1 and 3

    assert steps[-1].state.ledger["clients"].tolist() == [0, 1, 2, 3]
    assert steps[-1].state.ledger["precisions"] == pytest.approx(exchanges + visited / 16)


def test_epsilon_is_charged_for_restarts_and_differences(diff2):
    """7 rounds, restarts in 0, 3, 6: one Gaussian of precision 3 / z1^2 + 4 / z2^2, exactly."""
    from gauntlet.privacy.accounting.curves import gaussian_epsilon

    _, steps = run(diff2())
    epsilon = steps[-1].outcome.epsilon
    assert epsilon.value == pytest.approx(gaussian_epsilon(3 / 2.0**2 + 4 / 3.0**2, 1e-5), rel=1e-9)
    assert epsilon.accountant == "gaussian"


def test_a_budget_is_kept(diff2):
    _, steps = run(diff2(privacy=PluginSpec("diff2", {"epsilon": 2.0, "delta": 1e-5})))
    assert 1.99 < steps[-1].outcome.epsilon.value <= 2.0


def test_a_run_stops_before_a_round_that_its_budget_does_not_pay_for(diff2):
    """z1 = 2 alone costs epsilon 1.9...; the next difference would pass 2."""
    _, steps = run(diff2(max_epsilon=2.2))
    assert 0 < len(steps) < 7
    assert steps[-1].outcome.epsilon.value <= 2.2
    assert "max_epsilon is 2.2" in steps[-1].stopped


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"privacy": PluginSpec("none")}, "no_mechanism"),
        ({"defense": PluginSpec("median")}, "aggregator"),
        ({"defense": PluginSpec("mean")}, "weights"),
    ],
)
def test_where_nothing_is_proved_the_reason_stands(diff2, changes, reason):
    _, steps = run(diff2(rounds=2, **changes))
    assert (steps[-1].outcome.epsilon.value, steps[-1].outcome.epsilon.reason) == (None, reason)


def test_noise_follows_the_length_of_the_last_step(diff2):
    """What the server added over z2 c2 |step| / (n W) has standard deviation 1, whatever the step."""
    wide = {"num_features": 2000, "num_classes": 2, "examples_per_client": 20}
    spec = diff2(data=PluginSpec("synthetic", wide), rounds=3)
    simulation, steps = run(spec)
    states = [simulation.first, *[step.state for step in steps]]
    for t, z in ((1, 3.0), (2, 3.0)):
        length = float((states[t].params - states[t - 1].params).double().norm())
        v, before = states[t + 1].optimizer["v"], states[t].optimizer["v"]
        noise = v - before - steps[t].outcome.verdict.aggregate.double()
        assert float(noise.std()) / (z * 0.25 * length / (20 * 4)) == pytest.approx(1.0, abs=0.1)


def test_without_noise_the_estimate_is_the_gradient(diff2):
    """Float32 messages: v_r is the full gradient to 1e-6 after 7 rounds (1e-10 in float64, see the rule)."""
    options = {"restart": 100, "c1": 1e6, "c2": 1e6, "ridge": 0.01}
    spec = diff2(algorithm=PluginSpec("diff2_gd", options), privacy=PluginSpec("none"))
    simulation, steps = run(spec)
    here = steps[-1].outcome.broadcast.params
    visits = simulation.kernel.visits
    truth = torch.stack([visits.gradient(here, *simulation.data.client(i))[0] for i in range(4)]).mean(dim=0)

    assert (steps[-1].state.optimizer["v"] - truth).abs().max() < 1e-6


def test_clients_receive_what_the_server_half_sends(diff2, toy):
    """Two more vectors of P floats under fsgld, one more under diff2_gd."""
    plain = prepare(toy(algorithm=PluginSpec("dsgld"))).plan.bytes_down
    assert prepare(toy()).plan.bytes_down == plain + 2 * 4 * 2


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("toy", {"defense": PluginSpec("mean")}, "needs the plain mean: defense mean with weighting"),
        ("toy", {"defense": PluginSpec("median")}, "needs the plain mean"),
        ("toy", {"sampler": PluginSpec("poisson", {"sample_rate": 0.5})}, "brings its own sampler"),
        ("toy", {"server_optimizer": PluginSpec("adam")}, "brings its own server_optimizer"),
        (
            "toy",
            {"privacy": PluginSpec("gaussian", {"clip_norm": 1.0, "noise_multiplier": 0.0})},
            "privacy none",
        ),
        ("toy", {"vectorize": "on"}, "runs a client in a way of its own"),
        ("diff2", {"algorithm": PluginSpec("fedavg")}, "goes with algorithm diff2_gd or diff2_bvr_l_sgd"),
        ("diff2", {"sampler": PluginSpec("fixed_size", {"cohort_size": 2})}, "every client in every round"),
        ("diff2", {"codec": PluginSpec("terngrad")}, "does not keep that bound; use identity"),
        (
            "diff2",
            {
                "algorithm": PluginSpec("diff2_bvr_l_sgd"),
                "privacy": PluginSpec("diff2", {"epsilon": 1.0, "delta": 1e-5}),
            },
            "epsilon cannot be given",
        ),
        ("diff2", {"audit": PluginSpec("one_shot_canaries", {"num_canaries": 3})}, "cannot visit"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(name, changes, words, request):
    with pytest.raises((ScenarioError, PluginError), match=words):
        prepare(request.getfixturevalue(name)(**changes))


def test_an_attack_on_what_is_sent_still_works(diff2):
    """A worker that turns its messages round spoils the estimate."""
    roles = (RoleSpec(PluginSpec("sign_flip", {"scale": 5.0}), clients=(1,)),)
    _, honest = run(diff2(privacy=PluginSpec("none")))
    _, bitten = run(diff2(privacy=PluginSpec("none"), roles=roles))

    assert bitten[-1].score.loss > honest[-1].score.loss
