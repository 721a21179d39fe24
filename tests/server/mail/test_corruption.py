"""What an attack is told of the server's rule, and what it cannot touch."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from gauntlet.core.contracts import UpdateKnowledge, Verdict
from gauntlet.core.roles import Role
from gauntlet.core.trees import equal
from gauntlet.core.updates import row_norms
from gauntlet.server.round import run_round
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec


@dataclass(frozen=True)
class Asking:
    """Asks three times what the server would make of everybody's honest updates, and sends them."""

    answers: list[Any] = field(default_factory=list)
    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OMNISCIENT
    knows_defense: ClassVar[bool] = True

    def init(self):
        return None

    def corrupt(self, own, view, state):
        from gauntlet.core.updates import concatenate

        crowd = concatenate([view.honest, own], own.expected_size)
        self.answers.append([view.aggregate(crowd) for _ in range(3)])
        return own, state


@dataclass(frozen=True)
class NotAsking(Asking):
    knows_defense: ClassVar[bool] = False


@dataclass(frozen=True)
class Careless:
    """A running sum of means, kept in place, with noise of its own: everything that could leak."""

    seeds: list[int] = field(default_factory=list)
    make: Callable[[], Any] = lambda: {"sum": torch.zeros(610)}

    def init(self):
        return self.make()

    def aggregate(self, updates, state):
        self.seeds.append(updates.context.seed)
        state["sum"] += updates.vectors.mean(dim=0)
        return Verdict(state["sum"].clone()), state


def asked(small, attack, **changes):
    run = prepare(small(**changes))
    plan = replace(run.plan, attacks=(Role("asking", attack, (2, 5)),))
    return plan, replace(run.first, attacks=(None,)), run.serial_pool()


def test_the_answer_is_what_the_server_does_with_clipping_mixing_and_defense(small):
    changes = {
        "privacy": PluginSpec("gaussian", {"clip_norm": 0.05, "noise_multiplier": 0.0, "delta": 1e-5}),
        "pre_aggregations": (PluginSpec("nnm", {"num_byzantine": 2}),),
        "defense": PluginSpec("krum", {"num_byzantine": 2}),
    }
    attack = Asking()
    plan, first, pool = asked(small, attack, **changes)
    _, outcome = run_round(plan, first, pool)
    for answer in attack.answers[0]:
        assert torch.equal(answer.aggregate, outcome.verdict.aggregate)
        assert answer.scores == outcome.verdict.scores
    assert float(outcome.verdict.aggregate.norm()) < 0.051


@dataclass(frozen=True)
class AskingOfBroken(Asking):
    """Asks of a cohort of which its own first client and an honest one are not finite."""

    def corrupt(self, own, view, state):
        from gauntlet.core.updates import concatenate

        crowd = concatenate([view.honest, own], own.expected_size)
        vectors = crowd.vectors.clone()
        vectors[0, 3], vectors[2] = float("nan"), float("inf")
        self.answers.append((crowd, view.aggregate(crowd.with_vectors(vectors))))
        return own, state


def test_messages_that_are_not_finite_are_left_out_of_the_answer_as_in_a_round(small):
    """By hand: the mean of the six others; those two weigh nothing."""
    attack = AskingOfBroken()
    plan, first, pool = asked(small, attack, defense=PluginSpec("mean", {"weighting": "uniform"}))
    run_round(plan, first, pool)
    (crowd, answer), others = attack.answers[0], [1, 3, 4, 5, 6, 7]
    expected = crowd.vectors[others].double().mean(dim=0).numpy()
    assert answer.aggregate.numpy() == pytest.approx(expected, abs=1e-7)
    assert answer.weights.tolist() == pytest.approx([0, 1 / 6, 0, *[1 / 6] * 5])


@pytest.mark.parametrize(
    ("roles", "defense"),
    [
        ((("fang_krum", 2), ("sign_flip", 2)), PluginSpec("krum", {"num_byzantine": 4})),
        ((("opt_alie", 2), ("label_flip", 3)), PluginSpec("trimmed_mean", {"num_byzantine": 5})),
    ],
    ids=["krum", "trimmed mean"],
)
def test_who_asks_beside_other_attackers_asks_about_a_cohort_of_its_true_size(small, roles, defense):
    """Of 11 clients the rules need 11, or more than 10; honest and own updates alone are 9, or 8."""
    specs = tuple(RoleSpec(PluginSpec(name), count=count) for name, count in roles)
    run = prepare(small(num_clients=11, roles=specs, defense=defense))
    _, outcome = run_round(run.plan, run.first, run.serial_pool())
    assert bool(outcome.verdict.aggregate.isfinite().all())


@dataclass(frozen=True)
class Looking(Asking):
    """Notes whom it sees."""

    knows_defense: ClassVar[bool] = False

    def corrupt(self, own, view, state):
        self.answers.append((view.honest.client_ids.tolist(), view.cohort_size))
        return own, state


