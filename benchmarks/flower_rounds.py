"""Seconds of FedAvg's rounds on Flower's own simulation runtime. Usage: flower_rounds.py WORKLOAD ROUNDS."""

import logging
import sys
import time
from itertools import pairwise
from typing import Any

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from torch.nn.functional import cross_entropy
from workloads import BATCH, COHORT, EXAMPLES, LEARNING_RATE, POPULATION, data, model

WORKLOAD, ROUNDS = sys.argv[1], int(sys.argv[2])
cache: dict[str, Any] = {}
marks: list[float] = []
client_app, server_app = ClientApp(), ServerApp()


@client_app.train()  # type: ignore[untyped-decorator, unused-ignore]
def train(message: Message, context: Context) -> Message:
    """Train one client for an epoch."""
    torch.set_num_threads(1)
    if "data" not in cache:
        cache["data"] = data()
    inputs, labels = cache["data"]
    k = int(context.node_config["partition-id"])
    local = model(WORKLOAD)
    local.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer = torch.optim.SGD(local.parameters(), LEARNING_RATE)
    for s in range(0, EXAMPLES, BATCH):
        optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(local(inputs[k, s : s + BATCH]), labels[k, s : s + BATCH]))
        optimizer.step()
    metrics = MetricRecord({"num-examples": EXAMPLES})
    content = RecordDict({"arrays": ArrayRecord(local.state_dict()), "metrics": metrics})
    return Message(content=content, reply_to=message)


@server_app.main()  # type: ignore[untyped-decorator, unused-ignore]
def main(grid: Grid, _context: Context) -> None:
    """Run the rounds, and note the time after each."""

    def mark(_round: int, _arrays: ArrayRecord) -> MetricRecord:
        marks.append(time.perf_counter())
        return MetricRecord({"marked": 1.0})

    strategy = FedAvg(
        fraction_train=COHORT / POPULATION,
        fraction_evaluate=0.0,
        min_train_nodes=COHORT,
        min_available_nodes=POPULATION,
    )
    arrays = ArrayRecord(model(WORKLOAD).state_dict())
    strategy.start(grid=grid, initial_arrays=arrays, num_rounds=ROUNDS, evaluate_fn=mark)


init = {"num_cpus": 2, "logging_level": logging.ERROR, "log_to_driver": False, "include_dashboard": False}
run_simulation(
    server_app,
    client_app,
    num_supernodes=POPULATION,
    backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": init},
)
print(*(b - a for a, b in pairwise(marks)))
