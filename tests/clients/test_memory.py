"""Freed memory stays with the process: the system's own count of page faults is the oracle."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from gauntlet.clients.memory import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()


def step():
    return [torch.ones(2 * 2**20) for _ in range(8)]  # 8 times 8 MiB, freed together: 16384 pages


for _ in range(20):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is the GNU C library's")
def test_what_is_freed_is_used_again_without_asking_the_system():
    assert 10 * faults("keep") < faults("do not")
