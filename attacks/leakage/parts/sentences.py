"""Sequences of tokens whose inputs to a transformer's second attention lie in the span that was seen.

Source: Petrov, Dimitrov, Baader, Mueller, Vechev. DAGER: Exact Gradient Inversion for Large Language Models.
NeurIPS 2024, Section 4.2 (decoders: prefixes grow by one token; encoders: combinations). arXiv:2405.15586.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .attention_inputs import input_of
from .spans import Span


def is_causal(model: nn.Module, layer: str, example: Tensor, tokens: int) -> bool:
    """Return whether what a layer reads at the first position is the same whatever the last token is.

    Args:
        model: In eval mode.
        layer: The layer's name.
        example: A sequence of two tokens or more.  # [1, S]
        tokens: How many tokens there are, at least 2.
    """
    other = example.clone()
    other[0, -1] = (other[0, -1] + 1) % tokens
    one, two = input_of(model, layer, torch.cat([example, other]))[:, 0]
    return bool(torch.equal(one, two))


def largest_rank(model: nn.Module, layer: str, length: int, tokens: int, stream: np.random.Generator) -> int:
    """Return the dimensions of all that a layer can read, from random sequences of so many tokens."""
    with torch.no_grad():
        width = input_of(model, layer, torch.zeros(1, length, dtype=torch.int64)).shape[-1]
        count = -(-4 * width // length)
        inputs = input_of(model, layer, torch.from_numpy(stream.integers(tokens, size=(count, length))))
    return int(torch.linalg.matrix_rank(inputs.flatten(0, 1), rtol=1e-9))


def prefixes(
    model: nn.Module, layer: str, span: Span, bags: Sequence[Tensor], length: int, most: int
) -> tuple[Tensor, bool]:
    """Return the sequences of n tokens all of whose prefixes lie in the span, nearest first.  # [k, n]

    Beside them stands whether they are all: none are returned where more than ``most`` extensions of one
    position would be tried.

    Args:
        model: Causal, in eval mode.
        layer: A layer of its second attention.
        span: What that layer was seen to read.
        bags: The tokens that may stand at each of n positions.
        length: S, of the sequences that the model takes.
        most: Extensions of a position at most.
    """
    found, off = torch.zeros(1, 0, dtype=torch.int64), torch.zeros(1, dtype=torch.float64)
    for place, bag in enumerate(bags):
        if len(found) * len(bag) > most:
            return found.new_zeros(0, len(bags)), False
        longer = torch.cat([found.repeat_interleave(len(bag), dim=0), bag.repeat(len(found))[:, None]], dim=1)
        filled = nn.functional.pad(longer, (0, length - place - 1))
        distance = span.distance(input_of(model, layer, filled)[:, place])
        off = torch.maximum(off.repeat_interleave(len(bag)), distance)
        found, off = longer[distance <= span.bound], off[distance <= span.bound]
    return found[off.argsort(stable=True)], True


def combinations(
    model: nn.Module, layer: str, span: Span, bags: Sequence[Tensor], most: int
) -> tuple[Tensor, bool]:
    """Return the sequences [k, S] that lie in the span everywhere, of a model that sees both ways.

    Nearest first; beside them stands whether they are all: not where there are more than ``most``
    combinations.
    """
    count = 1
    for bag in bags:
        count *= len(bag)
    if count > most:
        return torch.zeros(0, len(bags), dtype=torch.int64), False
    every = torch.cartesian_prod(*bags).reshape(-1, len(bags))
    parts = torch.split(every, 512)
    off = torch.cat([span.distance(input_of(model, layer, part)).amax(dim=1) for part in parts])
    order = off.argsort(stable=True)
    return every[order[: int((off <= span.bound).sum())]], True
