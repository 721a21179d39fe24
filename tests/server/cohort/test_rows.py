"""Who stands in the rows that a defense sees. Oracles: counts by hand; what the defense itself says."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from gauntlet.core.contracts import Verdict
from gauntlet.core.errors import ScenarioError
from gauntlet.core.updates import Updates
from gauntlet.server.round import run_round
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec


def spec(name, **options):
    return PluginSpec(name, options)


PAIRS = spec("bucketing", bucket_size=2)
SINGLES = spec("bucketing", bucket_size=1)


@dataclass(frozen=True)
class Talkative:
    """The mean of the rows, and a word about everybody in them."""

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        ids, share = updates.client_ids.tolist(), 1 / len(updates)
        return Verdict(
            updates.vectors.mean(dim=0),
            torch.full((len(ids),), share),
            flags=dict.fromkeys(ids, "malicious"),
            scores=dict.fromkeys(ids, 1.0),
            details={i: {"seen": 1.0} for i in ids},
        ), None


def verdict_behind(small, *pre_aggregations: PluginSpec) -> Verdict:
    talkative = PluginSpec(f"{__file__}:Talkative")
    run = prepare(small(defense=talkative, pre_aggregations=pre_aggregations))
    return run_round(run.plan, run.first, run.serial_pool())[1].verdict


def said(verdict: Verdict) -> tuple[list[int], list[int], list[int]]:
    return list(verdict.flags), list(verdict.scores), list(verdict.details)


def test_behind_bucketing_nothing_is_said_of_any_client(small):
    """Eight clients in four buckets: each of the four ids was lent to two clients' mean."""
    verdict = verdict_behind(small, PAIRS)
    assert said(verdict) == ([], [], [])
    assert verdict.weights is None
    assert bool(verdict.aggregate.any())


def test_behind_mixing_a_row_is_still_its_clients_but_a_weight_is_nobodys(small):
    verdict = verdict_behind(small, spec("nnm", num_byzantine=2))
    assert said(verdict) == (list(range(8)),) * 3
    assert verdict.weights is None


@pytest.mark.parametrize("plugins", [(), (spec("clipping"),), (spec("arc", num_byzantine=2),)])
def test_where_rows_are_the_clients_own_everything_is_recorded(small, plugins):
    verdict = verdict_behind(small, *plugins)
    assert said(verdict) == (list(range(8)),) * 3
    assert verdict.weights.tolist() == [1 / 8] * 8


MEMORIES = [
    spec("mud_hog"),
    spec("foolsgold"),
    spec("fldetector"),
    spec("flanders", num_byzantine=1),
]


@pytest.mark.parametrize("defense", MEMORIES, ids=lambda d: d.name)
def test_who_remembers_clients_is_refused_behind_groups_of_them(small, defense):
    words = rf"defense '{defense.name}' remembers single clients, and behind .* 'bucketing bucket_size=2'"
    with pytest.raises(ScenarioError, match=words):
        prepare(small(defense=defense, pre_aggregations=(spec("clipping"), PAIRS)))


@pytest.mark.parametrize(
    ("defense", "before"),
    [
        *((defense, spec("nnm", num_byzantine=2)) for defense in MEMORIES),
        (spec("foolsgold", history=False), PAIRS),
        (spec("mud_hog"), SINGLES),
        (spec("median"), PAIRS),
    ],
    ids=str,
)
def test_whoever_sees_its_clients_or_remembers_none_is_let_through(small, defense, before):
    prepare(small(defense=defense, pre_aggregations=(before,)))


THREE = spec("fixed_size", cohort_size=3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (  # 2 f + 3
            {"defense": spec("krum", num_byzantine=3)},
            r"defense 'krum num_byzantine=3' needs 9 rows or more, got a cohort of 8; .* set on_infeasible",
        ),
        ({"defense": spec("trimmed_mean", num_byzantine=4)}, "needs 9 rows or more, got a cohort of 8"),
        ({"defense": spec("mda", num_byzantine=2), "sampler": THREE}, "needs 5 .* a cohort of 3"),
        ({"defense": spec("rlr", threshold=4), "sampler": THREE}, "needs 4 .* a cohort of 3"),
        ({"defense": spec("rlr", threshold=5), "sampler": spec("round_robin", period=2)}, "needs 5 .* of 4"),
        (
            {"defense": spec("krum", num_byzantine=1), "pre_aggregations": (PAIRS,)},
            "needs 5 rows or more, got a cohort of 8, of which pre-aggregation leaves 4 rows; ",
        ),
        (
            {"defense": spec("krum", num_byzantine=3), "network": spec("links", dropout=0.5)},
            "got a cohort of 8",
        ),
        ({"pre_aggregations": (spec("nnm", num_byzantine=8),)}, "'nnm num_byzantine=8' needs 9 rows or more"),
        ({"pre_aggregations": (spec("arc", num_byzantine=8),)}, r"'arc num_byzantine=8' needs 9 .* cohort$"),
        (
            {"pre_aggregations": (PAIRS, spec("nnm", num_byzantine=4))},
            "needs 5 rows or more, .* leaves 4 rows",
        ),
    ],
)
def test_a_rule_for_which_every_cohort_is_too_small_is_refused(small, changes, words):
    with pytest.raises(ScenarioError, match=words):
        prepare(small(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"defense": spec("krum", num_byzantine=2)},
        {"defense": spec("krum", num_byzantine=3, on_infeasible="mean")},
        {"defense": spec("krum", num_byzantine=3, preset="mudhog_repo")},
        {"defense": spec("mda", num_byzantine=3)},
        {"defense": spec("mda", num_byzantine=4, on_infeasible="median")},
        {"defense": spec("rlr", threshold=8)},
        {"defense": spec("krum", num_byzantine=0), "pre_aggregations": (PAIRS,)},
        {"pre_aggregations": (spec("nnm", num_byzantine=7),)},
    ],
    ids=lambda changes: " ".join(map(str, changes.values())),
)
def test_what_can_run_does(small, changes):
    run = prepare(small(rounds=1, **changes))
    (step,) = run.steps(run.serial_pool())
    assert bool(step.state.params.isfinite().all())


def test_a_cohort_whose_size_is_left_to_chance_is_not_judged_beforehand(small):
    poisson: dict[str, Any] = {"sampler": spec("poisson", sample_rate=0.5)}
    prepare(small(defense=spec("krum", num_byzantine=3), **poisson))


def test_a_plug_in_from_outside_says_itself_how_many_rows_it_leaves(small):
    """By hand: half of eight rows are too few for a rule that needs five."""
    halves = PluginSpec(f"{__file__}:FirstHalf")
    prepare(small(defense=spec("rlr", threshold=4), pre_aggregations=(halves,)))
    with pytest.raises(ScenarioError, match=r"needs 5 rows or more, .* leaves 4 rows"):
        prepare(small(defense=spec("rlr", threshold=5), pre_aggregations=(halves,)))


@dataclass(frozen=True)
class FirstHalf:
    """The first half of the clients."""

    def rows_after(self, rows: int) -> int:
        return rows // 2

    def init(self) -> None:
        return None

    def transform(self, updates: Updates, state: None) -> tuple[Updates, None]:
        return updates.rows(torch.arange(self.rows_after(len(updates)))), None
