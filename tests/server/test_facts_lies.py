"""What malicious clients state beside their messages, and who sees what honest clients state."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from whole_runs import steps as run

from gauntlet.core.contracts import LocalTraining, UpdateKnowledge, Verdict
from gauntlet.core.errors import PluginError
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

NOVA = PluginSpec("fednova")
HERE = __file__


@dataclass(frozen=True)
class Liar:
    """Sends its honest update, and states another number of steps."""

    says: str = "1e30"
    knowledge: ClassVar = UpdateKnowledge.OWN
    facts: ClassVar[bool] = True

    def init(self):
        return None

    def corrupt(self, own, view, state):
        return own.with_facts(torch.full_like(own.facts, float(self.says))), state


@dataclass(frozen=True)
class Misshapen(Liar):
    """States two numbers where there is one."""

    def corrupt(self, own, view, state):
        return own.with_facts(torch.ones(len(own), 2, dtype=torch.float64)), state


@dataclass(frozen=True)
class Onlooker:
    """Looks at what it is handed and lies about nothing."""

    knowledge: ClassVar = UpdateKnowledge.OMNISCIENT
    knows_defense: ClassVar[bool] = True
    facts: bool = False

    def init(self):
        return {}

    def corrupt(self, own, view, state):
        guess = view.aggregate(view.honest).aggregate
        return own, {"own": own.facts, "honest": view.honest.facts, "guess": guess}


@dataclass(frozen=True)
class Counting:
    """The mean, by a defense that says how many facts it sees."""

    facts: bool = False

    def init(self):
        return None

    def aggregate(self, updates, state):
        seen = {i: {"facts": float(updates.facts.shape[1])} for i in updates.client_ids.tolist()}
        return Verdict(updates.vectors.mean(dim=0), details=seen), state


def lied(spec, **lie):
    roles = (RoleSpec(PluginSpec(f"{HERE}:Liar", lie), clients=(1,)),)
    return run(replace(spec, roles=roles))


def test_a_lying_client_moves_the_step_no_more_than_public_configuration_allows(small):
    """Its 1e30 counts as the 4 local steps that there are: as if it told the truth."""
    how = LocalTraining(local_steps=4, batch_size=8, lr=0.1)
    spec = small(algorithm=PluginSpec("fednova", {"partial": 1e-9}), training=how)
    honest = run(replace(spec, roles=()))
    lies = lied(spec)

    assert lies[0].outcome.received.facts[1].tolist() == [1e30]
    assert torch.equal(lies[-1].state.params, honest[-1].state.params)


def test_a_client_that_says_it_did_little_weighs_more_by_hand(small):
    """K = 4, and one of 8 says 1: factors 1 and 4, tau / a = (7 + 1/4) / 8."""
    how = LocalTraining(local_steps=4, batch_size=8, lr=0.1)
    defense = PluginSpec("mean", {"weighting": "uniform"})
    spec = small(rounds=1, algorithm=PluginSpec("fednova", {"partial": 1e-9}), training=how, defense=defense)
    simulation = prepare(
        replace(spec, roles=(RoleSpec(PluginSpec(f"{HERE}:Liar", {"says": "-7"}), clients=(1,)),))
    )
    step = next(simulation.steps(simulation.serial_pool()))
    factors = torch.ones(8, dtype=torch.float64)
    factors[1] = 4
    mean = (step.outcome.sent.vectors.double() * factors[:, None]).mean(dim=0)
    expected = simulation.first.params.double() + mean * (7 + 1 / 4) / 8
    assert step.state.params.numpy() == pytest.approx(expected.numpy(), abs=1e-6)


@pytest.mark.parametrize("says", ["nan", "inf", "-inf"])
def test_a_fact_that_is_not_finite_is_a_message_that_is_not_counted(small, says):
    found = lied(small(algorithm=NOVA), says=says)
    for step in found:
        assert step.outcome.refused == {1: ("non_finite", "what it states besides is NaN or infinity")}
        assert step.outcome.received.client_ids.tolist() == [0, 2, 3, 4, 5, 6, 7]
    assert bool(found[-1].state.params.isfinite().all())


def test_facts_of_another_number_are_one_line_that_names_the_attack(small):
    roles = (RoleSpec(PluginSpec(f"{HERE}:Misshapen"), clients=(1,)),)
    with pytest.raises(
        PluginError, match=r"corrupt must return facts as a tensor float64 \[1, 1\], got .*\[1, 2\]"
    ):
        run(small(algorithm=NOVA, roles=roles))


@pytest.mark.parametrize("looks", [False, True])
def test_attacks_and_defenses_see_facts_only_where_they_say_so(small, looks):
    roles = (RoleSpec(PluginSpec(f"{HERE}:Onlooker", {"facts": looks}), clients=(1, 2)),)
    spec = small(algorithm=NOVA, defense=PluginSpec(f"{HERE}:Counting", {"facts": looks}), roles=roles)
    step = run(spec)[0]
    (seen,), outcome = step.state.attacks, step.outcome

    assert seen["own"].shape == (2, looks)
    assert seen["honest"].shape == (6, looks)
    assert {named["facts"] for named in outcome.verdict.details.values()} == {float(looks)}
    honest = ~torch.isin(outcome.received.client_ids, torch.tensor([1, 2]))
    by_hand = outcome.received.vectors[honest].double() * nova_factors(outcome, honest)[:, None]
    assert seen["guess"].numpy() == pytest.approx(by_hand.mean(dim=0).numpy(), abs=1e-6)


def nova_factors(outcome, rows):
    """a / a_i at momentum 0.5 by the coefficients' recursion, for one usual step."""
    counted = []
    for steps in outcome.received.facts[rows].flatten().tolist():
        c = a = 0.0
        for _ in range(int(steps)):
            c = 0.5 * c + 1
            a += c
        counted.append(1 / a)
    return torch.tensor(counted, dtype=torch.float64)
