"""What plug-ins from outside see of others reaches the accountant; mechanisms and codecs do, too."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from attacked_runs import ATTACKERS, CLIENTS, POISSON, attacked, directions, released

from gauntlet.core.contracts import NoGuarantee, Release, UpdateKnowledge, Verdict
from gauntlet.core.roles import Role
from gauntlet.server.guarantee.release import release_of
from gauntlet.server.guarantee.sight import UPDATES, exposed
from gauntlet.server.mail.corruption import corrupt
from gauntlet.server.simulation import prepare


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
