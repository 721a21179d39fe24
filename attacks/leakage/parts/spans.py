"""The span of what linear layers read, out of their gradients, and how far another input lies from it.

The gradient of a weight is a sum of outer products of what came back and what was read, so that its rows lie
in the span of the inputs [b, d] and give it whole where b < d and what came back is of full rank.

Source: Petrov, Dimitrov, Baader, Mueller, Vechev. DAGER: Exact Gradient Inversion for Large Language Models.
NeurIPS 2024, Section 4. arXiv:2405.15586. The thresholds, from float32's noise, are ours.
"""

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ....core.observation import Observation, noise_floor

SENT, COMPUTED = 1.0, 12.0  # times rounding: of what was sent, and of a gradient of that size on the way
SHARE = 0.1  # of the weakest direction that an input has at most, about ten times what was seen
NEAREST, FARTHEST = 1e-6, 0.02
DOUBLE = 2.0**-22  # of float32's noise is that of float64, with what the decomposition itself loses


@dataclass(frozen=True)
class Span:
    """The span of the inputs of some linear layers.

    Attributes:
        basis: Orthonormal rows.  # [r, d]
        bound: The largest relative distance at which an input counts as in the span.
    """

    basis: Tensor
    bound: float

    @property
    def rank(self) -> int:
        """r, the dimensions of the span."""
        return len(self.basis)

    def distance(self, inputs: Tensor) -> Tensor:
        """Return how far inputs [..., d] lie from the span, over their lengths: from 0 to 1.  # [...]"""
        length = inputs.norm(dim=-1)
        off = inputs - (inputs @ self.basis.T) @ self.basis
        relative: Tensor = off.norm(dim=-1) / length.clamp(min=1e-300)
        return relative


def readers(layers: Sequence[str], known: Container[str]) -> list[str]:
    """Return the names of those known parameters that multiply some layers' input, adapters' A among them."""
    return [n for layer in layers for n in (f"{layer}.weight", f"{layer}.lora_down.weight") if n in known]


def span_of(observation: Observation, layers: Sequence[str]) -> Span:
    """Return the span of what linear layers read, by the gradients of those of them that are trained.

    Of a layer with an adapter that is A, whose gradient is s B^T times the layer's own: no more than its rank
    is seen of each, and nothing where B is zero.

    Rows are put together in units of each layer's own noise floor. What lies below the largest singular
    value of such noise is left out; the bound is a tenth of that noise over the smallest value that is left,
    between 1e-6 and 0.02.

    Args:
        observation: One client's step.
        layers: Names of modules, all of one input.
    """
    return span_of_rows(observation, readers(layers, {slot.name for slot in observation.layout.parameters}))


def span_of_rows(observation: Observation, names: Sequence[str]) -> Span:
    """Return the span of the rows of some trained parameters' gradients, likewise; names are theirs."""
    observation = replace(observation, update=observation.update.nan_to_num(0.0, 0.0, 0.0))
    views = observation.layout.views(observation.update.double())
    unit = DOUBLE if observation.update.dtype == torch.float64 else 1.0
    sent, computed = noise_floor(observation), noise_floor(replace(observation, kind="gradient"))
    floors = [unit * (SENT * sent[name] + COMPUTED * computed[name]) for name in names]
    rows = torch.cat(
        [views[n] / max(floor, 1e-300) for n, floor in zip(names, floors, strict=True)]
    )  # [m, d]
    values, basis = torch.linalg.svd(rows, full_matrices=False)[1:]
    noise = math.sqrt(len(rows)) + math.sqrt(rows.shape[1])
    rank = int((values > noise).sum())
    ratio = noise / float(values[rank - 1]) if rank else 1.0
    return Span(basis[:rank], min(max(SHARE * ratio, NEAREST), FARTHEST))
