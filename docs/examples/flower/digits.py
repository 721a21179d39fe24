"""Flower's own simulation with a defense and an attack of Gauntlet's: digits, ten nodes, three of them lie.

export FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1
flwr run docs/examples/flower --stream --federation-config num-supernodes=10
flwr run docs/examples/flower --stream --federation-config num-supernodes=10 --run-config 'defense="mean"'
"""

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from sklearn.datasets import load_digits
from torch import Tensor, nn

from gauntlet.server.flower import GauntletStrategy, attack_mod

NODES = 10
LIARS = (1, 4, 7)  # partition ids
LOCAL_STEPS = 20
OPTIONS = {"multi_krum": {"num_byzantine": len(LIARS)}, "trimmed_mean": {"num_byzantine": len(LIARS)}}

client = ClientApp(mods=[attack_mod("sign_flip", LIARS, {"scale": 10.0})])
server = ServerApp()


def examples(train: bool) -> tuple[Tensor, Tensor]:
    """Return the training or the test part of scikit-learn's digits, pixels in [0, 1]."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    rows = order[:1437] if train else order[1437:]
    return torch.tensor(x[rows] / 16, dtype=torch.float32), torch.tensor(y[rows])


@client.train()
def train(message: Message, context: Context) -> Message:
    """Train a node on its share; three of them then send ten times the opposite."""
    x, y = (part[int(context.node_config["partition-id"]) :: NODES] for part in examples(train=True))
    model = nn.Linear(64, 10)
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(LOCAL_STEPS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    arrays, metrics = ArrayRecord(model.state_dict()), MetricRecord({"num-examples": len(x)})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


def accuracy(server_round: int, arrays: ArrayRecord) -> MetricRecord:
    """Return the share of the server's own examples that a model classifies right, and print it."""
    weights = arrays.to_torch_state_dict()
    x, y = examples(train=False)
    share = float(((x @ weights["weight"].T + weights["bias"]).argmax(dim=1) == y).float().mean())
    print(f"round {server_round} accuracy {share:.4f}", flush=True)
    return MetricRecord({"accuracy": share})


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Aggregate with the defense that the app's configuration names."""
    defense = str(context.run_config["defense"])
    strategy = GauntletStrategy(
        defense,
        OPTIONS.get(defense),
        fraction_evaluate=0.0,
        min_train_nodes=NODES,
        min_available_nodes=NODES,
    )
    start = ArrayRecord({"weight": torch.zeros(10, 64), "bias": torch.zeros(10)})
    rounds = int(context.run_config["num-server-rounds"])
    strategy.start(grid=grid, initial_arrays=start, num_rounds=rounds, evaluate_fn=accuracy)
