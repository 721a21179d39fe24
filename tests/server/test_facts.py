"""What clients state beside their messages, in whole runs of FedNova and of a rule written here."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from uneven import by_functions, by_the_engine, training
from whole_runs import fields
from whole_runs import steps as run

from gauntlet.clients.algorithms.fednova import FedNova
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import PluginError
from gauntlet.core.trees import equal
from gauntlet.server.mail.facts import step_facts
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

NOVA = PluginSpec("fednova")
HERE = __file__


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


@dataclass(frozen=True)
class Seer(Teller):
    """A ``Teller`` whose messages are in units of 2, and whose server half remembers them."""

    sees_messages: ClassVar[bool] = True

    def up(self, layout):
        return layout.repeated("update")

    def scales(self, training):
        return {"update": 2.0}

    def correct(self, gradient, params, received, shared, own):
        return gradient

    def step(self, params, aggregate, state, share, facts):
        params, state = super().step(params, aggregate, state, share, facts)
        return params, {**state, "messages": facts.messages, "aggregate": aggregate}


def test_the_server_half_sees_single_messages_only_where_it_says_so(small):
    """In the groups' own units, of those that were counted; their weighted mean is the aggregate."""
    network = PluginSpec("links", {"latency_seconds": 1.0, "jitter": 0.3, "dropout": 0.4})
    spec = small(algorithm=PluginSpec(f"{HERE}:Seer"), network=network, rounds=2)
    for step in run(spec):
        told = step.state.optimizer
        assert told["messages"].tolist() == (2 * step.outcome.received.vectors).tolist()
        mean = told["weights"] @ told["messages"].double()
        assert told["aggregate"].numpy() == pytest.approx(mean.numpy(), abs=1e-6)
    plan = prepare(small(algorithm=PluginSpec(f"{HERE}:Teller"))).plan
    assert step_facts(plan, step.outcome.received, None).messages is None


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
