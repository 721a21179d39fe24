"""Who attacks when and with which part: rhythms by hand, draws that follow the cohort, poor data."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.sign_flip import SignFlip
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.core.contracts import UpdateKnowledge
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.core.roles import Role
from gauntlet.core.seeds import generator
from gauntlet.server.assembly.training import make_kernel
from gauntlet.server.mail.corruption import corrupt
from gauntlet.server.round import run_round
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

FLIP = PluginSpec("sign_flip")


def rounds(limit: int = 12, **when) -> list[int]:
    role = Role("sign_flip", SignFlip(), (3, 5), **when)
    active = [t for t in range(limit) if role.active(t)]
    assert [t for t in range(limit) if role.attackers(t) == (3, 5)] == active
    assert all(role.attackers(t) == () for t in range(limit) if t not in active)
    return active


def test_each_rhythm_by_hand():
    assert rounds() == list(range(12))
    assert rounds(start_round=9) == [9, 10, 11]  # sleepers
    assert rounds(start_round=2, stop_round=5) == [2, 3, 4]
    assert rounds(start_round=1, every=4) == [1, 5, 9]
    assert rounds(on_rounds=2, off_rounds=3) == [0, 1, 5, 6, 10, 11]
    assert rounds(start_round=4, stop_round=9, on_rounds=1, off_rounds=2) == [4, 7]


def simulation(small, *roles: RoleSpec, **changes):
    return prepare(small(num_clients=30, roles=roles, **changes))


def drawn(run, limit: int) -> list[dict[int, str]]:
    return [dict(run.plan.kinds(t)) for t in range(limit)]


FIXED_SIZE = PluginSpec("fixed_size", {"cohort_size": 10})


def test_a_share_of_every_cohort_is_drawn_anew(small):
    """By hand: 0.25 of ten clients is two, rounded down; all of them in the cohort; everybody has a turn."""
    run = simulation(small, RoleSpec(FLIP, sampled=0.25), sampler=FIXED_SIZE)
    turns = Counter[int]()
    for t in range(200):
        cohort = run.plan.sampler.sample(30, generator(7, "sample", t))
        who = run.plan.kinds(t)
        assert len(who) == 2
        assert set(who) <= set(cohort.tolist())
        turns.update(who.keys())
    assert set(turns) == set(range(30))
    assert max(turns.values()) < 40  # 400 turns over 30 clients: 13.3 each


def test_draws_leave_fixed_attackers_and_each_other_alone(small):
    run = simulation(
        small,
        RoleSpec(PluginSpec("gaussian"), clients=(0, 1, 2)),
        RoleSpec(FLIP, sampled=0.5),
        RoleSpec(PluginSpec("zero"), sampled=0.5),
        sampler=FIXED_SIZE,
    )
    for t in range(50):
        first, second = (set(role.attackers(t)) for role in run.plan.attacks[1:])
        assert len(first) == 5
        assert not first & second
        assert not (first | second) & {0, 1, 2}


def test_draws_are_the_same_for_the_server_and_for_every_worker(small):
    """A worker builds its own roles from the spec: data attacks that are drawn anew must agree."""
    spec = small(
        num_clients=30,
        sampler=PluginSpec("poisson", {"sample_rate": 0.4}),
        roles=(RoleSpec(PluginSpec("label_flip_all", {"num_classes": 10}), sampled=0.3, start_round=1),),
    )
    run = prepare(spec)
    kernel = make_kernel(spec, run.data)
    for t in range(4):
        poisoned = {
            c for c in range(30) if kernel.examples(c, t)[1].tolist() != run.data.client(c)[1].tolist()
        }
        assert poisoned == set(run.plan.kinds(t))
        assert bool(poisoned) is (t > 0)


def test_only_the_drawn_clients_lie(small):
    run = simulation(small, RoleSpec(FLIP, sampled=0.25), sampler=FIXED_SIZE)
    state = run.first
    for t in range(3):
        state, outcome = run_round(run.plan, state, run.serial_pool())
        honest = (outcome.sent.vectors == outcome.honest.vectors).all(dim=1)
        assert set(outcome.sent.client_ids[~honest].tolist()) == set(run.plan.kinds(t))


def test_an_attack_on_updates_follows_one_on_data_at_the_same_clients(small):
    """Label flips, then twice the update that they gave, in the rounds of the role."""
    flip = PluginSpec("label_flip_all", {"num_classes": 10})
    boosted = RoleSpec(
        flip, clients=(4,), start_round=1, update=PluginSpec("model_replacement", {"scale": 2.0})
    )
    run = simulation(small, boosted)
    plain = simulation(small, replace(boosted, update=None))
    state = run.first
    for t in range(2):
        _, expected = run_round(plain.plan, state, plain.serial_pool())
        state, outcome = run_round(run.plan, state, run.serial_pool())
        factor = 1.0 if t == 0 else 2.0
        np.testing.assert_array_equal(outcome.sent.vectors[4], factor * expected.sent.vectors[4])
        assert dict(run.plan.kinds(t)) == ({} if t == 0 else {4: "label_flip_all+model_replacement"})


@pytest.mark.parametrize(
    ("roles", "complaint"),
    [
        ((RoleSpec(FLIP, sampled=0.6), RoleSpec(FLIP, sampled=0.5)), "sampled shares of a cohort sum to 1.1"),
        ((RoleSpec(FLIP, count=1, update=PluginSpec("zero")),), "update needs an attack on data"),
        ((RoleSpec(PluginSpec("label_flip"), count=1, update=PluginSpec("label_flip")),), "and names one on"),
    ],
)
def test_roles_that_cannot_be_are_refused(small, roles, complaint):
    with pytest.raises(ScenarioError, match=complaint):
        prepare(small(roles=roles))


SIGN = FLIP
POOR = PluginSpec("unreliable", {"kernel_size": 3})


@dataclass(frozen=True)
class Numbered:
    """Tells its place among the attackers as a label."""

    label: int = -1

    def part(self, index, count):
        return Numbered(10 * count + index)

    def poison(self, x, y, generator):
        if self.label == 32:
            raise RuntimeError("no idea")
        return x, torch.full_like(y, self.label)


def test_an_attacker_runs_its_own_part_and_its_errors_name_the_attack():
    role = Role("numbered", Numbered(), (3, 5, 9))
    x, y = torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64)

    assert [role.of(c, 0).poison(x, y, None)[1].item() for c in (3, 5)] == [30, 31]
    with pytest.raises(PluginError, match="attack 'numbered' raised RuntimeError: no idea"):
        role.of(9, 0).poison(x, y, None)


def test_the_kernel_trains_each_dba_attacker_on_its_own_line(small):
    """Oracle: the pixels that differ from the client's own examples. Size 3 on 8 x 8: columns 0-2 and 5-7."""
    dba = PluginSpec("dba", {"trigger_size": 3, "fraction": 1.0, "value": 0.53})
    simulation = prepare(small(roles=(RoleSpec(dba, clients=(1, 2, 5, 6)),)))
    changed = []
    for client in (1, 2, 5, 6, 0):
        x, _ = simulation.kernel.examples(client, 0)
        differs = (x != simulation.data.client(client)[0]).any(dim=0)[0]
        changed.append([tuple(pixel) for pixel in differs.nonzero().tolist()])

    assert changed == [
        [(0, 0), (0, 1), (0, 2)],
        [(0, 5), (0, 6), (0, 7)],
        [(3, 0), (3, 1), (3, 2)],
        [(3, 5), (3, 6), (3, 7)],
        [],
    ]


