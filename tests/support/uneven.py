"""Two quadratics, f_i(x) = a_i/2 (x - b_i)^2, of clients with 2 and 20 equal examples: as many steps.

FedNova's own functions on them in float64, and a run of the engine.
"""

from dataclasses import dataclass

import numpy as np
import torch
from quadratics import T1, Slope  # noqa: F401  (the model of the run)

from gauntlet.clients.data.base import Dataset, Targets
from gauntlet.core.contracts import Facts, LocalTraining, LocalWork
from gauntlet.server.spec import PluginSpec, RunSpec

COUNTS = (2, 20)


def training(lr, momentum=0.0):
    """Return one pass, an example a step."""
    return LocalTraining(local_epochs=1, batch_size=1, lr=lr, momentum=momentum)


def by_functions(rule, how, rounds, counts=COUNTS, start=0.0, weights=(0.5, 0.5)):
    """Return the parameter after each round, in float64."""
    a, b = T1
    x, state, seen = torch.tensor([start], dtype=torch.float64), rule.init(), []
    for _ in range(rounds):
        updates, told = [], []
        for slope, centre, steps in zip(a, b, counts, strict=True):
            y, velocity = x.clone(), torch.zeros_like(x)
            for _ in range(steps):
                velocity = how.momentum * velocity + rule.correct(slope * (y - centre), y, x)
                y = y - how.lr * velocity
            updates.append(y - x)
            work = LocalWork(how, torch.tensor([[float(steps)]]))
            told.append(rule.facts_of(updates[-1][None], work)["steps"].double())
        facts = Facts(
            client_ids=torch.arange(2),
            num_examples=torch.tensor(counts),
            weights=torch.tensor(weights, dtype=torch.float64),
            training=how,
            values={"steps": torch.cat(told)},
        )
        rows = torch.stack(updates) * rule.factors(facts)[:, None]  # [K, 1]
        x, state = rule.step(x, (rows * facts.weights[:, None]).sum(dim=0), state, 1.0, facts)
        seen.append(float(x))
    return np.array(seen)


@dataclass(frozen=True)
class Repeated:
    """T1 as least squares: client 0's example twice, client 1's twenty times."""

    def load(self):
        a, b = (np.repeat(part, COUNTS) for part in T1)
        x = np.sqrt(a / 2)[:, None].astype(np.float32)
        y = (x * b[:, None]).astype(np.float32)
        return Dataset("repeated", x, y, x[[0, 2]], y[[0, 2]], 0, value_range=(0, 2), targets=Targets(("y",)))


@dataclass(frozen=True)
class InTurn:
    """The first two examples to client 0, the others to client 1."""

    label_free = True

    def split(self, y, groups, num_clients, seed):
        return [np.arange(2), np.arange(2, 22)]


def by_the_engine(algorithm, how, rounds, **changes):
    """Return the spec of a run on them."""
    settings = {
        "seed": 3,
        "rounds": rounds,
        "num_clients": 2,
        "data": PluginSpec(f"{__file__}:Repeated"),
        "partition": PluginSpec(f"{__file__}:InTurn"),
        "model": PluginSpec(f"{__file__}:Slope"),
        "training": how,
        "algorithm": algorithm,
        "defense": PluginSpec("mean", {"weighting": "uniform"}),
    }
    return RunSpec(**(settings | changes))
