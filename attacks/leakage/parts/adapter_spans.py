"""What adapters' gradients say of a layer's input: A's rows lie in its span, and B's in the span of A x.

For y = W x + s B A x with inputs X [b, d] and what came back D [b, m]: the gradient of A is s B^T D^T X, and
that of B is s D^T X A^T. So A tells nothing while B is zero, as LoRA begins; B tells as long as b is below r.

Source: Petrov et al. DAGER. NeurIPS 2024, Section 5 (A's gradient in the place of the layer's own).
arXiv:2405.15586. The test by B follows by algebra and is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ....core.observation import Observation
from .spans import Span, readers, span_of, span_of_rows

DOWN, UP = "lora_down.weight", "lora_up.weight"
NEAR = 0.1  # of a span's bound: below that, distances are rounding


@dataclass(frozen=True)
class Filter:
    """A test of which inputs some layers read.

    Attributes:
        spans: One span an adapter whose B is used, or the one of all A (and whole weights) together.
        maps: What an input is multiplied by before each test; None: nothing.  # [r, d] each
        rows: How many rows the gradients have together: the largest rank that they could show.
        full: Whether one adapter's gradients have full rank and the others add nothing to it.
    """

    spans: tuple[Span, ...]
    maps: tuple[Tensor | None, ...]
    rows: int
    full: bool = False

    @property
    def rank(self) -> int:
        """The dimensions that are seen: of several spans the most."""
        return max((span.rank for span in self.spans), default=0)

    @property
    def saturated(self) -> bool:
        """Whether everything may pass: the inputs have more dimensions than the gradients could show."""
        return self.full or self.rank >= self.rows

    @property
    def by_up(self) -> bool:
        """Whether it reads B's gradients."""
        return any(one is not None for one in self.maps)

    def distance(self, inputs: Tensor) -> Tensor:
        """Return how far inputs [..., d] are from passing, in units of each span's bound: up to 1 passes."""
        found = [
            span.distance(inputs if one is None else inputs @ one.T) / span.bound
            for span, one in zip(self.spans, self.maps, strict=True)
        ]
        most: Tensor = torch.stack(found).amax(dim=0)
        return most

    def nats(self, inputs: Tensor, count: int) -> Tensor:
        """Return how much likelier inputs [..., d] are if they were not read, less a constant.

        Of a span of r of the b dimensions that were read, as random inputs would be: a squared share c of
        Beta(r/2, (b - r)/2) lies in it, of another input Beta(r/2, (d - r)/2), whose ratio is
        (1 - c)^((d - b)/2). So something is known of a saturated filter, too, unless b is d or more.

        Args:
            inputs: What a layer may have read.
            count: How many were read at most; b is taken to be between that and the rank.
        """
        found: Tensor = torch.zeros(inputs.shape[:-1], dtype=inputs.dtype)
        for span, one in zip(self.spans, self.maps, strict=True):
            seen = inputs if one is None else inputs @ one.T
            read = (span.rank + min(count, seen.shape[-1])) / 2
            if span.rank < seen.shape[-1]:
                off = span.distance(seen).clamp(min=NEAR * span.bound)
                found = found + (seen.shape[-1] - read) * off.log()
        return found


def filter_of(observation: Observation, model: nn.Module, layers: Sequence[str]) -> Filter:
    """Return the test of what some layers read: by all that multiplies their input, or else by each B.

    Args:
        observation: One client's message.
        model: The public model, in float64.
        layers: Names of linear layers, all of one input.
    """
    known = {slot.name: slot.shape for slot in observation.layout.parameters}
    own = readers(layers, known)
    whole = span_of(observation, layers) if own else None
    if whole is not None and whole.rank:
        width, each = known[own[0]][1], [span_of_rows(observation, [name]).rank for name in own]
        most = [min(known[name][0], width) for name in own]
        full = any(rank == top == whole.rank for rank, top in zip(each, most, strict=True))
        return Filter((whole,), (None,), min(sum(most), width), full)
    ups = [layer for layer in layers if f"{layer}.{UP}" in known]
    spans = {layer: span_of_rows(observation, [f"{layer}.{UP}"]) for layer in ups}
    seen = {layer: span for layer, span in spans.items() if span.rank}
    if not seen:
        return Filter((), (), 1)
    maps = tuple(model.get_submodule(layer).get_parameter(DOWN).detach() for layer in seen)
    return Filter(tuple(seen.values()), maps, min(len(one) for one in maps))
