"""Freed memory stays with the process: the system's own count of page faults is the oracle."""

import subprocess
import sys

import pytest

FAULTS = """
import os, resource
import torch
from torch import nn
from gauntlet.clients.placement.memory import keep_freed_memory
from gauntlet.clients.tracing.stack_step import StackedStep

torch.set_num_threads(1)
import torch._dynamo.polyfills  # as the first step that is recorded does
if kept := os.fork():
    os.waitpid(kept, 0)
else:
    keep_freed_memory()
layers = nn.Conv2d(1, 10, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(10, 20, 5), nn.ReLU(), nn.MaxPool2d(2)
model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(320, 10))
step = StackedStep(model, [name for name, _ in model.named_parameters()])
params = [p.detach().expand(25, *p.shape).clone() for p in model.parameters()]
images, targets = torch.rand(25, 10, 1, 28, 28), torch.zeros(25, 10, 10)
found = []
for _ in range(16):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    with torch.no_grad():
        step(params, images, targets)
    found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sum(found[8:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is the GNU C library's")
def test_what_is_freed_is_used_again_without_asking_the_system():
    """Both in a process that has imported all that a step takes: a fork keeps memory, its parent does not."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    kept, given_back = map(int, done.stdout.split())
    assert 3 * kept < given_back
