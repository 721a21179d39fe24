"""From a finished round to rows: flags against the truth, by hand."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from gauntlet.core.contracts import Verdict
from gauntlet.server.round import run_round
from gauntlet.server.simulation import Step, prepare
from gauntlet.sims.records import rows

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
