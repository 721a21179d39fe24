"""What attackers see reaches the accountant: no epsilon where a client moves more than its own message.

A printed epsilon assumes that removing one honest client moves the aggregate by at most C/m, and exchanging
it for another by at most 2C/m (C the clip norm, m the expected cohort). The measurements here take every
built-in attack through the code of a round that corrupts, clips and averages.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from attacked_runs import ATTACKERS, CLIENTS, GAUSSIAN, POISSON, C, attacked, directions, released

from gauntlet.attacks.poisoning import UPDATE_ATTACKS
from gauntlet.core.contracts import NoGuarantee, Release
from gauntlet.server.assembly.ingredients import sample_cohort
from gauntlet.server.cohort.roles import assign
from gauntlet.server.guarantee.guard import projected
from gauntlet.server.guarantee.sight import COHORT, UPDATES
from gauntlet.server.mail.corruption import corrupt
from gauntlet.server.round import run_round
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

SKELLAM = PluginSpec(
    "skellam", {"clip_norm": C, "noise_multiplier": 2.0, "delta": 1e-3, "bits": 24, "max_dropouts": 6}
)
BLIND = {"knowledge": "colluders"}
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "train_and_scale": [{"norm_bound": 2.0}],
    "constrain_and_scale": [{"scale": 3.0}],
    "num_examples_inflation": [{"factor": 50.0}],
    **{name: [{}, BLIND] for name in ("alie", "fang_trim", "ipm", "mean_sign_flip", "min_max", "min_sum")},
}
ATTACKS = [(name, options) for name in UPDATE_ATTACKS.table for options in OPTIONS.get(name, [{}])]


def aggregate(run, updates):
    """Return what the server makes of a cohort, before its noise, in units of C/m."""
    sent, _ = corrupt(run.plan, updates, run.first)
    finite = sent.rows(sent.vectors.isfinite().all(dim=1))
    clipped, _ = run.plan.privacy.clip(finite, run.first.privacy)
    verdict, _ = run.plan.defense.aggregate(clipped, run.first.defense)
    return verdict.aggregate.double() * updates.expected_size / C


def movements(run):
    """Return by how much removing, and exchanging, an honest client moves the aggregate, at most."""
    updates = directions(run)
    base = aggregate(run, updates)
    removed, exchanged = 0.0, 0.0
    for victim in range(CLIENTS - len(ATTACKERS)):
        others = updates.rows(torch.arange(CLIENTS) != victim)
        removed = max(removed, float((aggregate(run, others) - base).norm()))
        rows = updates.vectors.clone()
        rows[victim] *= -1  # the farthest that another client can be
        exchanged = max(exchanged, float((aggregate(run, updates.with_vectors(rows)) - base).norm()))
    return removed, exchanged


@pytest.mark.parametrize("privacy", [GAUSSIAN, SKELLAM], ids=["gaussian", "skellam"])
@pytest.mark.parametrize(("name", "options"), ATTACKS, ids=lambda value: str(value))
def test_where_an_epsilon_is_printed_no_client_moves_more_than_it_assumes(small, name, options, privacy):
    run = prepare(attacked(small, name, options, privacy, sampler=POISSON))
    removed, exchanged = movements(run)
    if isinstance(released(run), Release):
        assert removed <= 1 + 1e-5
        assert exchanged <= 2 + 1e-5
    else:
        assert released(run) == NoGuarantee(UPDATES)


@pytest.mark.parametrize(("name", "bound"), [("mimic", 4), ("fang_trim", 3), ("alie", 2), ("min_max", 1.5)])
def test_attackers_that_see_move_with_one_client_by_far_more(small, name, bound):
    """Four of ten copy, or follow, one client: up to 1 + 4 * 2^0.5 C/m where they copy another one now."""
    assert movements(prepare(attacked(small, name, sampler=POISSON)))[0] > bound


LOCAL = PluginSpec("local_gaussian", {"clip_norm": C, "noise_multiplier": 2.0, "delta": 1e-3})


def test_what_attackers_see_under_local_trust_is_private_already(small):
    run = prepare(attacked(small, privacy=LOCAL))
    assert isinstance(released(run), Release)


def reasons(spec):
    """Return each round's reason, None where a guarantee holds so far."""
    run = prepare(spec)
    return [step.outcome.epsilon.reason for step in run.steps(run.serial_pool())]


TIMES = [
    ({}, [UPDATES] * 4),
    ({"start_round": 2}, [None, None, UPDATES, UPDATES]),
    ({"start_round": 9}, [None] * 4),
    ({"stop_round": 1}, [UPDATES] * 4),  # what they saw stays seen
    ({"start_round": 1, "every": 3}, [None] + [UPDATES] * 3),
    ({"start_round": 3, "on_rounds": 1, "off_rounds": 5}, [None] * 3 + [UPDATES]),
]


@pytest.mark.parametrize(("times", "expected"), TIMES)
def test_the_guarantee_ends_with_the_first_round_in_which_attackers_see(small, times, expected):
    role = RoleSpec(PluginSpec("ipm"), clients=ATTACKERS, **times)
    assert reasons(attacked(small, rounds=4, roles=(role,))) == expected


