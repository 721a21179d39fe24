"""Does the influence that rounds tell rank clients as leaving each one out does?

Usage: influence.py [--seeds 0 1 2]. Digits, logistic regression, 10 clients by Dirichlet 1, of whom two flip
all labels, 10 rounds of one local epoch with batches of 32 at 0.1, 200 examples at the server. Prints the
rank correlation, the places of the two liars (10: last), and the loss on the server's examples with
everybody, and without the three who help least by either.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from torch.nn.functional import cross_entropy

from gauntlet.core.contracts import LocalTraining, Sampling
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec, RunSpec

HERE, LIARS, CLIENTS = str(Path(__file__).resolve()), (2, 7), 10


@dataclass(frozen=True)
class AllBut:
    """Everybody in every round, but some clients never."""

    away: tuple[int, ...] = ()

    def sampling(self, num_clients: int) -> Sampling:
        size = num_clients - len(self.away)
        return Sampling("other", num_clients, size / num_clients, float(size))

    def sample(self, num_clients: int, generator: np.random.Generator) -> Any:
        return np.array([i for i in range(num_clients) if i not in self.away])


def run(seed: int, away: tuple[int, ...] = ()) -> tuple[float, dict[int, float]]:
    """Return the loss on the server's examples in the end, and what each client's influence was."""
    spec = RunSpec(
        seed=seed,
        rounds=10,
        num_clients=CLIENTS,
        data=PluginSpec("digits"),
        partition=PluginSpec("dirichlet", {"alpha": 1.0}),
        model=PluginSpec("logistic_regression"),
        training=LocalTraining(batch_size=32, lr=0.1),
        sampler=PluginSpec(f"{HERE}:AllBut", {"away": list(away)}),
        roles=(RoleSpec(PluginSpec("label_flip_all", {"num_classes": 10}), LIARS),),
        defense=PluginSpec("client_influence", {"weighting": "num_examples"}),
        root_examples=200,
        evaluate_every=1000,
    )
    simulation = prepare(spec)
    *_, last = simulation.steps(simulation.serial_pool())
    own = simulation.plan.candidates.examples  # type: ignore[union-attr]
    weight, bias = simulation.plan.layout.views(last.state.params).values()
    loss = cross_entropy(own.x.flatten(1) @ weight.T + bias, own.y)  # type: ignore[union-attr]
    return float(loss), dict(last.state.defense)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    for seed in parser.parse_args().seeds:
        whole, traced = run(seed)
        told = np.array([traced[i] for i in range(CLIENTS)])
        without = np.array([run(seed, (i,))[0] - whole for i in range(CLIENTS)])
        places = [[int((scores > scores[i]).sum()) + 1 for i in LIARS] for scores in (told, without)]
        worst = [tuple(np.argsort(scores)[:3].tolist()) for scores in (told, without)]
        left = [run(seed, three)[0] for three in worst]
        print(
            f"seed {seed}: spearman {spearmanr(told, without).statistic:.2f}  places {places}  "
            f"loss {whole:.3f}, without {worst[0]} {left[0]:.3f}, without {worst[1]} {left[1]:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
