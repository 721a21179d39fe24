"""Clients one block after the other, in this process. Needs no Ray."""

from ..kernel import BlockKernel, Broadcast, Summed, Trained, one_thread
from .base import Array, Rows, Sums, blocks


class SerialPool:
    """Train every block here."""

    def __init__(self, kernel: BlockKernel, stacked: bool = False) -> None:
        """Take the kernel, and whether it stacks the clients of a block."""
        self._kernel, self._stacked = kernel, stacked

    def train(self, broadcast: Broadcast, cohort: Array, expected_size: float) -> Trained:
        cut = blocks(cohort, self._stacked)
        rows = Rows(broadcast, cohort, cut)
        with one_thread():
            for number, block in enumerate(cut):
                rows.put(number, self._kernel.train(broadcast, block).arrays())
        return rows.result(expected_size)

    def train_sum(self, broadcast: Broadcast, cohort: Array) -> Summed:
        cut = blocks(cohort, self._stacked)
        sums = Sums(broadcast, cohort, cut)
        with one_thread():
            for number, block in enumerate(cut):
                sums.put(number, self._kernel.train_sum(broadcast, block).arrays())
        return sums.result()

    def close(self) -> None:
        return None
