"""From a finished round to rows: flags against the truth, by hand."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from gauntlet.core.contracts import Verdict
from gauntlet.server.round import run_round
from gauntlet.server.scoring.evaluation import ClassScore, GoalScore, Score
from gauntlet.server.simulation import Step, prepare
from gauntlet.sims.records import rows
from gauntlet.sims.robustness import attack_rows, best_success, class_rows
from gauntlet.sims.scores import durability

NOBODY: dict[int, str] = {}


@dataclass(frozen=True)
class Accuser:
    """The mean, with flags that are given."""

    flags: dict[int, str]

    def init(self):
        return None

    def aggregate(self, updates, state):
        share = torch.full((len(updates),), 1 / len(updates))
        scores = {int(i): float(i) for i in updates.client_ids}
        return Verdict(updates.vectors.mean(dim=0), share, self.flags, scores), state


def first_round(scenario, flags):
    simulation = prepare(scenario.run_spec())
    plan = replace(simulation.plan, defense=Accuser(flags))
    state, outcome = run_round(plan, simulation.first, simulation.serial_pool())
    return rows(plan, Step(state, outcome, None, 0.1)), outcome


ATTACK = [{"name": "sign_flip", "clients": [1, 3]}]


@pytest.mark.parametrize(
    ("attacks", "flags", "expected", "precision", "recall"),
    [
        (ATTACK, {1: "sign_flip", 3: "malicious"}, (2, 0, 0, 4), 1.0, 1.0),
        (ATTACK, {1: "noise", 5: "noise"}, (1, 1, 1, 3), 0.5, 0.5),
        (ATTACK, {1: "noise", 5: "unreliable"}, (1, 0, 1, 4), 1.0, 0.5),
        (ATTACK, NOBODY, (0, 0, 2, 4), None, 0.0),
        ([], NOBODY, (0, 0, 0, 6), 1.0, 1.0),
        ([], {2: "noise"}, (0, 1, 0, 5), 0.0, 1.0),
        ([{"name": "non_finite", "clients": [4]}], NOBODY, (0, 0, 0, 5), 1.0, 1.0),
        ([{**ATTACK[0], "start_round": 1}], {1: "noise"}, (0, 1, 0, 5), 0.0, 1.0),
    ],
)
def test_flags_are_counted_against_who_really_attacks(tiny, attacks, flags, expected, precision, recall):
    """Six clients. Unreliable is honest, asleep is honest, and refused was never seen by the defense."""
    (row, _), _ = first_round(tiny(attacks=attacks), flags)
    names = ("true_positives", "false_positives", "false_negatives", "true_negatives")

    assert tuple(row[name] for name in names) == expected
    assert (row["precision"], row["recall"]) == (precision, recall)


def recorded_rounds(scenario, flags, rounds):
    """Return the rows of some rounds, flags given."""
    simulation = prepare(scenario.run_spec())
    plan, state = replace(simulation.plan, defense=Accuser(flags)), simulation.first
    pool = simulation.serial_pool()
    for _ in range(rounds):
        state, outcome = run_round(plan, state, pool)
        yield rows(plan, Step(state, outcome, None, 0.1))


def test_an_attacker_at_rest_is_neither_to_be_found_nor_a_false_alarm(tiny):
    """Of six clients 1 and 3 attack in rounds 1 and 3, not in 0 and 2; 1 and 5 are flagged in every round."""
    asleep_then_on_and_off = [{**ATTACK[0], "start_round": 1, "on_rounds": 1, "off_rounds": 1}]
    found = list(recorded_rounds(tiny(attacks=asleep_then_on_and_off), {1: "noise", 5: "noise"}, 4))
    names = ["flagged", "attacking", "ever_attacked", "resting_flagged"]
    names += ["true_positives", "false_positives", "false_negatives", "true_negatives"]

    table = [tuple(row[name] for name in names) for row, _ in found]
    assert table == [
        (2, 0, 0, 0, 0, 2, 0, 4),  # a sleeper has done nothing yet: flagging it is a false alarm
        (2, 2, 2, 0, 1, 1, 1, 3),
        (2, 0, 2, 1, 0, 1, 0, 3),  # 1 and 3 pause: 1 is flagged rightly, 3 need not be
        (2, 2, 2, 0, 1, 1, 1, 3),
    ]
    assert [row["precision"] for row, _ in found] == [0.0, 0.5, 0.5, 0.5]
    assert [row["recall"] for row, _ in found] == [1.0, 0.5, 1.0, 0.5]
    assert [row["false_positive_rate"] for row, _ in found] == [2 / 6, 1 / 4, 1 / 4, 1 / 4]
    clients = pa.concat_tables([table for _, table in found]).to_pandas()
    truths = clients.groupby("round")["truth"].apply(lambda kinds: kinds.tolist().count("sign_flip"))
    assert truths.tolist() == [0, 2, 0, 2]
    assert clients.groupby("round")["ever_attacked"].sum().tolist() == [0, 2, 2, 2]


def test_an_excluded_attacker_at_rest_is_no_excluded_honest_client(tiny):
    """By hand: of six clients 1 and 3 attacked in round 0 alone; krum keeps one of all in round 1."""
    scenario = tiny(attacks=[{**ATTACK[0], "stop_round": 1}], defense={"name": "krum", "num_byzantine": 1})
    simulation = prepare(scenario.run_spec())
    state, pool = simulation.first, simulation.serial_pool()
    for _ in range(2):
        state, outcome = run_round(simulation.plan, state, pool)
    row, _ = rows(simulation.plan, Step(state, outcome, None, 0.1))
    kept = outcome.received.client_ids[outcome.verdict.weights > 0].tolist()

    assert row["excluded_honest_share"] == 1 - sum(i not in (1, 3) for i in kept) / 4


def test_who_was_not_sampled_while_its_attack_was_on_has_not_attacked(tiny):
    """The attack is on in rounds 0 and 1; three of six clients come in each round."""
    sampler = {"name": "fixed_size", "cohort_size": 3}
    attacks = [{"name": "sign_flip", "clients": [0, 1, 2, 3], "stop_round": 2}]
    attacked: set[int] = set()
    for number, (_, table) in enumerate(recorded_rounds(tiny(sampler=sampler, attacks=attacks), NOBODY, 5)):
        clients = table.to_pydict()
        attacked |= {i for i in clients["client_id"] if number < 2 and i < 4}
        assert clients["ever_attacked"] == [i in attacked for i in clients["client_id"]]
    assert 0 < len(attacked) < 4  # else nothing was told apart


def test_a_clients_row_says_what_it_sent_and_what_became_of_it(tiny):
    attacks = [*ATTACK, {"name": "non_finite", "clients": [4]}]
    (row, table), outcome = first_round(tiny(attacks=attacks), {3: "sign_flip"})
    clients = table.to_pydict()

    assert clients["truth"] == ["honest", "sign_flip", "honest", "sign_flip", "non_finite", "honest"]
    assert clients["flag"] == [None, None, None, "sign_flip", None, None]
    assert clients["status"] == ["ok", "ok", "ok", "ok", "non_finite", "ok"]
    assert clients["weight"] == pytest.approx([0.2, 0.2, 0.2, 0.2, None, 0.2])
    assert clients["score"] == [0.0, 1.0, 2.0, 3.0, None, 5.0]
    norms = np.linalg.norm(outcome.sent.vectors[:4].double().numpy(), axis=1)
    assert clients["update_norm"][:4] == pytest.approx(norms)
    assert (row["cohort_size"], row["arrived"], row["rejected"]) == (6, 6, 1)


def test_a_loss_that_diverged_is_nan_and_not_missing(tiny):
    """A canary alone has no loss, and nobody is one here."""
    simulation = prepare(tiny().run_spec())
    state, outcome = run_round(simulation.plan, simulation.first, simulation.serial_pool())
    losses = outcome.losses.clone()
    losses[1] = torch.nan
    _, table = rows(simulation.plan, Step(state, replace(outcome, losses=losses), None, 0.1))

    assert table["train_loss"].null_count == table["raw_norm"].null_count == 0
    assert np.array_equal(table["train_loss"].to_numpy(), losses.double().numpy(), equal_nan=True)


POOR = [{"name": "unreliable", "clients": [0, 5], "kernel_size": 3}]


@pytest.mark.parametrize(
    ("flags", "alarms", "rate", "unreliable"),
    [
        ({0: "unreliable", 5: "unreliable"}, 0, 0.0, (2, 0, 0)),
        ({0: "malicious", 5: "unreliable"}, 1, 1 / 4, (1, 0, 1)),
        ({1: "sign_flip", 2: "unreliable"}, 0, 0.0, (0, 1, 2)),
    ],
)
def test_unreliable_clients_are_honest_and_a_column_of_their_own(tiny, flags, alarms, rate, unreliable):
    """Of six clients 1 and 3 attack, 0 and 5 are unreliable: malicious, said of 0, is a false alarm."""
    (row, table), _ = first_round(tiny(attacks=[*ATTACK, *POOR]), flags)

    assert table.to_pydict()["truth"] == [
        "unreliable",
        "sign_flip",
        "honest",
        "sign_flip",
        "honest",
        "unreliable",
    ]
    assert (row["false_positives"], row["false_positive_rate"]) == (alarms, rate)
    names = ("true_positives", "false_positives", "false_negatives")
    assert tuple(row[f"unreliable_{name}"] for name in names) == unreliable


def test_the_aggregate_is_compared_with_the_mean_of_the_honest(tiny):
    """By hand with numpy: clients 1 and 3 attack; the aggregate is the mean of all six."""
    (row, _), outcome = first_round(tiny(attacks=ATTACK), NOBODY)
    x = outcome.received.vectors.double().numpy()
    honest, aggregate = x[[0, 2, 4, 5]].mean(axis=0), x.mean(axis=0)
    cosine = honest @ aggregate / np.linalg.norm(honest) / np.linalg.norm(aggregate)

    assert row["aggregate_distance"] == pytest.approx(np.linalg.norm(aggregate - honest), rel=1e-5)
    assert row["aggregate_cosine"] == pytest.approx(cosine, rel=1e-5)
    assert row["excluded_honest_share"] == 0.0


def test_honest_clients_of_weight_zero_count_as_excluded(tiny):
    """By hand: of the honest 0, 2, 4 and 5, krum keeps one; the malicious 1 and 3 do not count."""
    simulation = prepare(tiny(attacks=ATTACK, defense={"name": "krum", "num_byzantine": 1}).run_spec())
    state, outcome = run_round(simulation.plan, simulation.first, simulation.serial_pool())
    row, _ = rows(simulation.plan, Step(state, outcome, None, 0.1))
    kept = outcome.received.client_ids[outcome.verdict.weights > 0].tolist()

    assert row["excluded_honest_share"] == 1 - sum(i not in (1, 3) for i in kept) / 4


@pytest.mark.parametrize("mixing", [{"name": "nnm", "num_byzantine": 1}, {"name": "bucketing"}])
def test_behind_mixed_clients_nobody_has_a_weight_and_nobody_is_excluded(tiny, mixing):
    """Krum keeps one row: a mean of five clients under NNM, and of two in a bucket."""
    krum = {"name": "krum", "num_byzantine": 0}
    simulation = prepare(tiny(attacks=ATTACK, pre_aggregations=[mixing], defense=krum).run_spec())
    state, outcome = run_round(simulation.plan, simulation.first, simulation.serial_pool())
    row, table = rows(simulation.plan, Step(state, outcome, None, 0.1))

    assert table.to_pydict()["weight"] == [None] * 6
    assert row["excluded_honest_share"] is None


def test_two_attacks_of_one_name_are_active_each_in_its_own_rounds(tiny):
    """The first label flip stops after round 0, the second starts in round 2; sign flips want no label."""
    flips = [
        {"name": "sign_flip", "count": 1},
        {"name": "label_flip", "count": 1, "stop_round": 1},
        {"name": "label_flip", "count": 1, "start_round": 2},
    ]
    plan = prepare(tiny(attacks=flips).run_spec()).plan
    score = Score(0.5, 1.0, goals=(GoalScore("label_flip", 4, 4, 0), GoalScore("label_flip", 4, 1, 3)))
    tables = [attack_rows(plan, round_, score) for round_ in range(4)]
    attacks = pa.concat_tables(tables).to_pandas()

    assert attacks.loc[attacks["number"] == 0, "active"].tolist() == [True, False, False, False]
    assert attacks.loc[attacks["number"] == 1, "active"].tolist() == [False, False, True, True]
    assert durability(attacks, threshold=2.0)["rounds"].iloc[0] == 1


def test_classes_and_attacks_have_tables_of_their_own(tiny):
    """By hand: one class is never predicted, one has no example; the attack sleeps until round 1."""
    score = Score(
        0.5,
        1.0,
        (ClassScore(4, 5, 2), ClassScore(3, 0, 0), ClassScore(0, 1, 0)),
        (GoalScore("label_flip", 4, 3, 1), GoalScore("pixel_backdoor", 0, 0, 0)),
    )
    starts = {"label_flip": 1, "pixel_backdoor": 2}
    roles = [{"name": name, "count": 1, "start_round": start} for name, start in starts.items()]
    plan = prepare(tiny(attacks=roles).run_spec()).plan
    classes, attacks = class_rows(1, score).to_pydict(), attack_rows(plan, 1, score).to_pydict()

    assert classes["class"] == [0, 1, 2]
    assert classes["recall"] == [0.5, 0.0, None]
    assert classes["precision"] == [0.4, None, 0.0]
    assert classes["f1"] == [pytest.approx(4 / 9), 0.0, 0.0]
    assert (attacks["success_rate"], attacks["recall"]) == ([0.75, None], [0.25, None])
    assert attacks["active"] == [True, False]
    assert attack_rows(plan, 0, score).to_pydict()["active"] == [False, False]
    assert (best_success(score), best_success(None)) == (0.75, None)
