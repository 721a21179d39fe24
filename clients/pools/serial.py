"""Clients one block after the other, in this process. Needs no Ray."""

from ...core.errors import named_faults
from ..device import one_thread
from ..kernel import BlockKernel
from ..messages import Broadcast, Summed, Trained
from .base import Array, Rows, Sums, block_broadcasts, blocks, put


class SerialPool:
    """Train every block here."""

    elsewhere = False

    def __init__(self, kernel: BlockKernel, height: int = 1) -> None:
        """Take the kernel, and how many clients it stacks at most."""
        self._kernel, self._height = kernel, height

    def train(self, broadcast: Broadcast, cohort: Array, expected_size: float) -> Trained:
        cut = blocks(cohort, self._height)
        rows, sent = Rows(broadcast, cohort, cut), block_broadcasts(broadcast, cut)
        with one_thread():
            for number, block in enumerate(cut):
                with named_faults("clients cannot train"):
                    put(rows.homes(number), self._kernel.train(sent[number], block).arrays())
        return rows.result(expected_size)

    def train_sum(self, broadcast: Broadcast, cohort: Array) -> Summed:
        cut = blocks(cohort, self._height)
        sums = Sums(broadcast, cohort, cut)
        with one_thread():
            for number, block in enumerate(cut):
                with named_faults("clients cannot train"):
                    put(sums.homes(number), self._kernel.train_sum(broadcast, block).arrays())
        return sums.result()

    def close(self) -> None:
        return None
