"""SinkGD: step by the aggregate whose matrices have rows and columns of equal length.

Source: Scetbon, Ma, Gong, Meeds. Gradient Multi-Normalization for Stateless and Memory-Efficient LLM
Training. 2025, square-root Sinkhorn. arXiv:2502.06742. Its constants as public implementations have them
(unverified). On the server, the aggregate standing for the (negative) gradient: this package's transfer.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...core.layout import Layout


@dataclass(frozen=True)
class SinkGD:
    """Step by lr times the aggregate, brought to a root mean square of 1 tensor by tensor.

    Of a tensor with two axes or more, as a matrix [m, n], ``passes`` times: each row is scaled to norm
    sqrt(n), then each column to sqrt(m), so that its norm is sqrt(m n) whatever came. A vector of n numbers
    is scaled to sqrt(n). What is 0 stays 0. It remembers nothing, so that who takes part when does not
    matter; and it cannot tell a small aggregate from a large one, so that it does not come to rest by itself.

    Attributes:
        lr: Server step size, above 0: the root mean square of a step.
        passes: Over rows and columns, at least 1.
    """

    lr: float = 0.005
    passes: int = 5

    by_tensor: ClassVar[bool] = True
    memoryless: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"lr must be above 0 and finite, got {self.lr}")
        if self.passes < 1:
            raise ValueError(f"passes must be at least 1, got {self.passes}")

    def init(self) -> None:
        return None

    def step(self, params: Tensor, aggregate: Tensor, state: None, layout: Layout) -> tuple[Tensor, None]:
        """Return the next parameters.  # [P]"""
        move = torch.zeros_like(aggregate)
        for slot in layout.parameters:
            part = slice(slot.start, slot.start + slot.size)
            rows = slot.shape[0] if len(slot.shape) > 1 else 1
            move[part] = normalized(aggregate[part].view(rows, -1), self.passes).flatten()
        return params + self.lr * move, state


def normalized(matrix: Tensor, passes: int) -> Tensor:
    """Return a matrix after so many passes over its rows and columns; of one row, of the row.  # [m, n]"""
    exact = matrix.double()
    largest = exact.abs().max()
    exact = exact / torch.where(largest > 0, largest, 1.0)  # no square vanishes
    for _ in range(passes):
        exact = _scaled(exact, 1)
        exact = _scaled(exact, 0) if len(exact) > 1 else exact
    return exact.to(matrix.dtype)


def _scaled(matrix: Tensor, axis: int) -> Tensor:
    lengths = matrix.norm(dim=axis, keepdim=True)
    found: Tensor = matrix * (matrix.shape[axis] ** 0.5 / torch.where(lengths > 0, lengths, 1.0))
    return found
