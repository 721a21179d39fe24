"""What attackers see reaches the accountant: no epsilon where a client moves more than its own message.

A printed epsilon assumes that removing one honest client moves the aggregate by at most C/m, and exchanging
it for another by at most 2C/m (C the clip norm, m the expected cohort). The measurements here take every
built-in attack through the code of a round that corrupts, clips and averages.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch

from gauntlet.attacks.poisoning import UPDATE_ATTACKS
from gauntlet.core.contracts import NoGuarantee, Release, UpdateKnowledge, Verdict
from gauntlet.core.roles import Role
from gauntlet.core.updates import Context, Updates
from gauntlet.server.corruption import corrupt
from gauntlet.server.guard import projected
from gauntlet.server.ingredients import sample_cohort
from gauntlet.server.release import release_of
from gauntlet.server.roles import assign
from gauntlet.server.round import run_round
from gauntlet.server.sight import COHORT, UPDATES, exposed
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

C, CLIENTS, ATTACKERS = 0.5, 10, (6, 7, 8, 9)
FIXED = PluginSpec("mean", {"weighting": "fixed"})
GAUSSIAN = PluginSpec("gaussian", {"clip_norm": C, "noise_multiplier": 2.0, "delta": 1e-3})
POISSON = PluginSpec("poisson", {"sample_rate": 0.9})
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


def attacked(small, name="mimic", options=None, privacy=GAUSSIAN, **changes):
    role = RoleSpec(PluginSpec(name, options or {}), clients=ATTACKERS)
    settings = {"num_clients": CLIENTS, "privacy": privacy, "defense": FIXED, "roles": (role,), **changes}
    return small(**settings)


def directions(run) -> Updates:
    """Return ten updates of norm C in random directions: what clipping lets out of the clients."""
    stream = torch.Generator().manual_seed(3)
    rows = torch.randn(CLIENTS, run.plan.layout.num_parameters, generator=stream)
    rows *= (C / rows.norm(dim=1))[:, None]
    context = Context(0, run.first.params, run.plan.layout, run.plan.seed)
    size = run.plan.sampling.expected_size
    return Updates(rows, torch.arange(CLIENTS), torch.full((CLIENTS,), 20), size, context=context)


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


def released(run, round_=0, cohort=range(CLIENTS)):
    return release_of(run.plan, run.first.privacy, round_, cohort)


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
    turns = PluginSpec("round_robin", {"period": 2})
    plan = prepare(attacked(small, sampler=turns, roles=())).plan
    second = sample_cohort(plan.sampler, plan.sampling, plan.seed, 1).tolist()
    role = RoleSpec(PluginSpec("ipm"), clients=tuple(second[:2]))
    assert reasons(attacked(small, sampler=turns, roles=(role,), rounds=2)) == [None, UPDATES]


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


@dataclass(frozen=True)
class Outsider:
    """An attack from outside the tree: it looks at what it may, and may ask the server's rule."""

    knowledge: UpdateKnowledge = UpdateKnowledge.OMNISCIENT
    knows_defense: bool = False

    def init(self):
        return None

    def corrupt(self, own, view, state):
        answer = view.aggregate(own).aggregate if self.knows_defense else None
        return (own if answer is None else own.with_vectors(answer.expand_as(own.vectors).clone())), state


@dataclass(frozen=True)
class Remembering:
    """A fixed mean with momentum: it claims a bound, and keeps what clients sent."""

    momentum: float = 0.9
    linear: ClassVar[bool] = True

    def init(self):
        return {"sum": torch.zeros(1)}

    def aggregate(self, updates, state):
        total = self.momentum * state["sum"] + updates.vectors.sum(dim=0) / updates.expected_size
        return Verdict(total), {"sum": total}

    def sensitivity(self, clip_norm, expected_size):
        return clip_norm / expected_size


