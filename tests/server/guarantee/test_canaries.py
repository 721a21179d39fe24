"""Canaries: clients like all others, with directions that only the auditor knows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.core.errors import ScenarioError
from gauntlet.core.layout import Layout
from gauntlet.core.updates import Context
from gauntlet.server.round import run_round
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

CLIPPED = PluginSpec("gaussian", {"clip_norm": 0.5, "noise_multiplier": 0.0})
FIXED = PluginSpec("mean", {"weighting": "fixed"})


def audited(small, name="one_shot_canaries", **options):
    return small(
        privacy=CLIPPED, defense=FIXED, audit=PluginSpec(name, {"num_canaries": 4, **options}), rounds=2
    )


@pytest.fixture
def first(small):
    simulation = prepare(audited(small))
    return simulation, *run_round(simulation.plan, simulation.first, simulation.serial_pool())


def test_canaries_stand_behind_the_population_and_count_in_the_cohort(first):
    simulation, _, outcome = first
    assert outcome.sent.client_ids.tolist() == list(range(12))
    assert simulation.plan.sampling.expected_size == 12
    assert outcome.sent.num_examples[8:].tolist() == [1, 1, 1, 1]
    assert len(outcome.frames) == 12


def test_a_canary_sends_its_own_direction_clipped_to_the_clip_norm(first):
    simulation, _, outcome = first
    rows, canaries = outcome.received.vectors[8:], simulation.plan.canaries
    assert rows.norm(dim=1).tolist() == pytest.approx([0.5] * 4, rel=1e-5)
    for number in range(4):
        assert canaries.cosines(rows[number])[number] == pytest.approx(1.0, abs=1e-5)
    directions = rows / 0.5
    off_diagonal = (directions @ directions.T - torch.eye(4)).abs().max()
    assert off_diagonal < 6 / directions.shape[1] ** 0.5  # random directions are nearly orthogonal


def test_the_sign_is_that_of_the_model_s_change(first):
    """Updates are local minus global, so a canary that took part has a cosine above 0."""
    simulation, state, outcome = first
    cosines = simulation.plan.canaries.cosines(state.params - outcome.broadcast.params)
    assert (cosines > 0).all()


def test_the_real_clients_train_as_they_would_without_canaries(small, first):
    _, _, outcome = first
    alone = prepare(replace(audited(small), audit=PluginSpec("none")))
    _, plain = run_round(alone.plan, alone.first, alone.serial_pool())
    assert torch.equal(outcome.sent.vectors[:8], plain.sent.vectors)


def test_cosines_are_the_same_however_many_directions_are_in_memory(first, monkeypatch):
    simulation, state, _ = first
    canaries = replace(simulation.plan.canaries, num_unseen=3)
    change = state.params - simulation.first.params
    whole = canaries.cosines(change)
    monkeypatch.setattr("gauntlet.server.guarantee.canaries._FLOATS", 1)
    assert len(whole) == 7
    assert canaries.cosines(change) == pytest.approx(whole, abs=1e-7)
    assert canaries.cosines(torch.zeros_like(change)).tolist() == [0.0] * 7


def test_canaries_that_lost_the_toss_are_drawn_and_send_nothing(small):
    simulation = prepare(audited(small, "one_run", num_canaries=40))
    present = simulation.plan.canaries.present
    _, outcome = run_round(simulation.plan, simulation.first, simulation.serial_pool())
    assert 8 <= present.sum() <= 32  # of 40 fair coins, outside with 1e-4
    assert outcome.sent.client_ids.tolist() == [*range(8), *(8 + np.flatnonzero(present)).tolist()]
    assert simulation.plan.sampling.expected_size == 48


def test_a_cohort_of_canaries_alone_is_a_cohort(small):
    simulation = prepare(audited(small))
    canaries = simulation.plan.canaries
    cohort = np.array([9, 11])
    pool = simulation.serial_pool()
    nobody = pool.train(
        run_round(simulation.plan, simulation.first, pool)[1].broadcast, canaries.clients(cohort), 2.0
    )
    trained = canaries.join(nobody, cohort, Context(0, torch.zeros(0), Layout(()), 0))
    assert trained.updates.client_ids.tolist() == [9, 11]
    assert trained.updates.expected_size == 2.0


def test_under_local_privacy_a_canary_adds_its_own_noise(small):
    local = PluginSpec("local_gaussian", {"clip_norm": 0.5, "noise_multiplier": 1.0, "delta": 1e-5})
    simulation = prepare(replace(audited(small), privacy=local))
    _, outcome = run_round(simulation.plan, simulation.first, simulation.serial_pool())
    noise = outcome.sent.vectors[8] - 0.5 * simulation.plan.canaries.direction(0)
    assert float(noise.std()) == pytest.approx(0.5, rel=0.2)


def test_an_audit_of_a_run_that_does_not_clip_is_refused(small):
    with pytest.raises(ScenarioError, match="audit 'one_shot_canaries' needs a privacy mechanism that clips"):
        prepare(replace(audited(small), privacy=PluginSpec("none")))


def test_a_mechanism_that_follows_the_round_noises_canaries_too(small):
    annealed = PluginSpec("annealed", {"eta": 0.1, "clip_norm": 0.5, "where": "local", "calibrated": False})
    audit = PluginSpec("one_shot_canaries", {"num_canaries": 3, "delta": 1e-3})
    run = prepare(small(privacy=annealed, audit=audit))
    _, outcome = run_round(run.plan, run.first, run.serial_pool())
    assert outcome.sent.client_ids.tolist() == list(range(11))