def test_unreliable_clients_are_a_kind_of_their_own_and_not_malicious(small):
    plan = prepare(small(roles=(RoleSpec(POOR, clients=(1, 4)), RoleSpec(SIGN, clients=(2,))))).plan

    assert plan.kinds(0) == {1: "unreliable", 4: "unreliable", 2: "sign_flip"}
    assert plan.malicious(0) == {2}


@dataclass(frozen=True)
class Listening:
    """Omniscient: keeps what it is shown."""

    seen: list
    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OMNISCIENT

    def init(self):
        return None

    def corrupt(self, own, view, state):
        self.seen.extend(view.honest.client_ids.tolist())
        return own, state


def test_an_omniscient_attacker_sees_unreliable_clients_among_the_honest(small):
    simulation = prepare(small(roles=(RoleSpec(POOR, clients=(1,)), RoleSpec(SIGN, clients=(2,)))))
    attack = Listening([])
    plan = replace(simulation.plan, attacks=(Role("listening", attack, (2,)),))
    first = simulation.first
    trained = simulation.serial_pool().train(
        Broadcast(0, first.params, first.buffers), torch.arange(8).numpy(), 8
    )
    corrupt(plan, trained.updates, replace(first, attacks=(None,)))

    assert attack.seen == [0, 1, 3, 4, 5, 6, 7]


def test_an_unreliable_client_trains_on_fewer_examples_and_says_so(small):
    simulation = prepare(small(roles=(RoleSpec(POOR, clients=(1,)),)))
    _, outcome = run_round(simulation.plan, simulation.first, simulation.serial_pool())
    counts = outcome.sent.num_examples.tolist()
    own = [simulation.data.num_examples(c) for c in range(8)]

    assert counts[0] == own[0]
    assert counts[1] == len(simulation.kernel.examples(1, 0)[1]) < 0.5 * own[1]
