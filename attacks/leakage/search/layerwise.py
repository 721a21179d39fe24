"""Distances that are added up over the parameters' tensors.

Source: squares and absolute values: Deng et al. TAG: Gradient Attack on Transformer-based Language Models.
Findings of EMNLP 2021. arXiv:2103.06819 (its weights fall from tensor to tensor; here each counts 1, as in
LAMP's runs). Norms: Yin et al. See through Gradients. CVPR 2021. arXiv:2104.07586. Cosines: Balunovic et al.
LAMP. NeurIPS 2022. arXiv:2202.08827.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ....core.layout import Layout
from .distances import Distance

Layerwise = Literal["l2_l1", "norm", "cosine_layerwise"]
ABSOLUTE = 0.01  # weight of absolute values beside squares, as in LAMP's runs


def layerwise(name: Layerwise, target: Tensor, layout: Layout, counts: Tensor | None = None) -> Distance:
    """Return a distance from ``target`` [P]; 1 is what a zero gradient scores, but for ``"l2_l1"``.

    ``"l2_l1"`` is (sum of squares + 0.01 times the sum of absolute values) / ||G||^2, ``"norm"`` the sum of
    the tensors' norms (not squared) over that of G, ``"cosine_layerwise"`` the mean of 1 - cosine. Of a
    target of zeros the first two are infinite or no number.

    Args:
        name: Which.
        target: The gradient G behind the message; of cosines any positive multiple.  # [P]
        layout: The parameters.
        counts: Which entries count; by default all.  # [P]
    """
    sizes = [slot.size for slot in layout.parameters]
    wanted = target if counts is None else target * counts

    def distance(gradients: Tensor) -> Tensor:
        seen = gradients if counts is None else gradients * counts
        if name == "cosine_layerwise":
            return _cosines(torch.split(seen, sizes, dim=1), torch.split(wanted, sizes))
        difference = seen - wanted  # [R, P]
        if name == "norm":
            return _norms(difference, sizes) / _norms(wanted[None], sizes)
        missed = difference.square() + ABSOLUTE * difference.abs()
        return missed.sum(dim=1) / wanted.square().sum()

    return distance


def _norms(rows: Tensor, sizes: list[int]) -> Tensor:
    norms: list[Tensor] = [part.norm(dim=1) for part in torch.split(rows, sizes, dim=1)]
    return torch.stack(norms).sum(dim=0)


def _cosines(seen: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    along = [
        1 - part @ goal / (part.norm(dim=1) * goal.norm()).clamp(min=1e-30)
        for part, goal in zip(seen, wanted, strict=True)
    ]
    return torch.stack(along).mean(dim=0)
