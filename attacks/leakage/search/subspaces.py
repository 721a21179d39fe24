"""How far what a transformer's attentions read lies from what gradients say that they read.

The gradients of an attention's queries, keys and values have their rows in the span of its inputs. Vectors in
the place of tokens' embeddings are searched whose inputs lie in these spans: a forward pass through the first
blocks, and no second derivative.

Source: the span: Petrov et al. DAGER. NeurIPS 2024, Section 4. arXiv:2405.15586; its distance as an
objective: Kalikman, Petrov, Dimitrov, Vechev. TIGER. 2026. arXiv:2606.18312 (the abstract and introduction).
How many directions are kept: Gavish, Donoho. The Optimal Hard Threshold for Singular Values is 4/sqrt(3).
IEEE Transactions on Information Theory 60(8), 2014, Equation 5. arXiv:1305.5870.
"""

import copy
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from ....core.observation import Observation
from ..parts.spans import readers
from .embedded import Given, stand_in

ROUNDING = 1e-12  # of the largest singular value: nothing, in float64


def directions(observation: Observation, layers: Sequence[str], most: int, rank: int | None) -> Tensor:
    """Return orthonormal directions of what some layers read, the strongest first, float32.  # [r, d]

    Those whose singular value is above the optimal threshold for noise of unknown size, which is a multiple
    of the median; so less than half of the d directions may have been read.

    Args:
        observation: One client's message.
        layers: Names of layers of one input.
        most: How many inputs there were at most.
        rank: How many directions to keep at most, of those that are more than rounding, or None.
    """
    views = observation.layout.views(observation.update.nan_to_num(0.0, 0.0, 0.0).double())
    names = readers(layers, {slot.name for slot in observation.layout.parameters})
    rows = torch.cat([views[name] for name in names])  # [m, d]
    values, basis = torch.linalg.svd(rows, full_matrices=False)[1:]
    least = max(ROUNDING * float(values[0]), 1e-300)
    if rank is None:
        least = max(threshold(values, rows.shape), least)
    above = int((values > least).sum())
    kept: Tensor = basis[: min(above, most, above if rank is None else rank)].float()
    return kept


def threshold(values: Tensor, shape: Sequence[int]) -> float:
    """Return the singular value below which there is noise, of all values of a matrix of a shape [m, n]."""
    ratio = min(shape) / max(shape)
    return (0.56 * ratio**3 - 0.95 * ratio**2 + 1.82 * ratio + 1.43) * float(values.median())


def squared_distance(inputs: Tensor, basis: Tensor) -> Tensor:
    """Return the share of the squared length of inputs [..., d] outside of a span [r, d], 0 to 1.  # [...]"""
    inside = (inputs @ basis.T).square().sum(dim=-1)
    off: Tensor = (1 - inside / inputs.square().sum(dim=-1).clamp(min=1e-30)).clamp(min=0)
    return off


class _Stop(Exception):
    """Ends a pass of the model: what was asked for has been computed."""


class Subspaces:
    """The mean distance of what attentions read from their spans, as a function of words' vectors."""

    def __init__(
        self, model: nn.Module, table: str, layers: Sequence[str], spans: Sequence[Tensor], template: Tensor
    ) -> None:
        """Hold a copy of a model.

        Args:
            model: The public one.
            table: The name of its embedding of tokens.
            layers: A layer of each attention, in the order of the pass.
            spans: What each was seen to read.  # [r, d] each
            template: The tokens of a sentence that are known, and -1 where a word stands.  # [S]
        """
        self.model = copy.deepcopy(model).float().eval().requires_grad_(False)
        self.spans, self.words, self._seen = spans, template < 0, list[Tensor]()
        parent, _, leaf = table.rpartition(".")
        self.given = Given()
        setattr(self.model.get_submodule(parent), leaf, self.given)
        count = len(model.get_submodule(table).get_parameter("weight"))
        self.ids = template.where(template >= 0, stand_in(model, count, template))
        for name in layers:
            self.model.get_submodule(name).register_forward_pre_hook(self._see)

    def _see(self, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        self._seen.append(args[0])
        if len(self._seen) == len(self.spans):
            raise _Stop

    def __call__(self, vectors: Tensor) -> Tensor:
        """Return the mean over words of each attention's squared distance, of vectors [N, S, d].  # [N, L]"""
        self.given.vectors, self._seen = vectors, []
        with suppress(_Stop):
            self.model(self.ids.expand(len(vectors), -1))
        off = [squared_distance(h, basis) for h, basis in zip(self._seen, self.spans, strict=True)]
        return torch.stack([one[:, self.words].mean(dim=1) for one in off], dim=1)
