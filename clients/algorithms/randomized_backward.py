"""Randomised backward passes of linear layers: a sketch of the inputs is kept, and not the inputs.

Source: Bershatsky, Mikhalev, Katrutsa, Gusak, Merkulov, Oseledets. Memory-Efficient Backpropagation through
Large Linear Layers. arXiv:2201.13195, of which the abstract alone was read; the sketches and their variances
were derived anew.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil, sqrt
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.contracts import LocalTraining, Visit
from .parts.local_sgd import Batch, descend
from .parts.replaced import replaced

SKETCHES = ("rademacher", "gauss", "rows")


@dataclass(frozen=True)
class RandomizedBackward:
    """Local SGD whose linear layers keep S'X [k, inputs] in the place of their inputs X [B, inputs].

    S [B, k] with E S S' = I is drawn anew by each client for each layer and step; dW = (S'dY)'(S'X), right on
    average, dX and the bias's gradient are exact. The memory of a layer's inputs is k / B of what it was. The
    variance of dW, summed over its entries, is (|X|^2 |dY|^2 + |X'dY|^2) / k of normals, that less
    2 sum_b |x_b|^2 |dy_b|^2 / k of signs, and (B sum_b |x_b|^2 |dy_b|^2 - |X'dY|^2) / k of rows.

    Rows of dW still lie in the span of the inputs; of one example they are the input, as ever: it hides
    nothing.

    Attributes:
        share: k / B, above 0 and at most 1; at least one row is kept. Also at 1 the product is a random one.
        sketch: ``"rademacher"``: S of +-1 / sqrt(k); ``"gauss"``: of normals; ``"rows"``: k examples drawn
            with replacement, times sqrt(B / k).
    """

    share: float = 0.25
    sketch: Literal["rademacher", "gauss", "rows"] = "rademacher"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share}")
        if self.sketch not in SKETCHES:
            raise ValueError(f"sketch must be one of {', '.join(SKETCHES)}; got {self.sketch!r}")

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    def work(self, visit: Visit) -> tuple[Tensor, Tensor]:
        """Return the update of steps along sketched gradients, and the mean loss."""
        stream = visit.stream("backward sketch")

        def value(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
            layers = {path: m for path, m in model.named_modules() if type(m) is nn.Linear}
            drawn = partial(self.drawn, stream)
            with replaced(model, {path: partial(_forward, layer, drawn) for path, layer in layers.items()}):
                loss = visit.loss(model(batch.x), batch.y)
            return loss, loss

        local, loss = descend(visit, value)
        return local - visit.received, loss

    def drawn(self, stream: np.random.Generator, rows: int) -> Tensor:
        """Return S for so many rows.  # [rows, k], float32"""
        kept = ceil(self.share * rows)
        if self.sketch == "rows":
            found = np.zeros((rows, kept), dtype=np.float32)
            found[stream.integers(0, rows, kept), np.arange(kept)] = sqrt(rows / kept)
        elif self.sketch == "gauss":
            found = stream.standard_normal((rows, kept), dtype=np.float32) / np.float32(sqrt(kept))
        else:
            signs = 2 * stream.integers(0, 2, (rows, kept), dtype=np.int8) - 1
            found = signs.astype(np.float32) / np.float32(sqrt(kept))
        return torch.from_numpy(found)

    def init(self) -> None:
        return None

    def step(self, params: Tensor, aggregate: Tensor, state: None) -> tuple[Tensor, None]:
        """Add the aggregate."""
        return params + aggregate, state


class _Sketched(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, sketch: Tensor) -> Tensor:
        ctx.save_for_backward(sketch.t() @ x.flatten(0, -2), weight, sketch)
        ctx.biased = bias is not None
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        kept, weight, sketch = ctx.saved_tensors
        dy = gradients[0]
        rows = dy.flatten(0, -2)
        dx = dy @ weight if ctx.needs_input_grad[0] else None
        return dx, (sketch.t() @ rows).t() @ kept, rows.sum(0) if ctx.biased else None, None


def _forward(layer: nn.Linear, drawn: Callable[[int], Tensor], x: Tensor) -> Tensor:
    sketch = drawn(x.flatten(0, -2).shape[0]).to(x)
    found: Tensor = _Sketched.apply(x, layer.weight, layer.bias, sketch)  # type: ignore[no-untyped-call]
    return found
