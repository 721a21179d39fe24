"""Where clients train: the rule, the memory a stack takes, and that no tensor is left behind on the CPU.

With a CUDA device the numbers are compared too.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.placement.device import client_bytes, device_for
from gauntlet.clients.pools.ray import EVEN_SHARE, staff
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import ScenarioError, WorkerError
from gauntlet.core.layout import Layout
from gauntlet.core.seeds import generator
from gauntlet.privacy.no_privacy import NoPrivacy

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
with_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA")

TRAININGS = {
    "plain": LocalTraining(local_epochs=2, batch_size=4, lr=0.1),
    "momentum and decay": LocalTraining(
        local_epochs=1, batch_size=4, lr=0.1, momentum=0.9, weight_decay=0.01
    ),
    "adam": LocalTraining(local_epochs=1, batch_size=4, lr=0.1, optimizer="adam"),
}


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 4))


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 4)
    )


@without_cuda
def test_auto_takes_the_cpu_where_torch_finds_no_cuda_and_cuda_is_refused_in_one_line():
    assert device_for("auto") == device_for("cpu") == "cpu"
    with pytest.raises(ScenarioError, match=r"device = cuda cannot be: torch finds no CUDA .* auto or cpu"):
        device_for("cuda")


def test_what_trains_on_the_cpu_alone_is_refused_on_cuda_and_auto_leaves_it_where_it_is():
    assert device_for("auto", "it is shy") == device_for("cpu", "it is shy") == "cpu"
    with pytest.raises(ScenarioError, match="device = cuda cannot be: it is shy"):
        device_for("cuda", "it is shy")


def test_a_client_of_a_stack_is_reckoned_by_its_parameters_and_activations():
    """By hand: 332 parameters, an example's activations (36, 8, 8, 8 and 4), 4 bytes each, six copies."""
    model = mlp().train()

    assert client_bytes(model, (1, 6, 6), 10) == 4 * 6 * (36 * 8 + 8 + 8 * 4 + 4 + 10 * (36 + 8 + 8 + 8 + 4))
    assert model.training
    assert not any(layer._forward_hooks for layer in model)


@pytest.mark.parametrize(
    ("resources", "workers", "gpus", "expected"),
    [
        ({"CPU": 16.0, "GPU": 2.0}, None, 0.0, (16, 0.0)),
        ({"CPU": 16.0, "GPU": 2.0}, None, EVEN_SHARE, (2, 1.0)),
        ({"CPU": 16.0, "GPU": 2.0}, 6, EVEN_SHARE, (6, 0.333)),
        ({"CPU": 16.0, "GPU": 5.0}, 2, EVEN_SHARE, (2, 2.0)),
        ({"CPU": 16.0, "GPU": 2.0}, None, 0.25, (8, 0.25)),
        ({"CPU": 16.0, "GPU": 2.0}, 3, 0.5, (3, 0.5)),
    ],
)
def test_gpus_are_dealt_out_evenly_or_as_asked(resources, workers, gpus, expected):
    assert staff(resources, workers, gpus) == expected


@pytest.mark.parametrize(
    ("resources", "workers", "gpus"),
    [({"CPU": 4.0}, None, EVEN_SHARE), ({"CPU": 4.0, "GPU": 1.0}, 3, 0.5), ({"CPU": 4.0}, 2, 0.1)],
)
def test_more_gpus_than_ray_has_are_refused_in_one_line(resources, workers, gpus):
    with pytest.raises(WorkerError, match=r"workers need .* GPUs, and Ray finds"):
        staff(resources, workers, gpus)


@pytest.mark.slow
def test_what_is_trained_on_a_device_is_all_there():
    """Oracle: torch's fake tensors, which refuse what mixes devices, as the last line shows."""
    script = Path(__file__).with_name("elsewhere.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)

    cases = [f"{model} {how}" for model in ("mlp", "cnn") for how in ("plain", "momentum", "adam")]
    assert done.stdout.splitlines() == [*cases, "left behind: FakeTensorDeviceMismatchError"], done.stderr


class Few:
    """Three clients with random pictures."""

    num_classes = 4

    def client(self, client_id):
        stream = generator(3, "few", client_id)
        x = stream.standard_normal((5 + client_id, 1, 6, 6)).astype(np.float32)
        return torch.from_numpy(x), torch.from_numpy(stream.integers(0, 4, 5 + client_id))


@with_cuda
@pytest.mark.parametrize("height", [1, 8])
@pytest.mark.parametrize("training", TRAININGS.values(), ids=TRAININGS)
def test_cuda_gives_the_updates_of_the_cpu(training, height):
    """Oracle: the CPU. Without dropout, whose streams differ where clients train one at a time."""
    found = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = cnn()
        params = Layout.of(model).flatten(dict(model.named_parameters())).clone()
        kernel = BlockKernel(
            Few(), model, FedAvg(), training, NoPrivacy(), (), 5, height=height, device=device
        )
        found.append(kernel.train(Broadcast(1, params, torch.zeros(0)), np.arange(3)).updates.vectors)

    assert torch.allclose(found[1], found[0], rtol=1e-4, atol=1e-6)
