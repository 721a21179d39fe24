"""A small model as attacks on examples see one, for the checks of what they owe."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ....core.seeds import generator


@dataclass(frozen=True)
class DenseModel:
    """Two dense layers with a tanh between them, as a model that an attack sees.

    Attributes:
        params: ``first`` [D, F], then ``second`` [F, C], flattened.  # [P]
        sizes: D, F and C.
    """

    params: Tensor
    sizes: tuple[int, int, int]

    @classmethod
    def drawn(cls, inputs: int, classes: int, hidden: int = 12) -> "DenseModel":
        """Return one with weights drawn from a fixed stream."""
        stream = generator(0, "contract model")
        first = stream.standard_normal(inputs * hidden) / inputs**0.5
        second = stream.standard_normal(hidden * classes)
        both = torch.from_numpy(np.concatenate([first, second])).to(torch.float32)
        return cls(both, (inputs, hidden, classes))

    def __call__(self, x: Tensor, params: Tensor | None = None) -> Tensor:
        return self.features(x, params) @ self._parts(params)[1]

    def features(self, x: Tensor, params: Tensor | None = None) -> Tensor:
        return torch.tanh(x.flatten(1) @ self._parts(params)[0])

    def head(self, x: Tensor) -> Tensor:
        inputs, hidden, _ = self.sizes
        return torch.arange(len(self.params)) >= inputs * hidden

    def _parts(self, params: Tensor | None) -> tuple[Tensor, Tensor]:
        flat = self.params if params is None else params
        inputs, hidden, classes = self.sizes
        cut = inputs * hidden
        return flat[:cut].reshape(inputs, hidden), flat[cut:].reshape(hidden, classes)
