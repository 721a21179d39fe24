"""Clients one block after the other, in this process. Needs no Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import named_faults
from ..placement.device import one_thread
from ..scoring.scorer import Answers, Scorer
from .base import Array, Kernel, Rows, Sums, block_broadcasts, blocks, put

if TYPE_CHECKING:
    from ..exchange.messages import Broadcast, Summed, Trained


class SerialPool:
    """Do every block here."""

    def __init__(self, kernel: Kernel, height: int = 1, scorer: Scorer | None = None) -> None:
        """Take the kernel, how many clients it stacks at most, and what scores a model, if it is to."""
        self._kernel, self._height, self._scorer = kernel, height, scorer

    def train(self, broadcast: Broadcast, cohort: Array, expected_size: float) -> Trained:
        cut = blocks(cohort, self._height)
        rows, sent = Rows(broadcast, cohort, cut), block_broadcasts(broadcast, cut)
        with one_thread():
            for number, block in enumerate(cut):
                with named_faults("clients cannot train"):
                    trained = self._kernel.train(sent[number], block, rows.places(number))
                    put(rows.homes(number), trained.arrays())
        return rows.result(expected_size)

    def train_sum(self, broadcast: Broadcast, cohort: Array) -> Summed:
        cut = blocks(cohort, self._height)
        sums = Sums(broadcast, cohort, cut)
        with one_thread():
            for number, block in enumerate(cut):
                with named_faults("clients cannot train"):
                    put(sums.homes(number), self._kernel.train_sum(broadcast, block).arrays())
        return sums.result()

    def score(self, broadcast: Broadcast) -> Answers:
        assert self._scorer is not None, "a pool without a scorer is asked for none"
        answers = Answers(self._scorer.examples)
        with one_thread():
            for number in range(len(answers)):
                put(answers.homes(number), self._scorer.score(broadcast, np.array([number])).arrays())
        return answers

    def close(self) -> None:
        return None
