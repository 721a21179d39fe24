"""Sequences of tokens whose inputs to a transformer's second attention lie in the span that was seen.

Source: Petrov, Dimitrov, Baader, Mueller, Vechev. DAGER: Exact Gradient Inversion for Large Language Models.
NeurIPS 2024, Section 4.2 (decoders: prefixes grow by one token; encoders: combinations). arXiv:2405.15586.
"""

from collections.abc import Sequence

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


def prefixes(
    model: nn.Module, layer: str, span: Span, bags: Sequence[Tensor], length: int, most: int
) -> tuple[Tensor, bool]:
    """Return the sequences of n tokens all of whose prefixes lie in the span, nearest first.  # [k, n]

    Beside them stands whether they are all: not where more than ``most`` extensions would have been tried, so
    that the nearest prefixes alone were kept.

    Args:
        model: Causal, in eval mode.
        layer: A layer of its second attention.
        span: What that layer was seen to read.
        bags: The tokens that may stand at each of n positions.
        length: S, of the sequences that the model takes.
        most: Extensions of a position at most.
    """
    found, off = torch.zeros(1, 0, dtype=torch.int64), torch.zeros(1, dtype=torch.float64)
    whole = True
    for place, bag in enumerate(bags):
        if len(found) * len(bag) > most:
            nearest, whole = off.argsort(stable=True)[: max(most // len(bag), 1)], False
            found, off = found[nearest], off[nearest]
        longer = torch.cat([found.repeat_interleave(len(bag), dim=0), bag.repeat(len(found))[:, None]], dim=1)
        filled = nn.functional.pad(longer, (0, length - place - 1))
        distance = span.distance(input_of(model, layer, filled)[:, place])
        off = torch.maximum(off.repeat_interleave(len(bag)), distance)
        found, off = longer[distance <= span.bound], off[distance <= span.bound]
    return found[off.argsort(stable=True)], whole


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
