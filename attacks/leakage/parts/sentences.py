"""Sequences of tokens whose inputs to a transformer's second attention lie in the span that was seen.

Source: Petrov, Dimitrov, Baader, Mueller, Vechev. DAGER: Exact Gradient Inversion for Large Language Models.
NeurIPS 2024, Section 4.2 (decoders: prefixes grow by one token; encoders: combinations). arXiv:2405.15586.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Ending:
    """How sentences shorter than the model's sequences end: public, as the tokenizer is.

    Attributes:
        padding: The token that fills them up, which no part of the model reads; None where all are as long.
        last: The token that ends each sentence; None where nothing says it.
    """

    padding: int | None = None
    last: int | None = None

    def filled(self, x: Tensor, length: int) -> Tensor:
        """Return sequences [k, n] filled up.  # [k, length]"""
        return nn.functional.pad(x, (0, length - x.shape[1]), value=self.padding or 0)


def prefixes(
    model: nn.Module,
    layer: str,
    span: Span,
    bags: Sequence[Tensor],
    length: int,
    most: int,
    ending: Ending = Ending(),
) -> tuple[Tensor, bool]:
    """Return the sequences of n tokens all of whose prefixes lie in the span, nearest first.  # [k, n]

    Beside them stands whether they are all: none are returned where more than ``most`` extensions of one
    position would be tried. With padding, one that ends earlier is filled up: at the token that ends all, or
    where no extension lies in the span.

    Args:
        model: Causal, in eval mode.
        layer: A layer of its second attention.
        span: What that layer was seen to read.
        bags: The tokens that may stand at each of n positions.
        length: S, of the sequences that the model takes.
        most: Extensions of a position at most.
        ending: How shorter ones end.
    """
    found, off = torch.zeros(1, 0, dtype=torch.int64), torch.zeros(1, dtype=torch.float64)
    done, shorter = [], ending.padding is not None
    for place, bag in enumerate(bags):
        if len(found) * len(bag) > most:
            return found.new_zeros(0, len(bags)), False
        longer = torch.cat([found.repeat_interleave(len(bag), dim=0), bag.repeat(len(found))[:, None]], dim=1)
        distance = span.distance(input_of(model, layer, ending.filled(longer, length))[:, place])
        inside = distance <= span.bound
        if shorter and ending.last is None and place:
            over = ~inside.view(len(found), len(bag)).any(dim=1)
            done.append((found[over], off[over]))
        off = torch.maximum(off.repeat_interleave(len(bag)), distance)
        found, off = longer[inside], off[inside]
        if shorter and ending.last is not None:
            over = found[:, -1] == ending.last
            done.append((found[over], off[over]))
            found, off = found[~over], off[~over]
    if not shorter or ending.last is None:
        done.append((found, off))
    every = torch.cat([ending.filled(x, len(bags)) for x, _ in done])
    return every[torch.cat([away for _, away in done]).argsort(stable=True)], True


def combinations(
    model: nn.Module,
    layer: str,
    span: Span,
    bags: Sequence[Tensor],
    length: int,
    most: int,
    ending: Ending = Ending(),
) -> tuple[Tensor, bool]:
    """Return the sequences [k, n] that lie in the span everywhere, of a model that sees both ways.

    Nearest first; beside them stands whether they are all: not where there are more than ``most``
    combinations. With padding, of every length at whose end the token stands that ends all.
    """
    every = _of_all_lengths(bags, ending)
    if sum(math.prod(map(len, own)) for own in every) > most:
        return torch.zeros(0, len(bags), dtype=torch.int64), False
    found, away = [torch.zeros(0, len(bags), dtype=torch.int64)], [torch.zeros(0, dtype=torch.float64)]
    for own in every:
        whole = ending.filled(torch.cartesian_prod(*own).reshape(-1, len(own)), length)
        parts = [input_of(model, layer, part)[:, : len(own)] for part in torch.split(whole, 512)]
        off = torch.cat([span.distance(part).amax(dim=1) for part in parts])
        found.append(whole[off <= span.bound, : len(bags)])
        away.append(off[off <= span.bound])
    return torch.cat(found)[torch.cat(away).argsort(stable=True)], True


def _of_all_lengths(bags: Sequence[Tensor], ending: Ending) -> list[list[Tensor]]:
    """Return, for each length that a sentence can have, the tokens that may stand at its positions."""
    if ending.padding is None:
        return [list(bags)]
    if ending.last is None:
        return [list(bags[:size]) for size in range(1, len(bags) + 1)]
    last = torch.tensor([ending.last])
    inner = [bag[bag != ending.last] for bag in bags]
    return [[*inner[:place], last] for place, bag in enumerate(bags) if (bag == ending.last).any()]
