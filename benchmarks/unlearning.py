"""What unlearning a client comes to, beside training anew without it.

Usage: unlearning.py [--seeds 0 1 2]. Digits, 10 clients IID, MLP 64-64-10, 20 rounds of two local epochs
with batches of 32 at 0.1; client 0 stamps half of its digits and calls them 0. Then ``unlearn`` with each
mask until client 0's loss is that of the model trained anew. Prints attack success and test accuracy, how
many steps were taken, the L2 distance from the model trained anew, and how well client 0's own clean digits
are told from test digits by their loss (AUC).
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor
from torch.nn.functional import cross_entropy

from gauntlet.core.contracts import LocalTraining, Sampling
from gauntlet.core.seeds import generator
from gauntlet.server.simulation import Simulation, prepare
from gauntlet.server.spec import PluginSpec, RoleSpec, RunSpec

HERE, ROUNDS, STEPS = str(Path(__file__).resolve()), 20, 60
WAYS: dict[str, dict[str, Any]] = {
    "all": {},
    "ascent": {"retain": 0.0},
    **{mask: {"mask": mask, "keep": 0.5} for mask in ("wagle", "magnitude", "random")},
}


@dataclass(frozen=True)
class AllButFirst:
    """Everybody in every round, but client 0 never."""

    def sampling(self, num_clients: int) -> Sampling:
        size = num_clients - 1
        return Sampling("other", num_clients, size / num_clients, float(size))

    def sample(self, num_clients: int, generator: np.random.Generator) -> Any:
        return np.arange(1, num_clients)


def simulation_of(seed: int, **changes: Any) -> Simulation:
    spec = RunSpec(
        seed=seed,
        rounds=ROUNDS,
        num_clients=10,
        data=PluginSpec("digits"),
        partition=PluginSpec("iid"),
        model=PluginSpec("mlp", {"hidden": [64]}),
        training=LocalTraining(local_epochs=2, batch_size=32, lr=0.1),
        roles=(
            RoleSpec(PluginSpec("pixel_backdoor", {"target": 0, "pixels": [[7, 7], [7, 6], [6, 7]]}), (0,)),
        ),
        defense=PluginSpec("mean", {"weighting": "uniform"}),
        evaluate_every=1000,
    )
    return prepare(replace(spec, **changes))


def last_of(simulation: Simulation, params: Tensor | None = None) -> Any:
    """Return the last step, from other parameters than the initial ones if given."""
    state = None
    if params is not None:
        state = replace(simulation.first, params=params)
    *_, last = simulation.steps(simulation.serial_pool(), state)
    return last


def outputs(simulation: Simulation, params: Tensor, x: Tensor) -> Tensor:
    w1, b1, w2, b2 = simulation.plan.layout.views(params).values()
    return torch.relu(x.flatten(1) @ w1.T + b1) @ w2.T + b2


def poisoned(simulation: Simulation) -> tuple[Tensor, Tensor]:
    """Return client 0's digits as it would train on them, and their labels."""
    (role,) = simulation.plan.poisons
    x, y = simulation.data.client(0)
    return role.attack.poison(x, y, generator(0, "forgotten"))  # type: ignore[no-any-return]


def forgotten_loss(simulation: Simulation, params: Tensor) -> float:
    x, y = poisoned(simulation)
    return float(cross_entropy(outputs(simulation, params, x), y))


def membership(simulation: Simulation, params: Tensor) -> float:
    """Return the AUC of telling client 0's clean digits from test digits by a low loss."""
    pairs = simulation.data.client(0), simulation.data.test()
    losses = [cross_entropy(outputs(simulation, params, x), y, reduction="none") for x, y in pairs]
    ranks = rankdata(-torch.cat(losses).numpy())
    n, m = len(losses[0]), len(losses[1])
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def line(name: str, simulation: Simulation, step: Any, anew: Tensor) -> str:
    params = step.state.params
    (goal,) = step.score.goals
    taken = step.state.optimizer.get("steps", "") if isinstance(step.state.optimizer, dict) else ""
    return (
        f"{name:10} success {goal.success / goal.examples:.3f} test {step.score.accuracy:.3f} steps {taken} "
        f"loss {forgotten_loss(simulation, params):.2f} distance {float((params - anew).norm()):.2f} "
        f"auc {membership(simulation, params):.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    for seed in parser.parse_args().seeds:
        trained = simulation_of(seed)
        before = last_of(trained)
        anew = last_of(simulation_of(seed, sampler=PluginSpec(f"{HERE}:AllButFirst")))
        level = forgotten_loss(trained, anew.state.params)
        print(f"seed {seed}", line("trained", trained, before, anew.state.params), flush=True)
        print(f"seed {seed}", line("anew", trained, anew, anew.state.params), flush=True)
        for name, options in WAYS.items():
            told = {"stop_loss": level, "steps": STEPS, **options}
            again = simulation_of(seed, algorithm=PluginSpec("unlearn", told), rounds=STEPS)
            after = last_of(again, before.state.params)
            print(f"seed {seed}", line(name, again, after, anew.state.params), flush=True)


if __name__ == "__main__":
    main()
