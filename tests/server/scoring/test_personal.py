"""Whole runs in which clients train models of their own: what these become, what is sent, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from quadratics import T1, by_the_engine, t2, training
from torch import nn
from whole_runs import fields, steps

from gauntlet.clients.algorithms.fedprox import FedProx
from gauntlet.core.contracts import NoGuarantee
from gauntlet.core.errors import GauntletError
from gauntlet.core.trees import equal
from gauntlet.server.checkpoint import load_checkpoint, save_checkpoint
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

DITTO = PluginSpec("ditto")
UNIFORM = PluginSpec("mean", {"weighting": "uniform"})


def recursion(a, b, cohorts, x, pull, rounds, count=10, lr=0.05):
    """x and every v_i after each round, by hand: a step takes y to b (1 - q) + q y, q = (1 - lr a)^K."""
    own, seen = {}, []
    for cohort in cohorts[:rounds]:
        goal = (a * b + pull * x) / (a + pull)
        rate = (1 - lr * (a + pull)) ** count
        for i in map(int, cohort):
            own[i] = goal[i] + rate[i] * (own.get(i, x) - goal[i])
        q = (1 - lr * a[cohort]) ** count
        x = (b[cohort] + q * (x - b[cohort])).mean()
        seen.append((x, dict(own)))
    return seen


@pytest.mark.parametrize(("pull", "vectorize"), [(0.1, "on"), (1.0, "on"), (2.0, "off")])
def test_the_engine_follows_the_recursion_on_two_clients_to_the_fixed_point(pull, vectorize):
    algorithm = PluginSpec("ditto", {"pull": pull})
    found = steps(by_the_engine(algorithm, training(10), 30, vectorize=vectorize))
    trace = recursion(*T1, [np.arange(2)] * 30, 0.0, pull, 30)

    for step, (x, own) in zip(found, trace, strict=True):
        assert float(step.state.params) == pytest.approx(x, abs=1e-5)
        assert {i: float(v) for i, v in step.state.clients.items()} == pytest.approx(own, abs=1e-5)
    a, b = T1
    rest = (a * b + pull * -0.3797565348) / (a + pull)
    assert [float(found[-1].state.clients[i]) for i in (0, 1)] == pytest.approx(rest.tolist(), abs=1e-5)


def test_the_engine_follows_it_where_a_tenth_takes_part():
    """T2: those who were never drawn have no model of their own."""
    a, b, cohorts = t2()
    found = steps(by_the_engine(DITTO, training(10), 12, "t2"))
    for step, (x, own) in zip(found, recursion(a, b, cohorts, 3.0, 1.0, 12), strict=True):
        assert float(step.state.params) == pytest.approx(x, abs=1e-5)
        assert {i: float(v) for i, v in step.state.clients.items()} == pytest.approx(own, abs=1e-5)


WAYS = {
    "stacked": {},
    "alone": {"vectorize": "off"},
    "private": {"privacy": PluginSpec("dp_sgd", {"clip_norm": 1.0, "noise_multiplier": 0.5, "delta": 1e-4})},
    "local noise": {
        "privacy": PluginSpec("local_gaussian", {"clip_norm": 1.0, "noise_multiplier": 0.5, "delta": 1e-4}),
        "defense": UNIFORM,
    },
    "a defense": {"defense": PluginSpec("krum", {"num_byzantine": 1})},
    "a codec": {"codec": PluginSpec("terngrad")},
    "error feedback": {"codec": PluginSpec("error_feedback", {"codec": {"name": "topk"}})},
    "an attacker": {"roles": (RoleSpec(PluginSpec("sign_flip"), count=2),)},
    "an attacker that steers": {"roles": (RoleSpec(PluginSpec("gradient_ascent"), count=2),)},
    "poisoned examples": {
        "roles": (RoleSpec(PluginSpec("label_flip", {"source": 1, "target": 7}), clients=(2,)),)
    },
    "buffered": {
        "schedule": PluginSpec("buffered", {"buffer_size": 3, "concurrency": 5}),
        "network": PluginSpec("links", {"latency_seconds": 1.0, "jitter": 0.5}),
    },
    "a root": {"defense": PluginSpec("fltrust"), "root_examples": 20},
}
QUICK = ("stacked", "alone", "an attacker that steers")


@pytest.mark.parametrize(
    "changes", [pytest.param(v, id=k, marks=[] if k in QUICK else pytest.mark.slow) for k, v in WAYS.items()]
)
def test_the_global_model_is_fedavgs_to_the_last_bit(small, changes):
    """What is sent is the update alone, whatever works on it; so is what privacy is charged for."""
    plain, own = (steps(small(rounds=2, algorithm=PluginSpec(n), **changes)) for n in ("fedavg", "ditto"))

    for one, other in zip(plain, own, strict=True):
        assert torch.equal(one.state.params, other.state.params)
        assert one.outcome.epsilon == other.outcome.epsilon
        assert one.state.bytes_up == other.state.bytes_up
        assert one.state.bytes_down == other.state.bytes_down
    rows, everybody = own[-1].state.clients, "schedule" not in changes
    assert set(rows) == set(range(8 + ("root_examples" in changes))) or not everybody
    assert all(bool(row.isfinite().all()) for row in rows.values())


@pytest.mark.parametrize(
    "options", [{"noise_multiplier": 1.0}, pytest.param({"epsilon": 3.0}, marks=pytest.mark.slow)]
)
def test_privacy_is_amplified_as_without_models_that_stay(small, options):
    """Under gaussian and Poisson sampling: the epsilon of FedAvg, and the noise of a budget."""
    spec = small(
        rounds=2,
        sampler=PluginSpec("poisson", {"sample_rate": 0.5}),
        defense=PluginSpec("mean", {"weighting": "fixed"}),
        privacy=PluginSpec("gaussian", {"clip_norm": 1.0, "delta": 1e-3, **options}),
    )
    plain, own = (steps(replace(spec, algorithm=PluginSpec(n)))[-1] for n in ("fedavg", "ditto"))
    assert own.outcome.epsilon == plain.outcome.epsilon
    assert own.outcome.epsilon.value is not None
    assert torch.equal(own.state.params, plain.state.params)


def test_stacked_and_alone_agree_to_rounding(small):
    on, off = (steps(small(algorithm=DITTO, vectorize=v))[-1].state.clients for v in ("on", "off"))
    for client, row in on.items():
        assert torch.allclose(row, off[client], atol=1e-5)


def test_a_message_that_is_lost_leaves_a_clients_own_model_as_it_was(small):
    spec = small(
        algorithm=DITTO,
        network=PluginSpec("links", {"latency_seconds": 1.0, "jitter": 0.3, "dropout": 0.3}),
    )
    before, lost = {}, 0
    for step in steps(spec):
        came = set(step.outcome.received.client_ids.tolist())
        for client in step.outcome.sent.client_ids.tolist():
            lost += client not in came
            assert (step.state.clients.get(client) is before.get(client)) == (client not in came)
        before = step.state.clients
    assert lost > 0


@pytest.mark.slow
def test_ray_and_a_resumed_run_give_the_same_bits(small, tmp_path, ray_here):
    spec = small(rounds=4, algorithm=DITTO, held_out=0.2, sampler=PluginSpec("poisson", {"sample_rate": 0.7}))
    whole = steps(spec)
    on_ray = steps(spec, lambda simulation: simulation.ray_pool(2))
    assert equal(fields(on_ray[-1].state), fields(whole[-1].state))
    assert [step.personal for step in on_ray] == [step.personal for step in whole]
    save_checkpoint(tmp_path, whole[1].state, "run")
    again = steps(spec, state=load_checkpoint(tmp_path, "run"))
    assert equal(fields(again[-1].state), fields(whole[-1].state))
    assert [step.personal for step in again] == [step.personal for step in whole[2:]]


class Mistaken:
    """A rule with a personal one that does not fit."""

    def __init__(self, how=""):
        self.how = how

    def schedule(self, training):
        return training

    def memory(self, layout):
        return layout.repeated("other" if self.how == "memory" else "personal")

    def correct(self, gradient, params, received, *besides):
        if self.how == "raises" and not besides:
            raise KeyError("nothing")
        return gradient[..., :1] if self.how == "direction" and not besides else gradient

    @property
    def personal(self):
        return "none" if self.how == "type" else self


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ("memory", "memory must have a group 'personal'"),
        ("type", "personal must be a local rule: schedule and correct, got 'none'"),
        ("raises", "personal rule Mistaken raised KeyError"),
        ("direction", "personal rule Mistaken: correct must return a tensor float32"),
    ],
)
def test_a_personal_rule_that_does_not_fit_is_one_line(small, how, line):
    spec = small(rounds=1, algorithm=PluginSpec(f"{__file__}:Mistaken", {"how": how}))
    with pytest.raises(GauntletError, match=line) as caught:
        steps(spec)
    assert "\n" not in str(caught.value)


class Leaks:
    """Pulls what it sends towards the client's own model, which no mechanism noised."""

    def schedule(self, training):
        return training

    def memory(self, layout):
        return layout.repeated("personal")

    def correct(self, gradient, params, received, shared, own):
        return gradient + 0.1 * (params - own["personal"])

    @property
    def personal(self):
        return FedProx(0.5)


def test_steps_that_are_noised_promise_nothing_of_a_message_that_follows_a_bare_model(small):
    """Each client's own model is trained without noise: what is sent tells of it."""
    spec = small(rounds=1, privacy=WAYS["private"]["privacy"])
    (plain,) = steps(replace(spec, algorithm=PluginSpec("scaffold"), defense=UNIFORM))
    (leaking,) = steps(replace(spec, algorithm=PluginSpec(f"{__file__}:Leaks")))
    assert plain.outcome.epsilon.value is not None
    assert leaking.outcome.release == NoGuarantee("client_memory")


class Batched:
    """A model with batch statistics."""

    def build(self, input_shape, num_classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, num_classes))


def test_batch_statistics_are_refused(small):
    with pytest.raises(GauntletError, match="remembers the parameters of models, not their batch statistics"):
        prepare(small(algorithm=DITTO, model=PluginSpec(f"{__file__}:Batched")))
