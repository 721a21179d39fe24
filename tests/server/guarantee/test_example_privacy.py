"""Runs that protect single examples: the same bits everywhere, an epsilon that follows from what happened."""

from dataclasses import replace

import pytest
import torch

from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import ScenarioError
from gauntlet.core.trees import equal
from gauntlet.privacy.accounting.curves import gaussian_epsilon, pld_epsilon, rdp_epsilon
from gauntlet.server.checkpoint import load_checkpoint, save_checkpoint
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

OPTIONS = {"clip_norm": 1.0, "noise_multiplier": 1.5, "delta": 1e-4}


@pytest.fixture
def private(small):
    def make(options=OPTIONS, **changes):
        return small(**{"privacy": PluginSpec("dp_sgd", options), "rows": False, **changes})

    return make


def run(spec, pool=None, state=None):
    simulation = prepare(spec)
    pool = pool(simulation) if pool else simulation.serial_pool()
    try:
        return simulation, list(simulation.steps(pool, state))
    finally:
        pool.close()


def test_a_run_costs_what_dp_accounting_says_of_its_busiest_client(private):
    """1437 examples among 8 clients, 179 or 180 each: rate 16 / 179, 12 steps a round, 3 rounds."""
    simulation, steps = run(private())
    sizes = {simulation.data.num_examples(i) for i in range(8)}
    charge = ("poisson", 1.5, 16 / min(sizes), 1, 36)
    live, tight = steps[-1].outcome.epsilon, simulation.plan.accountant.epsilon(steps[-1].state.ledger, True)

    assert sizes == {179, 180}
    assert live.value == pytest.approx(rdp_epsilon([charge], 1e-4), rel=0.01)
    assert tight.value == pytest.approx(pld_epsilon([charge], 1e-4, 1e-4), rel=1e-3)
    assert (live.accountant, tight.accountant) == ("rdp", "pld")
    assert [s.outcome.epsilon.value for s in steps] == sorted(s.outcome.epsilon.value for s in steps)
    assert not simulation.plan.accountant.delta_warning


def test_shuffled_batches_are_charged_for_their_passes_without_amplification(private):
    """Exact: one Gaussian of z a pass, 2 passes a round, 3 rounds."""
    how = LocalTraining(local_epochs=2, batch_size=16, lr=0.1)
    _, steps = run(private({**OPTIONS, "batches": "shuffle"}, training=how))

    assert steps[-1].outcome.epsilon.value == pytest.approx(gaussian_epsilon(6 / 1.5**2, 1e-4))


@pytest.mark.parametrize("defense", [PluginSpec("median"), PluginSpec("mean")])
def test_any_defense_and_weight_keep_the_guarantee(private, defense):
    """What a client sends is private already: an attacker in the cohort changes nothing about the others."""
    liars = (RoleSpec(PluginSpec("sign_flip"), clients=(1,)),)
    _, plain = run(private(rounds=1))
    _, steps = run(private(defense=defense, roles=liars, rounds=1))

    assert steps[-1].outcome.epsilon == plain[-1].outcome.epsilon


def test_without_noise_there_is_no_epsilon(private):
    _, steps = run(private({"clip_norm": 1.0, "noise_multiplier": 0.0}, rounds=1))

    assert (steps[-1].outcome.epsilon.value, steps[-1].outcome.epsilon.reason) == (None, "no_mechanism")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ray_gives_the_bits_of_the_serial_pool(private, ray_here, workers):
    spec = private(sampler=PluginSpec("poisson", {"sample_rate": 0.7}), rounds=2)
    _, serial = run(spec)
    _, ray = run(spec, lambda simulation: simulation.ray_pool(workers))

    assert torch.equal(serial[-1].state.params, ray[-1].state.params)
    assert equal(serial[-1].state.ledger, ray[-1].state.ledger)


def test_a_resumed_run_goes_on_with_the_same_bits_and_epsilon(private, tmp_path):
    _, whole = run(private())
    save_checkpoint(tmp_path, whole[0].state, "run")
    _, rest = run(private(), state=load_checkpoint(tmp_path, "run"))

    assert torch.equal(rest[-1].state.params, whole[-1].state.params)
    assert rest[-1].outcome.epsilon == whole[-1].outcome.epsilon


@pytest.mark.slow
def test_a_budget_becomes_noise_that_keeps_it(private):
    spec = private({"clip_norm": 1.0, "epsilon": 2.0, "delta": 1e-4})
    simulation, steps = run(spec)
    spent = simulation.plan.accountant.epsilon(steps[-1].state.ledger, tight=True).value

    assert 2.0 * (1 - 1e-3) <= spent <= 2.0
    assert simulation.spec.privacy.options["noise_multiplier"] > 0


def test_a_run_stops_before_its_budget_is_passed(private):
    _, free = run(private())
    budget = free[1].outcome.epsilon.value
    _, stopped = run(replace(private(rounds=9), max_epsilon=budget))

    assert 2 <= len(stopped) < 9
    assert stopped[-1].outcome.epsilon.value <= budget
    assert "one more round would cost epsilon" in stopped[-1].stopped


def test_an_audit_of_clients_is_refused_in_one_line(private):
    with pytest.raises(ScenarioError, match="protects single examples"):
        prepare(private(audit=PluginSpec("one_shot_canaries", {"num_canaries": 4})))


def test_a_model_with_batch_statistics_is_refused_in_one_line(private, tmp_path):
    file = tmp_path / "model.py"
    file.write_text(
        "from torch import nn\n\n\ndef build(input_shape, num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, num_classes))\n\n\n"
        "class Mixing:\n    build = staticmethod(build)\n"
    )
    with pytest.raises(ScenarioError, match="batch statistics"):
        prepare(private(model=PluginSpec(f"{file}:Mixing")))
