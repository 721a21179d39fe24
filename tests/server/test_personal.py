"""Whole runs in which clients train models of their own: what these become, what is sent, how they score."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from quadratics import T1, by_the_engine, t2, training
from torch import nn

from gauntlet.clients.algorithms.fedprox import FedProx
from gauntlet.clients.data.base import Dataset, Targets
from gauntlet.core.contracts import LocalTraining, NoGuarantee
from gauntlet.core.errors import GauntletError
from gauntlet.core.trees import equal
from gauntlet.server.checkpoint import load_checkpoint, save_checkpoint
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

DITTO = PluginSpec("ditto")
UNIFORM = PluginSpec("mean", {"weighting": "uniform"})


def steps(spec, pool=None, state=None):
    simulation = prepare(spec)
    pool = pool(simulation) if pool else simulation.serial_pool()
    found = list(simulation.steps(pool, state))
    pool.close()
    return found


def fields(state):
    return {name: getattr(state, name) for name in state.__dataclass_fields__}


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


def test_scores_are_those_of_each_model_on_what_each_client_holds_out(small):
    """Counted by hand with the run's model; clients that were never counted have none."""
    spec = small(
        algorithm=DITTO,
        held_out=0.25,
        partition=PluginSpec("dirichlet", {"alpha": 0.3}),
        sampler=PluginSpec("fixed_size", {"cohort_size": 3}),
        evaluate_every=2,
    )
    simulation = prepare(spec)
    found = list(simulation.steps(simulation.serial_pool()))

    assert [len(step.personal) > 0 for step in found] == [False, True, True]
    model, state = simulation.kernel.model, found[-1].state
    model.eval()
    for score in found[-1].personal:
        x, y = simulation.data.held_out.client(score.client_id)
        told = []
        for params in (state.clients[score.client_id], state.params):
            nn.utils.vector_to_parameters(params.clone(), model.parameters())
            told.append(model(x))
        told = [outputs.detach() for outputs in told]
        right = [float((outputs.argmax(dim=1) == y).double().mean()) for outputs in told]
        losses = [float(nn.functional.cross_entropy(outputs, y)) for outputs in told]
        assert score.examples == len(y)
        assert (score.accuracy, score.global_accuracy) == tuple(right)
        assert (score.loss, score.global_loss) == pytest.approx(losses, abs=1e-5)
    assert [score.client_id for score in found[-1].personal] == sorted(state.clients)


@dataclass(frozen=True)
class Pairs:
    """T1 with every client's example twice, and a third client with one."""

    def load(self):
        a, b = np.array([1.0, 4.0]), np.array([1.0, -1.0])
        x = np.sqrt(a / 2)[[0, 0, 1, 1, 1], None].astype(np.float32)
        y = (x * b[[0, 0, 1, 1, 1], None]).astype(np.float32)
        groups, targets = np.array([0, 0, 1, 1, 2]), Targets(("y",))
        return Dataset("pairs", x, y, x[:1], y[:1], 0, value_range=(0, 2), groups=groups, targets=targets)


def test_a_regressions_scores_are_losses_and_who_holds_nothing_out_has_none():
    """a/2 (v - b)^2 of the client's own model, and of the global one; a single example is trained on."""
    spec = by_the_engine(DITTO, training(10), 2, num_clients=3, held_out=0.5)
    spec = replace(spec, data=PluginSpec(f"{__file__}:Pairs"), partition=PluginSpec("natural"))
    step, (a, b) = steps(spec)[-1], T1

    assert [score.client_id for score in step.personal] == [0, 1]
    for i, score in enumerate(step.personal):
        v, x = float(step.state.clients[i]), float(step.state.params)
        assert (score.examples, score.accuracy, score.global_accuracy) == (1, None, None)
        expected = a[i] / 2 * (v - b[i]) ** 2, a[i] / 2 * (x - b[i]) ** 2
        assert (score.loss, score.global_loss) == pytest.approx(expected, abs=1e-6)


@dataclass(frozen=True)
class Estimates:
    """Point estimation: client i sees n numbers around its own mean w_i, in P independent coordinates."""

    clients: int
    malicious: int
    spread: float
    coordinates: int = 4000
    tau: float = 0.1
    sigma: float = 0.8
    n: int = 30

    def truth(self):
        draw = np.random.default_rng(5)
        scale = np.where(np.arange(self.clients) < self.malicious, self.spread, self.tau)
        w = scale[:, None] * draw.standard_normal((self.clients, self.coordinates))
        return w, w + self.sigma / np.sqrt(self.n) * draw.standard_normal(w.shape)

    def load(self):
        y = self.truth()[1].astype(np.float32)
        x, names = np.ones((self.clients, 1), dtype=np.float32), tuple(map(str, range(self.coordinates)))
        return Dataset("estimates", x, y, x[:1], y[:1], 0, targets=Targets(names))


class Point:
    """A model that answers its parameters, from 0."""

    def build(self, input_shape, num_classes):
        return Answer(num_classes)


class Answer(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(size))

    def forward(self, x):
        return self.w.expand(len(x), -1)


def mean_squared_error(K, m, tau_a, pull, tau=0.1, sigma=0.8, n=30):
    """Ditto, Section 4: of honest clients, in closed form, as derived in the specification."""
    A, B, noise = pull / (1 + pull), 1 / (1 + pull), sigma**2 / n
    others = (K - m - 1) * tau**2 + m * tau_a**2
    blurred = noise * ((A / K + B) ** 2 + (K - 1) * (A / K) ** 2)
    return (A / K + B - 1) ** 2 * tau**2 + (A / K) ** 2 * others + blurred


@pytest.mark.parametrize(
    ("K", "m", "tau_a", "pull", "expected"),
    [
        (8, 0, 0.1, 2.1333, (0.021333, 0.008624, 0.011417)),
        (16, 8, 0.5, 1.1852, (0.021333, 0.010486, 0.018208)),
    ],
    ids=["clean", "adversarial"],
)
def test_on_point_estimation_ditto_beats_both_local_and_global_models(K, m, tau_a, pull, expected):
    """MSE of honest clients: local, at the best lambda, global. Each step solves its problem exactly.

    The loss is the mean over P coordinates, so that gradients are 2 / P times those of 1/2 (v - w)^2.
    """
    assert [mean_squared_error(K, m, tau_a, p) for p in (0, pull, 1e9)] == pytest.approx(expected, abs=6e-7)
    world, here = Estimates(K, m, tau_a), __file__
    unit = 2 / world.coordinates
    base = by_the_engine(
        PluginSpec("ditto", {"pull": pull * unit, "lr": 1 / unit / (1 + pull)}),
        LocalTraining(local_steps=1, batch_size=0, lr=1 / unit),
        2,
        num_clients=K,
        data=PluginSpec(f"{here}:Estimates", {"clients": K, "malicious": m, "spread": tau_a}),
        model=PluginSpec(f"{here}:Point"),
        evaluate_every=2,
    )
    truth, seen = world.truth()
    honest = range(m, K)
    state = steps(base)[-1].state
    own, alone, shared = (
        np.mean([(np.asarray(estimate(i)) - truth[i]) ** 2 for i in honest])
        for estimate in (lambda i: state.clients[i], lambda i: seen[i], lambda i: state.params)
    )

    assert (alone, own, shared) == pytest.approx(expected, rel=0.02)
    assert own < min(alone, shared)


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
