"""What a defense plants in the parameters that go down: who starts from it, and who does not."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from outsiders import FOLDER

from gauntlet.core.contracts import LocalTraining, UpdateKnowledge
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.core.trees import equal
from gauntlet.defenses.mean import Mean
from gauntlet.server.round import run_round
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

PLANTED = PluginSpec(f"{FOLDER}/planted_bias.py:PlantedBias")


@dataclass(frozen=True)
class Shifted(Mean):
    """The mean, after ``shift`` times the round's number from 1 was added to every parameter."""

    weighting: str = "fixed"
    shift: float = 0.25

    stale: ClassVar[bool] = True

    def init(self):
        return 1

    def prepare(self, params, state):
        return params + self.shift * state, state + 1

    def aggregate(self, updates, state):
        return Mean(self.weighting).aggregate(updates, None)[0], state


def shifted(small, **changes):
    """Return a run of full-batch steps on a dense layer."""
    training = LocalTraining(local_steps=1, batch_size=0, lr=0.5)
    return small(
        **{
            "model": PluginSpec("logistic_regression"),
            "training": training,
            "defense": PluginSpec(f"{__file__}:Shifted"),
            "rows": False,
            **changes,
        }
    )


def gradients(simulation, params):
    """Return each client's gradient of its mean loss at some parameters, by torch alone.  # [K, P]"""
    found = []
    for client in range(simulation.data.num_clients):
        x, y = simulation.data.client(client)
        at = params.clone().requires_grad_()
        model = torch.func.functional_call(simulation.kernel.model, simulation.plan.layout.views(at), (x,))
        found.append(torch.autograd.grad(torch.nn.functional.cross_entropy(model, y), at)[0])
    return torch.stack(found)


def test_clients_start_from_what_was_planted_and_the_server_moves_its_own(small):
    """Oracle: w <- w - lr * mean of the gradients at w + v, with v = 0.25 and 0.5, by torch's autograd."""
    simulation = prepare(shifted(small, rounds=2))
    state, pool, expected = simulation.first, simulation.serial_pool(), simulation.first.params
    for round_ in (1, 2):
        planted = expected + 0.25 * round_
        expected = expected - 0.5 * gradients(simulation, planted).mean(dim=0)
        state, outcome = run_round(simulation.plan, state, pool)
        torch.testing.assert_close(outcome.broadcast.params, planted, rtol=0, atol=1e-6)
        assert torch.equal(outcome.received.context.params, outcome.broadcast.params)
        torch.testing.assert_close(state.params, expected, rtol=0, atol=1e-6)
    assert state.defense == 3


def test_it_goes_through_the_codec_and_a_schedule_keeps_what_each_client_received(small):
    """Oracle of the codec: float16 of what was planted. Under ``buffered`` several rounds count together."""
    spec = shifted(small, codec_down=PluginSpec("fp16"), rounds=1)
    simulation = prepare(spec)
    _, outcome = run_round(simulation.plan, simulation.first, simulation.serial_pool())
    assert torch.equal(outcome.broadcast.params, (simulation.first.params + 0.25).half().float())

    late = PluginSpec("links", {"latency_seconds": 1.0, "jitter": 0.9})
    schedule = PluginSpec("buffered", {"buffer_size": 3, "concurrency": 6})
    spec = shifted(small, schedule=schedule, network=late, rounds=5)
    simulation = prepare(spec)
    state, pool, own, stale = simulation.first, simulation.serial_pool(), {}, 0
    for round_ in range(5):
        own[round_] = state.params
        state, outcome = run_round(simulation.plan, state, pool)
        for begun in set(outcome.sent.started.tolist()):
            torch.testing.assert_close(
                outcome.downs[begun].broadcast.params, own[begun] + 0.25 * (begun + 1), rtol=0, atol=1e-6
            )
            stale += begun < round_
    assert stale


@dataclass(frozen=True)
class Descends(Mean):
    """The mean, of clients that start one step down the server's own loss."""

    weighting: str = "fixed"

    runs_models: ClassVar[bool] = True
    trains_models: ClassVar[bool] = True

    def prepare(self, params, state, context):
        return params - context.gradient(params, context.examples.x, context.examples.y), context.round


def test_one_that_trains_models_is_handed_the_round(small):
    """Oracle: the server's gradient on its own examples, by torch's autograd."""
    simulation = prepare(shifted(small, defense=PluginSpec(f"{__file__}:Descends"), root_examples=20))
    state, pool = simulation.first, simulation.serial_pool()
    x, y = simulation.data.root.client(8)
    for round_ in range(2):
        at = state.params.clone().requires_grad_()
        out = torch.func.functional_call(simulation.kernel.model, simulation.plan.layout.views(at), (x,))
        gradient = torch.autograd.grad(torch.nn.functional.cross_entropy(out, y), at)[0]
        state, outcome = run_round(simulation.plan, state, pool)
        torch.testing.assert_close(outcome.broadcast.params, at.detach() - gradient, rtol=0, atol=1e-6)
        assert outcome.received.context.round == round_


@pytest.mark.parametrize(
    "changes",
    [{}, {"schedule": PluginSpec("buffered", {"buffer_size": 3, "concurrency": 6})}, {"defense": PLANTED}],
    ids=["plain", "buffered", "planted_bias"],
)
def test_a_run_that_goes_on_has_the_same_bits(small, changes):
    spec = shifted(small, **changes)
    straight = list(prepare(spec).steps(prepare(spec).serial_pool()))
    rest = list(prepare(spec).steps(prepare(spec).serial_pool(), straight[0].state))
    assert equal(straight[-1].state.params, rest[-1].state.params)
    assert equal(straight[-1].state.defense, rest[-1].state.defense)


