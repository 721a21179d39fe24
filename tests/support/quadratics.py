"""Clients with f_i(x) = a_i/2 (x - b_i)^2, and a federated algorithm's own functions on them in float64."""

from dataclasses import dataclass

import numpy as np
import torch

from gauntlet.clients.data.base import Dataset, Targets
from gauntlet.clients.exchange.exchange import exchange_of
from gauntlet.core.client_rows import rows_of, with_rows
from gauntlet.core.contracts import LocalTraining, LocalWork, Sampling
from gauntlet.core.layout import Layout
from gauntlet.server.spec import PluginSpec, RunSpec

T1 = np.array([1.0, 4.0]), np.array([1.0, -1.0])  # a, b
T3 = np.array([1.0, 1.0]), np.array([0.2, 1.0])  # a full step of 1 goes to b
OPTIMUM = -0.6
ONE = Layout.of(torch.nn.Linear(1, 1, bias=False))


def t2():
    """Return a, b of 100 clients, and the cohorts of 10 that the same generator draws afterwards."""
    draw = np.random.default_rng(0)
    a, b = draw.uniform(0.5, 2, 100), 2 * draw.standard_normal(100) + 1
    return a, b, [np.sort(draw.choice(100, 10, replace=False)) for _ in range(800)]


def by_functions(rule, a, b, training, cohorts, start):
    """Return the parameter after each round, the server's state and the clients' memory, in float64."""
    exchange = exchange_of(rule, ONE, training)
    x, state, clients, seen = torch.tensor([start], dtype=torch.float64), rule.init(), {}, []
    for cohort in cohorts:
        ids = list(map(int, cohort))
        slope = torch.tensor(a[cohort])[:, None]  # [K, 1]
        centre = torch.tensor(b[cohort])[:, None]
        memory = rows_of(clients, ids, exchange.first(x))
        extra = rule.extra(x, state) if hasattr(rule, "extra") else torch.zeros(0, 1)
        shared, own = exchange.besides(extra, memory)
        y = x.expand(len(ids), 1).clone()
        for _ in range(training.local_steps):
            y = y - training.lr * rule.correct(slope * (y - centre), y, x, shared, own)
        steps = torch.full((len(ids), 1), float(training.local_steps))
        gradient = slope * (x - centre) if getattr(rule, "full_gradient", False) else None
        sent, kept = rule.finish(y - x, x, shared, own, LocalWork(training, steps, gradient))
        message = torch.cat([sent[name] for name in exchange.up_groups], dim=1)
        clients = with_rows(clients, ids, torch.cat([kept[n] for n in exchange.memory.groups], dim=1))
        x, state = rule.step(x, message.mean(dim=0), state, len(ids) / len(a))
        seen.append(float(x))
    return np.array(seen), state, clients


@dataclass(frozen=True)
class Quadratics:
    """The same objectives as least squares: one example a client, input sqrt(a/2), target sqrt(a/2) b."""

    which: str = "t1"

    def load(self):
        a, b = {"t1": T1, "t3": T3}[self.which] if self.which != "t2" else t2()[:2]
        x = np.sqrt(a / 2)[:, None].astype(np.float32)
        y = (x * b[:, None]).astype(np.float32)
        return Dataset("quadratics", x, y, x[:2], y[:2], 0, value_range=(0, 2), targets=Targets(("y",)))


@dataclass(frozen=True)
class OneEach:
    """Client i has example i."""

    label_free = True

    def split(self, y, groups, num_clients, seed):
        return [np.array([i]) for i in range(num_clients)]


@dataclass(frozen=True)
class Slope:
    """One weight without a bias, from a given start."""

    start: float = 0.0

    def build(self, input_shape, num_classes):
        model = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.constant_(model.weight, self.start)
        return model


@dataclass(frozen=True)
class Drawn:
    """The cohorts of T2."""

    periodic = True

    def sampling(self, num_clients):
        return Sampling("other", num_clients, 0.1, 10.0)

    def sample(self, num_clients, generator, round_=0):
        return t2()[2][round_].astype(np.int64)


def by_the_engine(algorithm, training, rounds, which="t1", **changes):
    """Return the spec of a run on these objectives."""
    here, few = __file__, which != "t2"
    settings = {
        "seed": 3,
        "rounds": rounds,
        "num_clients": 2 if few else 100,
        "data": PluginSpec(f"{here}:Quadratics", {"which": which}),
        "partition": PluginSpec(f"{here}:OneEach"),
        "model": PluginSpec(f"{here}:Slope", {"start": {"t1": 0.0, "t2": 3.0, "t3": 0.1}[which]}),
        "training": training,
        "algorithm": algorithm,
        "defense": PluginSpec("mean", {"weighting": "uniform"}),
        "sampler": PluginSpec("full") if few else PluginSpec(f"{here}:Drawn"),
    }
    return RunSpec(**(settings | changes))


def training(local_steps, lr=0.05):
    """Return full-batch steps."""
    return LocalTraining(local_steps=local_steps, batch_size=0, lr=lr)