def test_attackers_that_are_not_in_the_cohort_see_nothing(small):
    hiding = PluginSpec("gaussian", {**GAUSSIAN.options, "relation": "zero_out"})
    turns = PluginSpec("round_robin", {"period": 2})
    plan = prepare(attacked(small, privacy=hiding, sampler=turns, roles=())).plan
    second = sample_cohort(plan.sampler, plan.sampling, plan.seed, 1).tolist()
    role = RoleSpec(PluginSpec("ipm"), clients=tuple(second[:2]))
    assert reasons(attacked(small, privacy=hiding, sampler=turns, roles=(role,), rounds=2)) == [None, UPDATES]


BINOMIAL, FIXED_SIZE = (
    PluginSpec("poisson", {"sample_rate": 0.5}),
    PluginSpec("fixed_size", {"cohort_size": 5}),
)
SAMPLED = [
    ("ipm", {}, "add_remove", [UPDATES] * 2),
    ("alie", BLIND, "zero_out", [UPDATES] * 2),  # who colludes in one round is honest in another
    ("sign_flip", {}, "add_remove", [COHORT] * 2),  # one client less draws other attackers
    ("label_flip", {"source": 1, "target": 7}, "add_remove", [COHORT] * 2),
    ("sign_flip", {}, "zero_out", [None] * 2),  # the client stays in the cohort
]


@pytest.mark.parametrize(
    ("sampler", "relation", "expected"),
    [
        (BINOMIAL, "zero_out", [COHORT] * 2),  # the client's coin decides who attacks
        (BINOMIAL, "replace_one", [COHORT] * 2),
        (FIXED_SIZE, "replace_one", [COHORT] * 2),
        (FIXED_SIZE, "zero_out", [None] * 2),  # charged as if everybody knew the cohort
    ],
)
def test_amplification_does_not_hold_where_who_came_decides_who_attacks(small, sampler, relation, expected):
    """Amplified are two clients that differ only where they come; else what attackers do must be the same."""
    role = RoleSpec(PluginSpec("sign_flip"), sampled=0.4)
    privacy = replace(GAUSSIAN, options={**GAUSSIAN.options, "relation": relation})
    assert reasons(attacked(small, privacy=privacy, sampler=sampler, roles=(role,), rounds=2)) == expected


COLLUDING = [
    (FIXED_SIZE, "fang_trim", "replace_one", [COHORT] * 2),
    (
        FIXED_SIZE,
        "neurotoxin",
        "replace_one",
        [COHORT] * 2,
    ),  # alone, but what it does follows from when it came
    (FIXED_SIZE, "sign_flip", "replace_one", [None] * 2),
    (FIXED_SIZE, "fang_trim", "zero_out", [None] * 2),
    (
        BINOMIAL,
        "fang_trim",
        "replace_one",
        [None] * 2,
    ),  # coins fall apart: attackers come alike with and without
]


@pytest.mark.parametrize(("sampler", "name", "relation", "expected"), COLLUDING)
def test_colluders_of_a_fixed_cohort_tell_who_is_missing(small, sampler, name, relation, expected):
    role = RoleSpec(PluginSpec(name, BLIND if name == "fang_trim" else {}), clients=ATTACKERS)
    privacy = replace(GAUSSIAN, options={**GAUSSIAN.options, "relation": relation})
    assert reasons(attacked(small, privacy=privacy, sampler=sampler, roles=(role,), rounds=2)) == expected


def test_a_client_in_an_attackers_place_moves_the_other_colluders(small):
    """Amplification in cohorts of fixed size allows for 2 C/m where one client comes in another's place."""
    run, moved = prepare(attacked(small, "fang_trim", BLIND)), 0.0
    updates = directions(run)

    def of(*cohort):
        return aggregate(run, updates.rows(torch.tensor(cohort)))

    for honest in range(5):
        moved = max(moved, float((of(5, 6, 7, 8, 9) - of(honest, 5, 7, 8, 9)).norm()))
    assert moved > 3


@pytest.mark.parametrize(("name", "options", "relation", "expected"), SAMPLED)
def test_attackers_drawn_anew_from_each_cohort(small, name, options, relation, expected):
    role = RoleSpec(PluginSpec(name, options), sampled=0.4)
    privacy = replace(GAUSSIAN, options={**GAUSSIAN.options, "relation": relation})
    assert reasons(attacked(small, privacy=privacy, roles=(role,), rounds=2)) == expected


def test_one_client_less_draws_other_attackers(small):
    """Sign flippers are 40 % of who came: without one client others flip, so more than its row moves."""
    run = prepare(attacked(small, roles=()))
    updates, flip = directions(run), RoleSpec(PluginSpec("sign_flip"), sampled=0.4)

    def of(cohort):
        _, attacks = assign((flip,), CLIENTS, run.plan.seed, lambda round_: cohort)
        plan, first = replace(run.plan, attacks=attacks), replace(run.first, attacks=({},))
        return aggregate(replace(run, plan=plan, first=first), updates.rows(torch.tensor(cohort)))

    everybody = list(range(CLIENTS))
    moved = [float((of(everybody) - of([i for i in everybody if i != left])).norm()) for left in everybody]
    assert max(moved) > 2


def test_the_guard_foresees_what_attackers_will_see(small):
    role = RoleSpec(PluginSpec("ipm"), clients=ATTACKERS, start_round=1)
    run = prepare(attacked(small, roles=(role,)))
    assert projected(run.plan, run.first).reason is None
    state, outcome = run_round(run.plan, run.first, run.serial_pool())
    assert outcome.epsilon.reason is None
    assert projected(run.plan, state).reason == UPDATES