def test_a_planted_bias_names_those_who_do_not_train(small):
    """Two of eight send nothing (``zero``, ``free_rider``): the model of the rest is learnt all the same."""
    training = LocalTraining(local_epochs=2, batch_size=16, lr=0.2)
    for attack in ("zero", "free_rider"):
        roles = (RoleSpec(PluginSpec(attack), (1, 4)),)
        simulation = prepare(
            small(defense=PLANTED, roles=roles, training=training, evaluate_every=6, rounds=6)
        )
        steps = list(simulation.steps(simulation.serial_pool()))
        assert [set(step.outcome.verdict.flags) for step in steps] == [{1, 4}] * 6
    assert steps[-1].score.accuracy > 0.5


@dataclass(frozen=True)
class Unremembering(Shifted):
    """Begins without a memory, as if it had none."""

    def init(self):
        return None

    def prepare(self, params, state):
        return params + self.shift, state


@pytest.mark.parametrize("kind", ["Shifted", "Unremembering"])
def test_no_epsilon_is_claimed_under_central_trust(small, kind):
    """What a defense remembers of unprotected updates may go down before any noise is on it."""
    terms = {"clip_norm": 0.5, "noise_multiplier": 1.0, "delta": 1e-3}
    defense = PluginSpec(f"{__file__}:{kind}")
    for name, reason in (("gaussian", "aggregator"), ("local_gaussian", None)):
        simulation = prepare(shifted(small, privacy=PluginSpec(name, terms), rounds=1, defense=defense))
        epsilon = run_round(simulation.plan, simulation.first, simulation.serial_pool())[1].epsilon
        assert (epsilon.reason, epsilon.value is None) == (reason, reason is not None)


@dataclass(frozen=True)
class Broken(Shifted):
    """Plants what cannot be sent."""

    kind: str = "short"

    def prepare(self, params, state):
        return {"short": params[1:], "nan": params * float("nan"), "alone": None}[self.kind], state


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("short", r"prepare must return parameters as a tensor float32 \[650\], got Tensor float32 \[649\]"),
        ("nan", "prepare returned NaN or infinity"),
        ("alone", r"prepare must return parameters as a tensor float32 \[650\], got None"),
    ],
)
def test_what_cannot_go_down_ends_the_run_in_one_line(small, kind, line):
    simulation = prepare(shifted(small, defense=PluginSpec(f"{__file__}:Broken", {"kind": kind})))
    with pytest.raises(PluginError, match=line):
        run_round(simulation.plan, simulation.first, simulation.serial_pool())


@dataclass(frozen=True)
class Overwrites(Shifted):
    def prepare(self, params, state):
        return params.add_(1), state


def test_the_servers_own_parameters_are_not_to_be_written_into(small):
    simulation = prepare(shifted(small, defense=PluginSpec(f"{__file__}:Overwrites")))
    with pytest.raises(PluginError, match="wrote into what it was handed"):
        run_round(simulation.plan, simulation.first, simulation.serial_pool())


def test_what_makes_no_sense_is_refused_in_one_line(small):
    levels = PluginSpec("heterofl", {"rates": (1.0, 0.5), "mode": "fix"})
    hidden = {"model": PluginSpec("mlp", {"hidden": [8]})}
    with pytest.raises(
        ScenarioError, match=r"models of several sizes, and defense .* plants something in whole"
    ):
        prepare(shifted(small, algorithm=levels, **hidden))
    audit = PluginSpec("one_shot_canaries", {"num_canaries": 3})
    privacy = PluginSpec("gaussian", {"clip_norm": 0.5, "noise_multiplier": 1.0, "delta": 1e-3})
    with pytest.raises(
        ScenarioError, match=r"canaries that start from the server's own parameters, and defense .* plants"
    ):
        prepare(shifted(small, audit=audit, privacy=privacy))


def test_flower_sends_its_own_parameters_down():
    from gauntlet.server.flower import GauntletStrategy

    with pytest.raises(ValueError, match="Flower sends its own down"):
        GauntletStrategy(Shifted())


@dataclass(frozen=True)
class Mirror:
    """Sends back the parameters that it is shown."""

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN

    def init(self):
        return None

    def corrupt(self, own, view, state):
        return own.with_vectors(view.params[None].clone()), state


def test_attackers_and_the_servers_own_examples_see_what_was_planted(small):
    """The server's own update is that of a client: it starts from the same parameters."""
    mirror = RoleSpec(PluginSpec(f"{__file__}:Mirror"), (3,))
    spec = shifted(small, root_examples=20, rounds=1, rows=True, roles=(mirror,))
    simulation = prepare(spec)
    _, outcome = run_round(simulation.plan, simulation.first, simulation.serial_pool())
    assert torch.equal(outcome.sent.vectors[3], simulation.first.params + 0.25)
    x, y = simulation.data.root.client(8)
    at = (simulation.first.params + 0.25).requires_grad_()
    out = torch.func.functional_call(simulation.kernel.model, simulation.plan.layout.views(at), (x,))
    gradient = torch.autograd.grad(torch.nn.functional.cross_entropy(out, y), at)[0]
    torch.testing.assert_close(outcome.received.context.root, -0.5 * gradient, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["scaffold", "feddyn", "fednova"])
def test_a_server_half_that_counts_on_what_clients_hold_is_refused(small, name):
    """As a malicious server and a downlink that loses something are."""
    with pytest.raises(ScenarioError, match=rf"'{name}' counts on .* and defense .* plants something"):
        prepare(shifted(small, algorithm=PluginSpec(name, {})))
