"""InCo Aggregation: deep layers, which few clients have, are helped by a shallow one of the same shape.

Source: Chan, Ngai. Internal Cross-layer Gradients for Extending Homogeneity to Heterogeneity in Federated
Learning. ICLR 2024. arXiv:2308.11464; form ``mix`` as in the authors' public code.
Form ``projection`` is a reconstruction from the paper's abstract. Which layers are deep follows here from who
has them in the round's cohort.
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.layout import Layout, Slot
from ..core.updates import Updates
from .mean import Mean

TINY = 1e-7


@dataclass(frozen=True)
class InCo:
    """Average every parameter over the clients that have it, then bend the means of deep layers.

    A tensor of two or more dimensions is deep where some client of the cohort lacks it. Its partner is the
    last one of the same shape that all of them have; without one it stays the mean, as where some client has
    no layer of a stage. With g0 the partner's and gk the deep one's mean update, kernel by kernel of a
    convolution and row by row of a linear layer, a = <g0, g0> and b = <g0, gk>:

    - ``mix``: (gk / |gk| + theta g0 / |g0|) (|gk| + |g0|) / 2 with theta = |b| / a, at most ``clamp_max``;
      each entry is then cut off at +-``grad_clip``.
    - ``projection``: gk - min(b, 0) / a g0, the closest to gk that does not point against g0.

    All else, biases and norms too, is the mean. Where everybody has everything it is the uniform mean. It
    is no defense against liars.

    Attributes:
        form: See above.
        clamp_max: The largest theta, at least 0.
        grad_clip: The largest size of an entry of what ``mix`` gives, in the update's units, above 0.
    """

    form: Literal["mix", "projection"] = "mix"
    clamp_max: float = 5.0
    grad_clip: float = 0.1

    partial: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.form not in ("mix", "projection"):
            raise ValueError(f"form must be mix or projection, got {self.form!r}")
        if not 0 <= self.clamp_max < inf:
            raise ValueError(f"clamp_max must be at least 0 and finite, got {self.clamp_max}")
        if not 0 < self.grad_clip < inf:
            raise ValueError(f"grad_clip must be above 0 and finite, got {self.grad_clip}")

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        verdict, _ = Mean("uniform").aggregate(updates, None)
        if updates.presence is None or updates.context is None:
            return verdict, state
        layout = updates.context.layout
        everywhere = updates.presence.totals(torch.ones(len(updates.client_ids))) == len(updates.client_ids)
        means, bent = layout.views(verdict.aggregate), verdict.aggregate.clone()
        views = layout.views(bent)
        for slot, partner in partners(layout, everywhere):
            views[slot.name].copy_(self.combined(means[partner.name], means[slot.name]))
        return Verdict(bent), state

    def combined(self, shallow: Tensor, deep: Tensor) -> Tensor:
        """Return what becomes of a deep tensor's mean update, of its partner's shape [R, C, ...]."""
        first = 2 if deep.ndim > 2 else 1  # [R, C, H, W]: a kernel; [R, C]: a row
        g0, gk = (t.double().flatten(first).flatten(0, first - 1) for t in (shallow, deep))
        a, b = (g0 * g0).sum(-1, keepdim=True), (g0 * gk).sum(-1, keepdim=True)
        if self.form == "projection":
            found = gk - b.clamp(max=0) / a.where(a > 0, 1.0) * g0
        else:
            theta = (b.abs() / (a + TINY)).clamp(0, self.clamp_max)
            n0, nk = g0.norm(dim=-1, keepdim=True), gk.norm(dim=-1, keepdim=True)
            mixed = (gk / (nk + TINY) + theta * g0 / (n0 + TINY)) * (nk + n0) / 2
            found = mixed.clamp(-self.grad_clip, self.grad_clip)
        return found.view(deep.shape).to(deep.dtype)


def partners(layout: Layout, everywhere: Tensor) -> list[tuple[Slot, Slot]]:
    """Return every deep tensor with its partner.

    Args:
        layout: How the parameters lie in a vector.
        everywhere: Which parameters all clients have, bool.  # [P]
    """
    found, shared = list[tuple[Slot, Slot]](), dict[tuple[int, ...], Slot]()
    for slot in layout.parameters:
        if len(slot.shape) > 1 and bool(everywhere[slot.start : slot.start + slot.size].all()):
            shared[slot.shape] = slot
    for slot in layout.parameters:
        deep = len(slot.shape) > 1 and not bool(everywhere[slot.start : slot.start + slot.size].any())
        if deep and slot.shape in shared:
            found.append((slot, shared[slot.shape]))
    return found
