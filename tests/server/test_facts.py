"""What clients state beside their messages, in whole runs of FedNova and of rules written here."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from uneven import by_functions, by_the_engine, training

from gauntlet.clients.algorithms.fednova import FedNova
from gauntlet.clients.algorithms.heterofl import HeteroFL
from gauntlet.core.contracts import LocalTraining, NoGuarantee, UpdateKnowledge, Verdict
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.core.trees import equal
from gauntlet.server.mailbox_trees import mailbox_of, misfit, tree_of
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

NOVA = PluginSpec("fednova")
FIXED = PluginSpec("mean", {"weighting": "fixed"})
NOISE = {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-4}
HERE = __file__


def run(spec, pool=None, state=None):
    simulation = prepare(spec)
    pool = pool(simulation) if pool else simulation.serial_pool()
    found = list(simulation.steps(pool, state))
    pool.close()
    return found


def fields(state):
    return {name: getattr(state, name) for name in state.__dataclass_fields__}


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


@dataclass(frozen=True)
class Teller:
    """FedAvg whose clients state what ``how`` says, amiss."""

    how: str = ""
    plain: ClassVar[bool] = True
    facts: ClassVar[tuple[str, ...]] = ("steps", "length")

    def schedule(self, training):
        return training

    def correct(self, gradient, params, received):
        return gradient

    def facts_of(self, update, work):
        steps, length = work.steps[:, 0], update.norm(dim=1)
        if self.how == "wide":
            return {"steps": steps, "length": update}
        if self.how == "words":
            return {"steps": "many", "length": length}
        if self.how == "nan":
            return {"steps": steps, "length": length * float("nan")}
        return {"steps": steps} if self.how == "few" else {"length": length, "steps": steps}

    def factors(self, facts):
        if self.how == "zero":
            return torch.zeros(len(facts.client_ids), dtype=torch.float64)
        return torch.ones(len(facts.client_ids), dtype=torch.float64)

    def takes_steps(self, planned, draw):
        return 0 if self.how == "none" else planned

    def init(self):
        return {}

    def step(self, params, aggregate, state, share, facts):
        assert list(facts.values) == ["steps", "length"]
        state = {
            "ids": facts.client_ids,
            "length": facts.values["length"],
            "weights": facts.weights,
            "examples": facts.num_examples,
        }
        return params + aggregate, state


@dataclass(frozen=True)
class Silent:
    """Declares facts and no step that is told of them."""

    facts: ClassVar[tuple[str, ...]] = ("steps",)
    plain: ClassVar[bool] = True

    def schedule(self, training):
        return training

    def correct(self, gradient, params, received):
        return gradient

    def facts_of(self, update, work):
        return {"steps": work.steps[:, 0]}


@dataclass(frozen=True)
class Forgetful(FedNova):
    """Declares facts that it never states."""

    facts_of: ClassVar = None


@pytest.mark.parametrize("vectorize", ["on", "off"])
@pytest.mark.parametrize(
    ("options", "how"),
    [
        ({}, training(0.002)),
        ({}, training(0.05)),
        ({"mu": 2.0, "server_momentum": 0.5}, training(0.01, 0.9)),
        ({"mu": 2.0, "tau_eff": "steps", "server_lr": 0.5}, training(0.01)),
    ],
)
def test_the_engine_follows_fednovas_own_functions(options, how, vectorize):
    trace = by_functions(FedNova(**options), how, 15)
    spec = by_the_engine(PluginSpec("fednova", options), how, 15, vectorize=vectorize, evaluate_every=15)
    found = run(spec)

    assert [float(step.state.params) for step in found] == pytest.approx(trace, abs=1e-5)


@pytest.mark.slow
def test_the_engine_stops_where_the_specification_says():
    """T1 with (2, 20) steps, lr 0.002: -0.5757158547, and FedAvg -0.9475591697."""
    spec = by_the_engine(NOVA, training(0.002), 700, evaluate_every=700)
    nova, avg = (run(replace(spec, algorithm=PluginSpec(name))) for name in ("fednova", "fedavg"))
    assert float(nova[-1].state.params) == pytest.approx(-0.5757158547, abs=1e-5)
    assert float(avg[-1].state.params) == pytest.approx(-0.9475591697, abs=1e-5)


def test_weights_are_those_of_the_defense():
    """By examples client 1 counts 20 of 22."""
    trace = by_functions(FedNova(), training(0.01), 20, weights=(2 / 22, 20 / 22))
    by_examples = PluginSpec("mean", {"weighting": "num_examples"})
    found = run(by_the_engine(NOVA, training(0.01), 20, defense=by_examples))
    assert [float(step.state.params) for step in found] == pytest.approx(trace, abs=1e-5)


def test_what_clients_send_is_fedavgs_to_the_last_bit_and_eight_bytes(small):
    defense = PluginSpec("mean", {"weighting": "uniform"})
    nova, avg = (
        run(small(rounds=1, algorithm=PluginSpec(name), defense=defense))[0] for name in ("fednova", "fedavg")
    )
    assert torch.equal(nova.outcome.sent.vectors, avg.outcome.sent.vectors)
    assert nova.state.bytes_up - avg.state.bytes_up == 8 * 8
    assert (nova.outcome.bytes_up - avg.outcome.bytes_up).tolist() == [8] * 8
    assert nova.state.bytes_down == avg.state.bytes_down


def test_equal_steps_are_fedavg_up_to_rounding(small):
    how = LocalTraining(local_steps=3, batch_size=8, lr=0.1, momentum=0.5)
    nova, avg = (run(small(algorithm=PluginSpec(name), training=how))[-1] for name in ("fednova", "fedavg"))
    assert nova.state.params.numpy() == pytest.approx(avg.state.params.numpy(), abs=2e-6)


@pytest.fixture
def busy_facts(small):
    """Partial work, lost messages, a lossy codec and a cohort that varies; keywords replace fields."""
    return lambda **changes: small(
        **{
            "rounds": 4,
            "algorithm": PluginSpec("fednova", {"partial": 0.6, "mu": 0.1, "server_momentum": 0.5}),
            "training": LocalTraining(local_steps=5, batch_size=16, lr=0.1, momentum=0.5),
            "codec": PluginSpec("terngrad"),
            "sampler": PluginSpec("poisson", {"sample_rate": 0.7}),
            "network": PluginSpec("links", {"latency_seconds": 1.0, "jitter": 0.3, "dropout": 0.3}),
            **changes,
        }
    )


def test_clients_do_a_part_of_their_work_and_say_so(busy_facts):
    """1 to 5 steps, the numbers that were drawn; a codec and the way leave them as they are."""
    found = run(busy_facts())
    stated = torch.cat([step.outcome.sent.facts for step in found])
    assert stated.dtype == torch.float64
    assert {1.0, 5.0} < set(stated.flatten().tolist()) <= {1.0, 2.0, 3.0, 4.0, 5.0}
    for step in found:
        o = step.outcome
        rows = torch.isin(o.sent.client_ids, o.received.client_ids)
        assert torch.equal(o.received.facts, o.sent.facts[rows])


def test_stacked_or_alone_clients_take_the_same_steps(busy_facts):
    alone, stacked = (run(busy_facts(rounds=1, vectorize=way))[0].outcome for way in ("off", "on"))
    assert torch.equal(alone.sent.facts, stacked.sent.facts)
    assert alone.sent.vectors.numpy() == pytest.approx(stacked.sent.vectors.numpy(), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["socket", "ray"])
def test_serial_and_ray_give_the_same_bits(busy_facts, ray_here, transport):
    serial = run(busy_facts())
    on_ray = run(busy_facts(), lambda simulation: simulation.ray_pool(2, transport=transport))
    assert equal(fields(on_ray[-1].state), fields(serial[-1].state))
    assert torch.equal(on_ray[0].outcome.sent.facts, serial[0].outcome.sent.facts)


def test_workers_do_not_add_up_what_is_weighed_by_facts(small):
    assert not prepare(small(algorithm=NOVA, rows=False)).plan.summed
    assert prepare(small(rows=False)).plan.summed


# ---- lies -------------------------------------------------------------------------------------------------


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


# ---- what the server half is told -------------------------------------------------------------------------


def test_the_server_half_is_told_of_the_counted_clients_alone_in_their_order(small):
    network = PluginSpec("links", {"latency_seconds": 1.0, "jitter": 0.3, "dropout": 0.4})
    found = run(small(algorithm=PluginSpec(f"{HERE}:Teller"), network=network, rounds=3))
    lost = 0
    for step in found:
        o, told = step.outcome, step.state.optimizer
        lost += len(o.sent) - len(o.received)
        assert told["ids"].tolist() == o.received.client_ids.tolist()
        assert told["examples"].tolist() == o.received.num_examples.tolist()
        assert told["length"].numpy() == pytest.approx(o.received.vectors.norm(dim=1).numpy(), rel=1e-6)
        examples = o.received.num_examples.double()
        assert told["weights"].numpy() == pytest.approx((examples / examples.sum()).numpy(), rel=1e-6)
    assert lost > 0


def test_a_rule_that_tells_no_weights_counts_clients_alike(small):
    (step,) = run(small(algorithm=PluginSpec(f"{HERE}:Teller"), defense=PluginSpec("median"), rounds=1))
    assert step.state.optimizer["weights"].tolist() == pytest.approx([1 / 8] * 8)


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ("words", r"Teller: facts_of must return 'steps' as numbers, got str 'many'"),
        ("few", r"Teller: facts_of must return 2 facts \(steps, length\), got steps"),
        ("wide", r"Teller: facts_of must return 'length' as one number a client, \[\d\], got \[\d, \d+\]"),
        (
            "zero",
            r"test_facts.py:Teller': factors must return finite factors above 0 as a tensor float64 \[8\]",
        ),
        ("none", r"takes_steps must return a number of steps, a whole number from 1 to \d+, got int 0"),
    ],
)
def test_facts_amiss_are_one_line_that_names_the_algorithm(small, how, line):
    with pytest.raises(PluginError, match=line) as caught:
        run(small(algorithm=PluginSpec(f"{HERE}:Teller", {"how": how})))
    assert "\n" not in str(caught.value)


def test_a_rule_that_states_no_number_has_its_clients_not_counted(small):
    step = run(small(algorithm=PluginSpec(f"{HERE}:Teller", {"how": "nan"}), rounds=1))[0]
    assert len(step.outcome.refused) == 8
    assert len(step.outcome.received) == 0


@dataclass(frozen=True)
class Sized(HeteroFL):
    """Clients of several sizes that state something."""

    facts: ClassVar[tuple[str, ...]] = ("steps",)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"algorithm": PluginSpec(f"{HERE}:Sized"), "defense": PluginSpec("median")},
            "clients have models of several sizes, and it cannot declare facts besides",
        ),
        (
            {"algorithm": PluginSpec(f"{HERE}:Silent")},
            "has clients state steps, and has no step that is told",
        ),
        ({"algorithm": PluginSpec(f"{HERE}:Forgetful")}, r"declares facts \(steps\), and has no facts_of"),
        (
            {
                "privacy": PluginSpec("skellam", NOISE),
                "defense": PluginSpec("mean", {"weighting": "fixed"}),
            },
            "has each client state steps, and with privacy 'skellam' the server sees only",
        ),
        (
            {
                "privacy": PluginSpec("gaussian", NOISE),
                "audit": PluginSpec("one_run", {"num_canaries": 4}),
            },
            "has each client state steps, and audit 'one_run' sends updates of clients that train nothing",
        ),
    ],
)
def test_what_does_not_go_with_facts_is_refused(small, changes, line):
    with pytest.raises((ScenarioError, PluginError), match=line):
        prepare(small(**{"algorithm": NOVA, **changes}))


# ---- privacy ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["gaussian", "local_gaussian", "dp_sgd"])
def test_under_any_mechanism_there_is_no_epsilon_since_facts_are_neither_clipped_nor_noised(small, mechanism):
    found = run(small(rounds=1, algorithm=NOVA, privacy=PluginSpec(mechanism, NOISE), defense=FIXED))
    assert {step.outcome.release for step in found} == {NoGuarantee("extra_release")}
    assert {step.outcome.epsilon.value for step in found} == {None}
    plain = run(small(rounds=1, privacy=PluginSpec(mechanism, NOISE), defense=FIXED))
    assert plain[-1].outcome.epsilon.value is not None
    steps = found[0].outcome.sent.facts
    assert torch.equal(steps, steps.round())


def test_a_budget_is_refused_beforehand_with_the_way_out(small):
    budget = PluginSpec("gaussian", {"clip_norm": 1.0, "epsilon": 5.0, "delta": 1e-4})
    with pytest.raises(
        ScenarioError, match=r"'fednova' has each client state steps beside its message, .* such as fedavg"
    ):
        prepare(small(algorithm=NOVA, privacy=budget, defense=FIXED))


# ---- what it goes with, and what is kept ------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"defense": PluginSpec("median")},
        {"defense": PluginSpec("krum", {"num_byzantine": 1})},
        {"defense": PluginSpec("fltrust"), "root_examples": 20},
        {"pre_aggregations": (PluginSpec("bucketing", {"bucket_size": 2}),), "defense": PluginSpec("median")},
        {"roles": (RoleSpec(PluginSpec("sign_flip"), count=2),)},
        {"roles": (RoleSpec(PluginSpec("label_flip", {"source": 1, "target": 7}), clients=(2,)),)},
        {"codec": PluginSpec("error_feedback", {"codec": {"name": "topk", "density": 0.2}})},
        {"vectorize": "off"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_fednova_goes_with_what_works_on_updates(small, changes):
    first, *_, last = run(small(**{"algorithm": PluginSpec("fednova", {"partial": 0.5}), **changes}))
    assert bool(last.state.params.isfinite().all())
    assert not torch.equal(first.state.params, last.state.params)


def test_the_servers_own_update_is_weighed_as_a_clients():
    """What a defense compares rows with is divided by its own steps, too."""
    spec = by_the_engine(NOVA, training(0.01), 1, root_examples=6, num_clients=1, partition=PluginSpec("iid"))
    simulation = prepare(spec)
    step = next(simulation.steps(simulation.serial_pool()))
    trained = simulation.plan.root.train(step.outcome.broadcast)
    own = step.outcome.received.context.root
    assert trained.updates.facts.tolist() == [[6.0]]
    assert own.numpy() == pytest.approx((trained.updates.vectors[0] / 6).numpy(), rel=1e-6)


BUFFERED = PluginSpec("buffered", {"buffer_size": 3, "concurrency": 5})


@pytest.fixture
def waiting(small):
    """A run with messages on the way, and its first state that has some."""
    heavy = PluginSpec("links", {"latency_seconds": 1.0, "jitter": 1.0})
    simulation = prepare(small(algorithm=NOVA, schedule=BUFFERED, network=heavy))
    state = next(s.state for s in simulation.steps(simulation.serial_pool()) if s.state.mailbox)
    return simulation, state


def test_a_mailbox_with_facts_is_none_of_a_run_without_and_the_other_way_round(waiting, small):
    simulation, state = waiting
    assert misfit(state, simulation.plan) is None
    plain = prepare(small(schedule=BUFFERED))
    assert misfit(state, plain.plan) == "its mailbox holds messages of another length"
    other = next(s.state for s in plain.steps(plain.serial_pool()) if s.state.mailbox)
    assert "facts" not in tree_of(other.mailbox)["groups"][0]  # as checkpoints of earlier versions have it
    assert misfit(other, simulation.plan) == "its mailbox holds messages of another length"


@pytest.mark.parametrize(
    "spoiled",
    [lambda f: f.float(), lambda f: f[:-1], lambda f: f[:, 0], lambda f: f.tolist()],
    ids=["float32", "short", "flat", "list"],
)
def test_facts_of_another_kind_in_a_checkpoint_are_one_line(waiting, spoiled):
    _, state = waiting
    tree = tree_of(state.mailbox)
    tree["groups"][0]["facts"] = spoiled(tree["groups"][0]["facts"])
    with pytest.raises(ValueError, match="its mailbox holds facts of another type or length"):
        mailbox_of(tree, state.round, len(state.params))


def test_a_message_that_waits_keeps_its_facts(waiting):
    _, state = waiting
    back = mailbox_of(tree_of(state.mailbox), state.round, len(state.params))
    for group, same in zip(state.mailbox.groups, back.groups, strict=True):
        assert torch.equal(group.updates.facts, same.updates.facts)
        assert group.updates.facts.shape[1] == 1
    assert np.concatenate([g.updates.facts.numpy() for g in back.groups]).min() >= 1
