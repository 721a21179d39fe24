"""Cohorts that chance makes too small for a rule. Oracles: the round's count of who arrived; hand cases."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from gauntlet.core.contracts import Verdict
from gauntlet.core.errors import InfeasibleCohort, PluginError, ScenarioError
from gauntlet.core.updates import Updates
from gauntlet.server.defending.decision import decide
from gauntlet.server.round import run_round
from gauntlet.server.simulation import Step, prepare
from gauntlet.server.spec import PluginSpec, RoleSpec
from gauntlet.sims.records import rows


def spec(name, **options):
    return PluginSpec(name, options)


HALF_LOST = spec("links", dropout=0.5)
ALL_LOST = spec("links", dropout=0.999999)
RULES = [  # of eight clients each could judge a full cohort
    (spec("krum", num_byzantine=2), ()),
    (spec("krum", num_byzantine=3, on_infeasible="compute"), ()),
    (spec("multi_krum", num_byzantine=2), ()),
    (spec("bulyan", num_byzantine=1), ()),
    (spec("trimmed_mean", num_byzantine=3), ()),
    (spec("meamed", num_byzantine=3), ()),
    (spec("mda", num_byzantine=3), ()),
    (spec("monna", num_byzantine=3), ()),
    (spec("caf", num_byzantine=3), ()),
    (spec("rlr", threshold=7), ()),
    (spec("dnc", num_byzantine=6), ()),
    (spec("flanders", num_byzantine=6), ()),
    (spec("median"), (spec("nnm", num_byzantine=6),)),
    (spec("median"), (spec("arc", num_byzantine=6),)),
    (spec("trimmed_mean", num_byzantine=1), (spec("bucketing", bucket_size=2),)),
    (spec("krum", num_byzantine=1), (spec("bucketing", bucket_size=1), spec("nnm", num_byzantine=1))),
]


def run(scenario, rounds=6):
    """Run some rounds; return the simulation, the states, and the outcomes."""
    simulation = prepare(replace(scenario, rounds=rounds))
    pool, states, outcomes = simulation.serial_pool(), [simulation.first], []
    for _ in range(rounds):
        state, outcome = run_round(simulation.plan, states[-1], pool)
        states.append(state)
        outcomes.append(outcome)
    return simulation, states, outcomes


@pytest.mark.parametrize(("defense", "before"), RULES, ids=str)
def test_a_round_that_brings_too_few_leaves_the_model_and_says_so(small, defense, before):
    """Half of all messages are lost: some rounds are too small for each of these rules, and no run ends."""
    simulation, states, outcomes = run(small(defense=defense, pre_aggregations=before, network=HALF_LOST))

    fallen = [bool(outcome.verdict.fallback) for outcome in outcomes]
    stayed = [torch.equal(a.params, b.params) for a, b in pairwise(states)]
    assert any(fallen)
    assert fallen == stayed
    for outcome, state in zip(outcomes, states[1:], strict=True):
        row, _ = rows(simulation.plan, Step(state, outcome, None, 0.1))
        assert row["fallback"] == (outcome.verdict.fallback or None)
        assert not row["fallback"] or row["fallback"].endswith(": the model stays as it was")
    (warning,) = simulation.warnings()[-1:]
    assert "in such a round the model stays as it was" in warning


@pytest.mark.parametrize(
    ("defense", "before"), [*RULES, (spec("mud_hog"), ()), (spec("fltrust"), ())], ids=str
)
def test_rounds_in_which_nobody_arrives_leave_the_model(small, defense, before):
    _, states, outcomes = run(
        small(defense=defense, pre_aggregations=before, network=ALL_LOST, root_examples=20), rounds=2
    )
    assert [len(outcome.received) for outcome in outcomes] == [0, 0]
    assert {outcome.verdict.fallback for outcome in outcomes} == {
        "no update can be counted: the model stays as it was"
    }
    assert torch.equal(states[0].params, states[-1].params)


@pytest.mark.parametrize("instead", ["mean", "median"])
def test_a_fallback_that_is_declared_is_taken_and_noted(small, instead):
    """By hand: the aggregate is numpy's mean, or median, of what arrived."""
    krum = spec("krum", num_byzantine=2, on_infeasible=instead)
    simulation, _, outcomes = run(small(defense=krum, network=HALF_LOST))
    assert simulation.warnings() == []
    fallen = [outcome for outcome in outcomes if 0 < len(outcome.received) < 7]
    assert fallen
    for outcome in fallen:
        vectors = outcome.received.vectors.double().numpy()
        expected = getattr(np, instead)(vectors, axis=0)
        torch.testing.assert_close(outcome.verdict.aggregate, torch.from_numpy(expected).float())
        assert outcome.verdict.fallback == (
            f"Krum against 2 malicious clients needs a cohort of 7 or more, got {len(vectors)}: "
            f"the {instead} instead"
        )


def test_refused_messages_make_a_cohort_too_small_as_well(small):
    """Two of eight send NaN: six are left, and Krum against 2 needs seven."""
    liars = (RoleSpec(PluginSpec("non_finite"), clients=(0, 5)),)
    simulation, _, outcomes = run(small(defense=spec("krum", num_byzantine=2), roles=liars), rounds=1)
    assert "needs 7 rows or more, got 6: the model stays" in outcomes[0].verdict.fallback
    assert "(what attackers send is refused)" in simulation.warnings()[0]


