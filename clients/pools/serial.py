"""Clients one block after the other, in this process. Needs no Ray."""

from typing import Any

import numpy as np

from ..kernel import BlockKernel, Broadcast, Trained, one_thread
from .base import blocks, join


class SerialPool:
    """Train every block here."""

    def __init__(self, kernel: BlockKernel, stacked: bool = False) -> None:
        """Take the kernel, and whether it stacks the clients of a block."""
        self._kernel, self._stacked = kernel, stacked

    def train(self, broadcast: Broadcast, cohort: np.ndarray[Any, Any], expected_size: float) -> Trained:
        with one_thread():
            parts = [self._kernel.train(broadcast, block) for block in blocks(cohort, self._stacked)]
        return join(parts, broadcast, expected_size)

    def close(self) -> None:
        return None
