"""Spectral screen: tell clients with poor data by the singular values of their updates, layer by layer.

Source: Li et al. How Instruction and Reasoning Data Shape Post-Training: Data Quality through the Lens of
Layer-wise Gradients. 2025 (abstract: better data have gradients of lower nuclear norm and higher effective
rank). arXiv:2504.10766 (unverified). Its claim holds in one direction for some faults and in the other for
others (docs/robustness-certified.md): the two-sided rule over clients is this package's own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.layout import Layout
from ..core.updates import Updates
from .parts.memory import check_max_clients, remember
from .parts.screening import needed, screened

_NUMBERS = 2**22  # of updates that stand in float64 together: 32 MiB
_EVEN = 1e-6  # a spread of features that is none; they are about 1

State = dict[int, list[Tensor]]
"""From client id to [rounds [], sum of features [F]]."""


@dataclass(frozen=True)
class SpectralScreen:
    """Weigh down, and flag ``unreliable``, whose updates have an unusual spectrum in some layer.

    Of every tensor of two dimensions or more, as a matrix [out, rest], two features: the effective rank
    exp(-sum p log p) of its singular values s, p = s / sum s, and the nuclear norm sum s; each over the
    cohort's median. A client's score is its largest robust z, |mean over its rounds - median| over 1.4826 MAD
    of the cohort; beyond ``threshold`` it is flagged. Nobody needs to be told how many there are.

    It fails where labels are skewed: an update of three classes has another rank, too.

    Attributes:
        threshold: Largest z of a reliable client, above 0.
        unreliable_weight: What a flagged client weighs, where others weigh 1, between 0 and 1.
        max_clients: Clients remembered, the last seen ones, at least 1.
    """

    threshold: float = 3.0
    unreliable_weight: float = 0.5
    max_clients: int = 10_000

    remembers_clients: ClassVar[bool] = True
    stale: ClassVar[bool] = True
    beside_params: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.threshold < inf:
            raise ValueError(f"threshold must be above 0 and finite, got {self.threshold}")
        if not 0 <= self.unreliable_weight <= 1:
            raise ValueError(f"unreliable_weight must be between 0 and 1, got {self.unreliable_weight}")
        check_max_clients(self.max_clients)

    def init(self) -> State:
        return {}

    def aggregate(self, updates: Updates, state: State) -> tuple[Verdict, State]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        layout = needed(updates, "spectral_screen", "the shapes of layers").layout
        found = spectra(updates.vectors, layout)  # [K, F]
        found = found / found.quantile(0.5, dim=0).clamp(min=1e-300)
        none = [torch.zeros((), dtype=torch.float64), torch.zeros_like(found[0])]
        ids = updates.client_ids.tolist()
        past = [state.get(client, none) for client in ids]
        rounds = torch.stack([one[0] for one in past]) + 1  # [K]
        sums = torch.stack([one[1] for one in past]) + found
        news = {client: [rounds[k].clone(), sums[k].clone()] for k, client in enumerate(ids)}
        scores = _robust_z(sums / rounds[:, None]).amax(dim=1)
        poor = scores > self.threshold
        weights = torch.where(poor, self.unreliable_weight, 1.0).to(torch.float64)
        weights = weights / weights.sum().clamp(min=1e-300)
        verdict = screened(updates, weights, None, scores)
        flags = dict.fromkeys(updates.client_ids[poor].tolist(), "unreliable")
        verdict = Verdict(verdict.aggregate, weights, flags, verdict.scores)
        return verdict, remember(state, news, self.max_clients)


def spectra(vectors: Tensor, layout: Layout) -> Tensor:
    """Return effective rank and nuclear norm of each layer's matrix, float64.  # [K, 2 L]"""
    columns = []
    for slot in layout.parameters:
        out = slot.shape[0] if slot.shape else 0
        if len(slot.shape) < 2 or min(out, slot.size // out) < 2:
            continue
        rows = vectors[:, slot.start : slot.start + slot.size].reshape(len(vectors), out, -1)
        values = torch.cat(list(_singular(rows)))  # [K, r]
        total = values.sum(dim=1)
        p = values / total.clamp(min=1e-300)[:, None]
        columns += [torch.special.entr(p).sum(dim=1).exp(), total]
    if not columns:
        raise ValueError("spectral_screen needs a model with a matrix of two rows and columns or more")
    return torch.stack(columns, dim=1)


def _singular(matrices: Tensor) -> Iterator[Tensor]:
    """Yield the singular values of some matrices [K, n, m] after the other, from the smaller Gram matrix."""
    height = max(1, _NUMBERS // max(1, matrices[0].numel()))
    for some in torch.split(matrices, height):
        exact = some.to(torch.float64)
        wide = exact.shape[1] <= exact.shape[2]
        gram = exact @ exact.mT if wide else exact.mT @ exact
        yield torch.linalg.eigvalsh(gram).clamp(min=0.0).sqrt()


def _robust_z(values: Tensor) -> Tensor:
    """Return each value's distance to its column's median over 1.4826 MAD.  # [K, F]"""
    apart = (values - values.quantile(0.5, dim=0)).abs()
    return apart / (1.4826 * apart.quantile(0.5, dim=0)).clamp(min=_EVEN)