def test_the_trusted_client_may_be_the_one_that_is_lost(small):
    _, states, outcomes = run(small(defense=spec("monna", num_byzantine=0), network=HALF_LOST))
    for outcome, (state, after) in zip(outcomes, pairwise(states), strict=True):
        trusted = 0 in outcome.received.client_ids.tolist()
        assert trusted != torch.equal(state.params, after.params)
        assert trusted == (outcome.verdict.fallback == "")
    with pytest.raises(ScenarioError, match="needs client 8 in every round; allowed: 0 to 7"):
        prepare(small(defense=spec("monna", num_byzantine=0, trusted_client=8)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": HALF_LOST}, "messages may not arrive"),
        ({"network": spec("links", policy="deadline", deadline_seconds=1.0)}, "messages may not arrive"),
        ({"sampler": spec("poisson", sample_rate=0.9)}, "cohorts are drawn at random"),
        ({"network": spec("links", latency_seconds=1.0)}, None),
        ({"sampler": spec("fixed_size", cohort_size=7)}, None),
        ({"num_clients": 200, "sampler": spec("poisson", sample_rate=0.9)}, None),  # 7 of 180: 1e-180
    ],
)
def test_a_run_says_beforehand_whether_it_can_happen(small, changes, words):
    warnings = prepare(small(defense=spec("krum", num_byzantine=2), **changes)).warnings()
    assert [f"'krum num_byzantine=2' needs 7 clients in a round, and fewer may come ({words})" in w
            for w in warnings] == ([True] if words else [])  # fmt: skip


def test_behind_buckets_the_warning_counts_clients(small):
    """By hand: 3 rows are what 5 clients make, in buckets of two."""
    scenario = small(
        defense=spec("trimmed_mean", num_byzantine=1),
        pre_aggregations=(spec("bucketing", bucket_size=2),),
        network=HALF_LOST,
    )
    (warning,) = prepare(scenario).warnings()
    assert "needs 5 clients in a round" in warning


@dataclass(frozen=True)
class Outsider:
    """The mean of six clients or more, and its own opinion of fewer."""

    error: str = "ValueError"
    says: bool = False

    @property
    def least_cohort(self) -> int:
        return 6 if self.says else 1

    def init(self) -> int:
        return 0

    def aggregate(self, updates: Updates, state: int) -> tuple[Verdict, int]:
        if len(updates) < 6:
            kinds: dict[str, Any] = {"ValueError": ValueError, "Infeasible": InfeasibleCohort}
            raise kinds.get(self.error, RuntimeError)("I want six")
        return Verdict(updates.vectors.mean(dim=0)), state + 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"error": "ValueError"}, "raised ValueError: I want six"),
        ({"error": "Infeasible"}, "I want six"),
        ({"error": "RuntimeError", "says": True}, "Outsider needs 6 rows or more, got"),
    ],
)
def test_a_rule_from_outside_may_refuse_small_cohorts_in_its_own_way(small, options, words):
    outsider = PluginSpec(f"{__file__}:Outsider", options)
    _, states, outcomes = run(small(defense=outsider, network=HALF_LOST))
    fallen = [outcome.verdict.fallback for outcome in outcomes]
    assert any(words in reason for reason in fallen)
    assert states[-1].defense == fallen.count("")


def test_a_rule_that_fails_otherwise_or_on_a_whole_cohort_still_ends_the_run(small):
    with pytest.raises(PluginError, match="raised RuntimeError: I want six"):
        run(small(defense=PluginSpec(f"{__file__}:Outsider", {"error": "RuntimeError"}), network=HALF_LOST))
    five = small(num_clients=5, defense=PluginSpec(f"{__file__}:Outsider"))
    with pytest.raises(PluginError, match="raised ValueError: I want six"):
        run(five, rounds=1)


@dataclass(frozen=True)
class Spoils:
    """Passes a cohort on, one of its rows made infinite."""

    def init(self) -> None:
        return None

    def transform(self, updates: Updates, state: None) -> tuple[Updates, None]:
        return updates.with_vectors(updates.vectors.index_fill(0, torch.tensor(0), torch.inf)), state


@pytest.mark.parametrize("defense", [spec("mean"), spec("krum", num_byzantine=1), spec("median")], ids=str)
def test_a_pre_aggregation_that_spoils_rows_is_named_and_not_the_rule_behind_it(small, defense):
    """Also where the rule behind it would have left the row out."""
    spoils = (spec("clipping", clip_norm=1.0), PluginSpec(f"{__file__}:Spoils"))
    with pytest.raises(PluginError, match=r"^pre-aggregation Spoils: transform returned NaN or infinity"):
        run(small(defense=defense, pre_aggregations=spoils), rounds=1)


def test_an_attack_that_asks_the_server_is_told_the_same(small):
    """Three of eight ask what Krum against 2 makes of a cohort; some Poisson cohorts are below seven."""
    attack = (RoleSpec(PluginSpec("opt_alie"), clients=(0, 1, 2)),)
    scenario = small(
        defense=spec("krum", num_byzantine=2), roles=attack, sampler=spec("poisson", sample_rate=0.6)
    )
    _, _, outcomes = run(scenario)
    assert any(outcome.verdict.fallback for outcome in outcomes)


def test_what_rules_remember_stays_where_one_of_them_cannot_judge(small):
    """Bucketing counts its rounds, and the defense behind it wants more rows than it gets."""
    simulation = prepare(
        small(pre_aggregations=(spec("bucketing", bucket_size=1),), defense=spec("krum", num_byzantine=2))
    )
    few = Updates(torch.ones(4, 3), torch.arange(4), torch.ones(4, dtype=torch.int64))
    decision = decide(simulation.plan, few, (41,), None)
    assert (decision.pre_aggregations, decision.defense) == ((41,), None)
    assert not bool(decision.verdict.aggregate.any())
