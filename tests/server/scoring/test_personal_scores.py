"""How clients' own models score, beside the global one and beside training alone."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from quadratics import T1, by_the_engine, training
from torch import nn
from whole_runs import steps

from gauntlet.clients.data.base import Dataset, Targets
from gauntlet.core.contracts import LocalTraining
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

DITTO = PluginSpec("ditto")


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
