"""Where the examples of a block of clients lie while they train: gathered step by step, not copied before."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Shelf:
    """Examples of several clients.

    Attributes:
        x: Inputs as the data set has them; uint8 pixels are divided by 255 when taken.  # [n, ...]
        y: Labels, int64 [n, ...]; or real-valued targets, float32.  # [n, D]
        held: Whether the client that has an example holds each label, where that matters, float32.  # [n, C]
    """

    x: Tensor
    y: Tensor
    held: Tensor | None = None

    @classmethod
    def around(cls, x: Array, y: Array) -> "Shelf":
        """Return a shelf around arrays as they lie: they may be read-only and are never written to."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch has no read-only tensors
            kept = y if y.dtype == np.float32 else y.astype(np.int64, copy=False)
            return cls(torch.from_numpy(x), torch.from_numpy(kept))

    @classmethod
    def joined(cls, examples: Sequence[tuple[Tensor, Tensor]]) -> "Shelf":
        """Return a shelf on which the clients' examples stand one after the other."""
        return cls(torch.cat([x for x, _ in examples]), torch.cat([y for _, y in examples]))

    def to(self, device: str) -> "Shelf":
        """Return the shelf on a device: itself where it is there already."""
        held = None if self.held is None else self.held.to(device)
        return Shelf(self.x.to(device), self.y.to(device), held)

    @property
    def dtype(self) -> torch.dtype:
        """The type of what a model is given."""
        return self.x.dtype if self.x.dtype == torch.int64 else torch.float32

    def labelled(self, targets: Tensor, rows: Tensor) -> Tensor:
        """Return the targets [..., C] of rows [...] with which labels count behind them, if that matters."""
        return targets if self.held is None else torch.cat([targets, self.held[rows]], dim=-1)

    def take(self, rows: Tensor) -> Tensor:
        """Return inputs as a model is given them: pixels in [0, 1], or tokens.  # [*rows.shape, ...]"""
        taken = self.x.index_select(0, rows.reshape(-1)).view(*rows.shape, *self.x.shape[1:])
        values = taken.to(self.dtype)
        return values.div_(255) if taken.dtype == torch.uint8 else values
