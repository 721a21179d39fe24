"""A small conditional variational autoencoder: examples of a class, drawn from what it has seen.

Source: Sohn, Lee, Yan. Learning Structured Output Representation using Deep Conditional Generative Models.
NeurIPS 2015; Kingma, Ba. Adam. ICLR 2015. arXiv:1412.6980
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot


@dataclass(frozen=True)
class Shape:
    """How large an autoencoder is, and how it is trained.

    Attributes:
        hidden: Units of the one hidden layer of encoder and decoder.
        latent: Dimensions of the code.
        steps: Steps of Adam on all examples.
        lr: Their size.
    """

    hidden: int
    latent: int
    steps: int
    lr: float


def trained_decoder(
    x: Tensor, y: Tensor, classes: int, shape: Shape, draws: np.random.Generator
) -> list[Tensor]:
    """Return the decoder's two weights and two biases, trained on values in [0, 1].

    Args:
        x: Inputs, between 0 and 1.  # [n, d]
        y: Their classes.  # [n]
        classes: C.
        shape: Sizes and training.
        draws: For the start and for the codes.
    """
    labels, width = one_hot(y, classes).to(x.dtype), x.shape[1]
    encoder = _layers([width + classes, shape.hidden, 2 * shape.latent], draws)
    decoder = _layers([shape.latent + classes, shape.hidden, width], draws)
    weights = [*encoder, *decoder]
    with torch.enable_grad():
        optimizer = torch.optim.Adam([w.requires_grad_() for w in weights], lr=shape.lr)
        for _ in range(shape.steps):
            optimizer.zero_grad()
            mean, spread = _through(encoder, torch.cat([x, labels], dim=1)).chunk(2, dim=1)  # ln variance
            noise = torch.from_numpy(draws.standard_normal(mean.shape, dtype=np.float32))
            code = torch.cat([mean + noise * (spread / 2).exp(), labels], dim=1)
            off = binary_cross_entropy_with_logits(_through(decoder, code), x, reduction="sum")
            kl = (mean.square() + spread.exp() - 1 - spread).sum() / 2
            ((off + kl) / len(x)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return [w.detach() for w in decoder]


def decoded(decoder: list[Tensor], y: Tensor, classes: int, draws: np.random.Generator) -> Tensor:
    """Return an input between 0 and 1 for each label.  # [n, d]"""
    labels = one_hot(y, classes).to(torch.float32)
    latent = decoder[0].shape[1] - classes
    code = torch.from_numpy(draws.standard_normal((len(y), latent), dtype=np.float32))
    return _through(decoder, torch.cat([code, labels], dim=1)).sigmoid()


def _layers(sizes: list[int], draws: np.random.Generator) -> list[Tensor]:
    found = []
    for before, after in pairwise(sizes):
        drawn = draws.standard_normal((after, before), dtype=np.float32) / np.float32(before**0.5)
        found += [torch.from_numpy(drawn), torch.zeros(after)]
    return found


def _through(layers: list[Tensor], x: Tensor) -> Tensor:
    first, bias, last, end = layers
    return (x @ first.T + bias).relu() @ last.T + end
