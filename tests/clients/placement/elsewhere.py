"""Train on a device that is not there: run by ``test_device.py`` in a process of its own.

Torch's fake tensors know shapes and devices and refuse operations across devices. The device is one that
torch lets Python register, since a build without CUDA cannot even name tensors there. Prints a line a case.
"""

import sys
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from gauntlet.attacks.poisoning.gradient_ascent import GradientAscent
from gauntlet.clients.algorithms.fedprox import FedProx
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.tracing.losses import CROSS_ENTROPY
from gauntlet.clients.tracing.stack_step import StackedStep
from gauntlet.clients.training.alone import LoneTraining
from gauntlet.clients.training.shelf import Shelf
from gauntlet.clients.training.stacked import train_stacked
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.layout import Layout
from gauntlet.core.seeds import generator

DEVICE = "elsewhere:0"
TRAININGS = {
    "plain": LocalTraining(local_epochs=2, batch_size=4, lr=0.1),
    "momentum": LocalTraining(local_epochs=1, batch_size=4, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": LocalTraining(local_epochs=1, batch_size=4, lr=0.1, optimizer="adam"),
}


class Movable(nn.Sequential):
    """A model that can be moved although its parameters are fake ones, which torch does not swap."""

    def to(self, device: str) -> "Movable":  # type: ignore[override]
        for layer in self:
            for name, value in list(layer.named_parameters()):
                setattr(layer, name, nn.Parameter(value.to(device)))
        return self


MODELS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: Movable(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 4)),
    "cnn": lambda: Movable(
        nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 4)
    ),
}
BATCHES = [[[0, 1, 2, 3], [4, 5]], [[1, 2]], [[0, 1, 2, 3], [2]]]


def batches() -> list[list[np.ndarray]]:
    """Return three clients' local steps: ragged, so that they are padded and drop out of the stack."""
    return [[np.array(rows) for rows in steps] for steps in BATCHES]


def stacked(make: Callable[[], nn.Module], training: LocalTraining, shelf_on: str) -> list[Tensor]:
    """Train three clients in a stack, two of whom attack; return what must lie on the device."""
    attack = GradientAscent().steer
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = make().to(DEVICE)
        layout = Layout.of(model)
        pixels = torch.zeros(9, 1, 6, 6, dtype=torch.uint8)
        out = torch.empty(3, layout.num_parameters, device=DEVICE)
        losses = train_stacked(
            StackedStep(model, [slot.name for slot in layout.parameters]),
            layout,
            FedProx(0.5),
            training,
            torch.zeros(layout.num_parameters, device=DEVICE),
            Shelf(pixels, torch.zeros(9, dtype=torch.int64)).to(shelf_on),
            [np.arange(6), np.arange(3, 9), np.arange(6)],
            batches(),
            4,
            out,
            [None, attack, attack],
            [lambda k=k: generator(0, "dropout", k) for k in range(3)],  # type: ignore[misc]
        )
    return [losses, out]


def alone(make: Callable[[], nn.Module], training: LocalTraining) -> list[Tensor]:
    """Train one client that attacks; return what must lie on the device. Its update comes back."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = make()
        lone = LoneTraining(model, FedProx(0.5), training, CROSS_ENTROPY.mean, DEVICE)
        update = torch.empty(len(lone.local))
        loss = lone.train(
            Broadcast(0, torch.zeros(len(update), device=DEVICE), torch.zeros(0)),
            (torch.zeros(6, 1, 6, 6), torch.zeros(6, dtype=torch.int64)),
            batches()[0],
            generator(0, "dropout"),
            GradientAscent().steer,
            update,
            torch.zeros(0),
        )
    assert update.device.type == "cpu"
    return [loss, lone.local, lone.gradient, *model.parameters()]


def main() -> None:
    """Run every case."""
    _setup_privateuseone_for_python_backend("elsewhere")
    for name, make in MODELS.items():
        for how, training in TRAININGS.items():
            there = stacked(make, training, DEVICE) + (alone(make, training) if name == "cnn" else [])
            assert {str(t.device) for t in there} == {DEVICE}, [t.device for t in there]
            print(name, how)
    try:
        stacked(MODELS["cnn"], TRAININGS["plain"], "cpu")
    except Exception as error:
        print("left behind:", type(error).__name__)


if __name__ == "__main__":
    sys.exit(main())