def test_an_audits_canaries_are_honest_clients_to_an_attack(small):
    """So that an audit sees what an attacker gives away of those whom it looks at."""
    attack = Looking()
    clipped = PluginSpec("gaussian", {"clip_norm": 0.5, "noise_multiplier": 0.0})
    audit = PluginSpec("one_shot_canaries", {"num_canaries": 4})
    fixed = PluginSpec("mean", {"weighting": "fixed"})
    plan, first, pool = asked(small, attack, privacy=clipped, audit=audit, defense=fixed, rounds=2)
    _, outcome = run_round(plan, first, pool)
    assert outcome.sent.client_ids.tolist() == list(range(12))
    assert attack.answers == [([0, 1, 3, 4, 6, 7, 8, 9, 10, 11], 12)]


@pytest.mark.parametrize(
    "defense", [PluginSpec("fltrust"), PluginSpec("zeno", {"num_byzantine": 2})], ids=str
)
def test_the_answer_rests_on_the_servers_own_examples_too(small, defense):
    """FLTrust judges by the update that the server trained on its root examples, Zeno by its loss on them."""
    attack = Asking()
    plan, first, pool = asked(small, attack, defense=defense, root_examples=40)
    _, outcome = run_round(plan, first, pool)
    assert outcome.received.context.root is not None
    for answer in attack.answers[0]:
        assert torch.equal(answer.aggregate, outcome.verdict.aggregate)
        assert answer.scores == outcome.verdict.scores


def test_asking_leaves_no_trace_in_the_servers_memory(small):
    """The same rounds with an attack that asks and with one that does not: the same bits."""
    finals = []
    for attack in (Asking(), Asking()):
        plan, state, pool = asked(small, attack)
        ask = attack if not finals else None
        defense = Careless()
        plan = replace(plan, defense=defense, attacks=plan.attacks if ask else ())
        state = replace(state, defense=defense.init(), attacks=(None,) if ask else ())
        for _ in range(3):
            state, _ = run_round(plan, state, pool)
        finals.append((state, defense, attack))
    (asking, asked_defense, spy), (silent, _, _) = finals
    assert torch.equal(asking.params, silent.params)
    assert equal(asking.defense, silent.defense)
    for round_ in spy.answers:
        assert all(torch.equal(a.aggregate, round_[0].aggregate) for a in round_)
    assert len(asked_defense.seeds) == 12


def test_the_servers_dice_are_not_given_away(small):
    """A defense that draws does so, when asked, from another seed than when it decides."""
    attack, defense = Asking(), Careless()
    plan, state, pool = asked(small, attack)
    run_round(replace(plan, defense=defense), replace(state, defense=defense.init()), pool)
    guesses, real = defense.seeds[:3], defense.seeds[3]
    assert real == plan.seed
    assert len(set(guesses)) == 1
    assert real not in guesses


def test_who_does_not_declare_it_cannot_ask(small):
    plan, state, pool = asked(small, NotAsking())
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):
        run_round(plan, state, pool)


def test_a_claim_is_a_lie_and_not_a_fact(small):
    """What a client really trained on stays recorded, and decides how long it computes."""
    role = RoleSpec(PluginSpec("num_examples_inflation", {"factor": 50.0}), clients=(3,))
    links = PluginSpec("links", {"compute_seconds_per_example": 1.0})
    outcomes = []
    for roles in ((role,), ()):
        run = prepare(small(roles=roles, network=links))
        outcomes.append(run_round(run.plan, run.first, run.serial_pool())[1])
    lied, honest = outcomes
    true = honest.honest.num_examples
    assert torch.equal(lied.honest.num_examples, true)
    assert lied.sent.num_examples.tolist() == [50 * n if i == 3 else n for i, n in enumerate(true.tolist())]
    np.testing.assert_array_equal(lied.delivery.client_seconds, honest.delivery.client_seconds)
    assert torch.equal(lied.received.num_examples, lied.sent.num_examples)


@pytest.mark.parametrize("audit", [PluginSpec("none"), PluginSpec("one_run", {"num_canaries": 4})])
def test_the_norm_on_record_is_that_of_what_was_sent(small, audit):
    """Norms come with the workers' results; of who lies, and of canaries, they are taken anew."""
    clipped = PluginSpec("gaussian", {"clip_norm": 0.05, "noise_multiplier": 1.0, "delta": 1e-3})
    fixed = PluginSpec("mean", {"weighting": "fixed"})
    roles = (RoleSpec(PluginSpec("gaussian", {"std": 3.0}), clients=(1, 4)),)
    run = prepare(small(roles=roles, privacy=clipped, defense=fixed, audit=audit))
    _, outcome = run_round(run.plan, run.first, run.serial_pool())

    assert torch.equal(outcome.norms, row_norms(outcome.sent.vectors))
    assert sum(outcome.norms.tolist()[i] > 1 for i in (1, 4)) == 2
