"""Flower's own simulation with a defense and an attack of Gauntlet's: digits, ten nodes, three of them lie.

python docs/examples/flower/digits.py --defense multi_krum
python docs/examples/flower/digits.py --defense mean
"""

import argparse

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation
from sklearn.datasets import load_digits
from torch import Tensor, nn

from gauntlet.server.flower import GauntletStrategy, attack_mod

NODES = 10
LIARS = (1, 4, 7)  # partition ids
OPTIONS = {"multi_krum": {"num_byzantine": len(LIARS)}, "trimmed_mean": {"num_byzantine": len(LIARS)}}


def examples(train: bool) -> tuple[Tensor, Tensor]:
    """Return the training or the test part of scikit-learn's digits, pixels in [0, 1]."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    rows = order[:1437] if train else order[1437:]
    return torch.tensor(x[rows] / 16, dtype=torch.float32), torch.tensor(y[rows])


def make_client(local_steps: int = 20) -> ClientApp:
    """Return a client that trains on its share; three of them send ten times the opposite."""
    app = ClientApp(mods=[attack_mod("sign_flip", LIARS, {"scale": 10.0})])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        x, y = (part[int(context.node_config["partition-id"]) :: NODES] for part in examples(train=True))
        model = nn.Linear(64, 10)
        model.load_state_dict(message.content["arrays"].to_torch_state_dict())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        for _ in range(local_steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        arrays, metrics = ArrayRecord(model.state_dict()), MetricRecord({"num-examples": len(x)})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    return app


def make_server(defense: str, rounds: int) -> ServerApp:
    """Return a server that aggregates with one of Gauntlet's defenses and tests on its own examples."""
    app = ServerApp()

    def accuracy(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        weights = arrays.to_torch_state_dict()
        x, y = examples(train=False)
        share = float(((x @ weights["weight"].T + weights["bias"]).argmax(dim=1) == y).float().mean())
        print(f"round {server_round} accuracy {share:.4f}", flush=True)
        return MetricRecord({"accuracy": share})

    @app.main()
    def main(grid: Grid, _: Context) -> None:
        strategy = GauntletStrategy(
            defense,
            OPTIONS.get(defense),
            fraction_evaluate=0.0,
            min_train_nodes=NODES,
            min_available_nodes=NODES,
        )
        start = ArrayRecord({"weight": torch.zeros(10, 64), "bias": torch.zeros(10)})
        strategy.start(grid=grid, initial_arrays=start, num_rounds=rounds, evaluate_fn=accuracy)

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--defense", default="multi_krum", help="mean, median, multi_krum, trimmed_mean ...")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    resources = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    run_simulation(make_server(given.defense, given.rounds), make_client(), NODES, backend_config=resources)
