"""Seconds of rounds on pfl-research 0.6.0, one thread. Usage: pfl_rounds.py WORKLOAD ROUNDS [ALGORITHM].

ALGORITHM is fedavg (the default) or scaffold, option II. Prints processor seconds, then the clock's. Needs
``pip install torch==2.13.0 pfl==0.6.0`` in an environment of its own; ``rounds.py`` and ``algorithms.py`` run
it with the interpreter that ``PFL_PYTHON`` names.
"""

import sys
import time
from itertools import pairwise
from typing import Any

import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.algorithm.scaffold import SCAFFOLD, SCAFFOLDParams
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.data.user_state import InMemoryUserStateStorage
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel
from torch.nn.functional import cross_entropy
from workloads import BATCH, COHORT, LEARNING_RATE, POPULATION, data, model

WORKLOAD, ROUNDS = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
inputs, labels = data()
marks: list[tuple[float, float]] = []


class Net(torch.nn.Module):
    """The workload's model as pfl asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = model(WORKLOAD)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        logits: torch.Tensor = self.net(x)
        return logits

    def loss(self, x: torch.Tensor, y: torch.Tensor, eval: bool = False) -> torch.Tensor:
        """Return the mean cross-entropy."""
        return cross_entropy(self.net(x), y)

    def metrics(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, Any]:
        """Return the loss as a metric."""
        return {"loss": Weighted(float(self.loss(x, y)), 1)}


class Clock(TrainingProcessCallback):  # type: ignore[misc]
    """Note the time after each round."""

    def after_central_iteration(self, aggregate_metrics: Any, model: Any, central_iteration: int) -> Any:
        marks.append((time.process_time(), time.perf_counter()))
        return False, Metrics()


users = FederatedDataset(
    lambda k: Dataset([inputs[int(k)], labels[int(k)]], user_id=str(k)),
    get_user_sampler("random", list(range(POPULATION))),
)
net = Net()
common = {
    "central_num_iterations": ROUNDS,
    "evaluation_frequency": 10**6,
    "train_cohort_size": COHORT,
    "val_cohort_size": 0,
}
algorithm, params = FederatedAveraging(), NNAlgorithmParams(**common)
if sys.argv[3:] == ["scaffold"]:
    kept = {"use_gradient_as_control_variate": False, "user_state_storage": InMemoryUserStateStorage()}
    algorithm, params = SCAFFOLD(), SCAFFOLDParams(**common, **kept, population=POPULATION)
algorithm.run(
    params,
    SimulatedBackend(training_data=users, val_data=None, postprocessors=[]),
    PyTorchModel(
        net,
        local_optimizer_create=torch.optim.SGD,
        central_optimizer=torch.optim.SGD(net.parameters(), 1.0),
    ),
    NNTrainHyperParams(local_num_epochs=1, local_learning_rate=LEARNING_RATE, local_batch_size=BATCH),
    NNEvalHyperParams(local_batch_size=BATCH),
    callbacks=[Clock()],
)
for clock in (0, 1):
    print(*(b[clock] - a[clock] for a, b in pairwise(marks)))
