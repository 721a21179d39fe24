"""What an attacker sees in a round, by what it declares to know."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from gauntlet.core.contracts import UpdateKnowledge
from gauntlet.core.roles import Role
from gauntlet.server.round import run_round
from gauntlet.server.simulation import prepare


@dataclass(frozen=True)
class Spy:
    """Writes down what it is shown."""

    seen: list
    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN

    def init(self):
        return 0

    def corrupt(self, own, view, state):
        self.seen.append((own.client_ids.tolist(), view.honest, state))
        return own.with_vectors(own.vectors + 1), state + 1


@dataclass(frozen=True)
class ColludingSpy(Spy):
    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.COLLUDERS


@dataclass(frozen=True)
class OmniscientSpy(Spy):
    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OMNISCIENT


def spied(small, kind: type[Spy], others: tuple[int, ...] = ()):
    from dataclasses import replace

    simulation = prepare(small())
    roles = (Role("spy", kind([]), (2, 5)), Role("other", Spy([]), others))
    first = replace(simulation.first, attacks=({} if kind is Spy else 0, {}))
    plan = replace(simulation.plan, attacks=roles)
    state, outcome = run_round(plan, first, simulation.serial_pool())
    state, _ = run_round(plan, state, simulation.serial_pool())
    return roles[0].attack.seen, state, outcome


def test_own_knowledge_is_one_client_at_a_time_with_its_own_memory(small):
    seen, state, _ = spied(small, Spy)

    assert seen == [([2], None, 0), ([5], None, 0), ([2], None, 1), ([5], None, 1)]
    assert state.attacks[0] == {2: 2, 5: 2}


def test_colluders_see_each_other_and_nobody_else(small):
    seen, state, _ = spied(small, ColludingSpy)

    assert seen == [([2, 5], None, 0), ([2, 5], None, 1)]
    assert state.attacks[0] == 2


def test_the_omniscient_see_the_honest_updates_and_not_what_other_attackers_make_of_theirs(small):
    seen, _, outcome = spied(small, OmniscientSpy, others=(0,))
    _, honest, _ = seen[0]

    assert honest.client_ids.tolist() == [1, 3, 4, 6, 7]
    assert torch.equal(honest.vectors, outcome.honest.vectors[[1, 3, 4, 6, 7]])


def test_only_the_attackers_rows_change(small):
    _, _, outcome = spied(small, ColludingSpy)
    difference = outcome.sent.vectors - outcome.honest.vectors

    assert np.flatnonzero(difference.abs().sum(dim=1).numpy()).tolist() == [2, 5]
    assert torch.allclose(difference[[2, 5]], torch.ones(2, 610), atol=1e-6)
