"""Mean and standard deviation of a cohort, coordinate by coordinate.

In float64 and in blocks of columns: bounded memory, and the same bits for any number of threads.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....core.contracts import UpdateKnowledge, View
from ....core.updates import Updates

Array = NDArray[Any]
BLOCK_ELEMENTS = 2**20


def check_knowledge(knowledge: UpdateKnowledge) -> None:
    """Raise ``ValueError`` where an attack on a crowd would see a single update."""
    if knowledge is UpdateKnowledge.OWN:
        raise ValueError("knowledge must be omniscient or colluders, got own")


def known_honest(own: Updates, view: View) -> Tensor:
    """Return the rows that an attack takes for honest behaviour (H).

    The honest clients' updates; the attackers' own honest ones, where they see no others or the cohort has
    none.  # [|H|, P]
    """
    if view.honest is None or len(view.honest) == 0:
        return own.vectors
    return view.honest.vectors


def mean_and_std(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return (mean, sample standard deviation with ddof = 1), float64; 0 for a single row.  # [P], [P]"""
    matrix: Array = vectors.detach().numpy()
    size, width = matrix.shape[1], max(1, BLOCK_ELEMENTS // len(matrix))
    mean, std = np.zeros(size), np.zeros(size)
    for start in range(0, size, width):
        columns = slice(start, start + width)
        block = matrix[:, columns].astype(np.float64)
        centre = block.mean(axis=0, keepdims=True)
        mean[columns] = centre[0]
        if len(block) > 1:
            std[columns] = block.std(axis=0, ddof=1, mean=centre)
    return torch.from_numpy(mean), torch.from_numpy(std)


def send_all(own: Updates, row: Tensor) -> Updates:
    """Return the attackers' cohort with the same crafted update [P] in every row."""
    return own.with_vectors(row.to(own.vectors.dtype).repeat(len(own), 1))
