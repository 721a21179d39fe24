"""FedNova beside the other ingredients of a run: what goes with it, what is refused, and what is kept."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from uneven import by_the_engine, training
from whole_runs import steps as run

from gauntlet.clients.algorithms.fednova import FedNova
from gauntlet.clients.algorithms.heterofl import HeteroFL
from gauntlet.core.contracts import NoGuarantee
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.server.mail.mailbox_trees import mailbox_of, misfit, tree_of
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

NOVA = PluginSpec("fednova")
FIXED = PluginSpec("mean", {"weighting": "fixed"})
NOISE = {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-4}
HERE = __file__


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
