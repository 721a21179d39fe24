"""A program for a process of its own: how often its steps ask the system for memory, before and after."""

import resource
from pathlib import Path

import torch
from torch import nn

from gauntlet.clients.placement.memory import keep_freed_memory
from gauntlet.clients.tracing.stack_step import StackedStep


def write_faults(path: Path) -> None:
    """Write the page faults of four steps, and of as many once freed memory is kept."""
    torch.set_num_threads(1)
    layers = nn.Conv2d(1, 10, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(10, 20, 5), nn.ReLU(), nn.MaxPool2d(2)
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(320, 10))
    step = StackedStep(model, [name for name, _ in model.named_parameters()])
    params = [p.detach().expand(25, *p.shape).clone() for p in model.parameters()]
    images, targets = torch.rand(25, 10, 1, 28, 28), torch.zeros(25, 10, 10)

    def faults(steps: int) -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(steps):
            with torch.no_grad():
                step(params, images, targets)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults(4)  # the first steps are recorded, and grow the heap
    given_back = faults(4)
    keep_freed_memory()
    faults(4)
    path.write_text(f"{given_back} {faults(4)}")