def outside(small, attack, **changes):
    run = prepare(attacked(small, roles=(), **changes))
    roles = (Role("outsider", attack, ATTACKERS),) if attack else ()
    first = replace(run.first, attacks=(None,) * len(roles))
    return replace(run, plan=replace(run.plan, attacks=roles), first=first)


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        (Outsider(), NoGuarantee(UPDATES)),
        (Outsider(knows_defense=True), NoGuarantee(UPDATES)),
        (Outsider(UpdateKnowledge.COLLUDERS), None),
        (
            Outsider(UpdateKnowledge.COLLUDERS, knows_defense=True),
            None,
        ),  # a rule without memory tells nothing
        (Outsider(UpdateKnowledge.OWN), None),
    ],
)
def test_a_plug_in_from_outside_the_tree_is_judged_by_what_it_declares(small, attack, expected):
    found = released(outside(small, attack), round_=3)
    assert found == expected or (expected is None and isinstance(found, Release))


def test_whoever_asks_a_rule_with_a_memory_sees_what_it_remembers(small):
    """In round 0 the memory is empty; and a rule that remembers clients bounds nothing by itself."""
    run = outside(small, Outsider(UpdateKnowledge.COLLUDERS, knows_defense=True))
    smoothed = replace(run, plan=replace(run.plan, pre_aggregations=(Remembering(),)))
    assert exposed(smoothed.plan, 0, range(CLIENTS), "add_remove") is None
    assert exposed(smoothed.plan, 1, range(CLIENTS), "add_remove") == UPDATES
    remembering = replace(run.plan, defense=Remembering(), attacks=())
    found = release_of(remembering, run.first.privacy, 0, range(CLIENTS))
    assert isinstance(found, NoGuarantee)


@dataclass(frozen=True)
class Shares:
    """A mechanism from outside whose noise the clients bring along, as ``skellam``."""

    relation: str
    amplified: bool
    unit: ClassVar[str] = "client"
    trust_model: ClassVar[str] = "distributed"

    def event(self, sensitivity, expected_size, state):
        return Release(2.0, self.relation, self.amplified)


@pytest.mark.parametrize(
    ("relation", "amplified", "holds"),
    [("zero_out", False, True), ("add_remove", False, False), ("zero_out", True, False)],
)
def test_noise_that_clients_bring_along_does_not_hide_who_came(small, relation, amplified, holds):
    """A client that stays away takes its share of the noise along: another size of the noise, told apart."""
    run = outside(small, None, sampler=POISSON)
    found = released(replace(run, plan=replace(run.plan, privacy=Shares(relation, amplified))))
    assert isinstance(found, Release) if holds else found == NoGuarantee("distributed_shares")


@dataclass(frozen=True)
class Residual:
    """A codec that remembers what it left out, as error feedback does."""

    codec: Any

    def init(self):
        return {}


def test_messages_that_follow_from_a_clients_earlier_rounds_are_not_amplified(small):
    run = outside(small, None, sampler=POISSON)
    run = replace(run, plan=replace(run.plan, codec=Residual(run.plan.codec)))
    assert released(run) == NoGuarantee("client_memory")


def test_the_guard_foresees_what_attackers_will_see(small):
    role = RoleSpec(PluginSpec("ipm"), clients=ATTACKERS, start_round=1)
    run = prepare(attacked(small, roles=(role,)))
    assert projected(run.plan, run.first).reason is None
    state, outcome = run_round(run.plan, run.first, run.serial_pool())
    assert outcome.epsilon.reason is None
    assert projected(run.plan, state).reason == UPDATES


def test_an_attack_that_sees_nothing_of_others_is_not_told_who_came(small):
    """Of nine clients that came the expected size, 10 * 0.9 = 9, is announced; ten came in truth."""
    sizes = []

    @dataclass(frozen=True)
    class Counting:
        knowledge: UpdateKnowledge

        def init(self):
            return None

        def corrupt(self, own, view, state):
            sizes.append(view.cohort_size)
            return own, state

    for knowledge in (UpdateKnowledge.COLLUDERS, UpdateKnowledge.OMNISCIENT):
        run = outside(small, Counting(knowledge), sampler=POISSON)
        corrupt(run.plan, directions(run), run.first)
    assert sizes == [9, 10]
