"""Who runs which attack: parts, companions, and those that only have poor data."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from gauntlet.core.contracts import Knowledge
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.core.roles import Role
from gauntlet.server.corruption import corrupt
from gauntlet.server.roles import assign
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

FLIP, SIGN = PluginSpec("label_flip"), PluginSpec("sign_flip")
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


def test_an_attack_on_updates_can_run_on_the_clients_of_one_on_data():
    data, updates = assign(
        (RoleSpec(FLIP, count=3), RoleSpec(SIGN, same_clients_as="label_flip")), 10, seed=1
    )

    assert len(data[0].clients) == 3
    assert updates[0].clients == data[0].clients


@pytest.mark.parametrize(
    "specs",
    [
        (RoleSpec(SIGN, same_clients_as="label_flip"),),
        (RoleSpec(SIGN, same_clients_as="label_flip"), RoleSpec(FLIP, count=1)),
        (RoleSpec(FLIP, count=1), RoleSpec(PluginSpec("multi_label_flip"), same_clients_as="label_flip")),
    ],
)
def test_a_companion_must_follow_an_attack_of_the_other_family(specs):
    with pytest.raises(ScenarioError, match="must name an earlier attack"):
        assign(specs, 10, seed=1)


def test_the_truth_about_a_client_names_both_of_its_attacks(small):
    roles = (RoleSpec(FLIP, clients=(2,)), RoleSpec(SIGN, same_clients_as="label_flip", start_round=1))
    plan = prepare(small(roles=roles)).plan

    assert plan.kinds(0) == {2: "label_flip"}
    assert plan.kinds(1) == {2: "label_flip+sign_flip"}


def test_unreliable_clients_are_a_kind_of_their_own_and_not_malicious(small):
    plan = prepare(small(roles=(RoleSpec(POOR, clients=(1, 4)), RoleSpec(SIGN, clients=(2,))))).plan

    assert plan.kinds(0) == {1: "unreliable", 4: "unreliable", 2: "sign_flip"}
    assert plan.malicious(0) == {2}


@dataclass(frozen=True)
class Listening:
    """Omniscient: keeps what it is shown."""

    seen: list
    knowledge: ClassVar[Knowledge] = Knowledge.OMNISCIENT

    def init(self):
        return None

    def corrupt(self, own, view, state):
        self.seen.extend(view.honest.client_ids.tolist())
        return own, state


def test_an_omniscient_attacker_sees_unreliable_clients_among_the_honest(small):
    from dataclasses import replace

    simulation = prepare(small(roles=(RoleSpec(POOR, clients=(1,)), RoleSpec(SIGN, clients=(2,)))))
    attack = Listening([])
    plan = replace(simulation.plan, attacks=(Role("listening", attack, (2,)),))
    from gauntlet.clients.kernel import Broadcast

    first = simulation.first
    trained = simulation.serial_pool().train(
        Broadcast(0, first.params, first.buffers), torch.arange(8).numpy(), 8
    )
    corrupt(plan, trained.updates, replace(first, attacks=(None,)))

    assert attack.seen == [0, 1, 3, 4, 5, 6, 7]


def test_an_unreliable_client_trains_on_fewer_examples_and_says_so(small):
    simulation = prepare(small(roles=(RoleSpec(POOR, clients=(1,)),)))
    from gauntlet.server.round import run_round

    _, outcome = run_round(simulation.plan, simulation.first, simulation.serial_pool())
    counts = outcome.sent.num_examples.tolist()
    own = [simulation.data.num_examples(c) for c in range(8)]

    assert counts[0] == own[0]
    assert counts[1] == len(simulation.kernel.examples(1, 0)[1]) < 0.5 * own[1]
