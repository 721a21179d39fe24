"""What is searched in the place of words: weights of a position's candidates, or vectors that are free."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


class WordSpace(Protocol):
    """Variables [N, S, ...] that stand for the words of N sentences."""

    def start(self, count: int, stream: np.random.Generator) -> Tensor:
        """Return random variables of so many sentences.  # [N, S, ...]"""
        ...

    def vectors(self, variables: Tensor) -> Tensor:
        """Return the vectors that stand for embeddings.  # [N, S, d]"""
        ...

    def tokens(self, variables: Tensor) -> Tensor:
        """Return the words.  # [N, S]"""
        ...


@dataclass(frozen=True, eq=False)
class WeighedWords:
    """Means of the embeddings of each position's candidates; of the largest weight is the word.

    Attributes:
        near: The candidates.  # [S, n]
        logs: How far each is from being possible, the logarithm.  # [S, n]
        table: The embeddings.  # [V, d]
    """

    near: Tensor
    logs: Tensor
    table: Tensor

    def start(self, count: int, stream: np.random.Generator) -> Tensor:
        """Return larger weights of nearer candidates, and normal noise, in nats.  # [N, S, n]"""
        noise = torch.from_numpy(stream.standard_normal((count, *self.near.shape))).float()
        return noise - self.logs / self.logs.std(correction=0).clamp(min=1e-3)

    def vectors(self, variables: Tensor) -> Tensor:
        return torch.einsum("nsk,skd->nsd", variables.softmax(dim=-1), self.table[self.near])

    def tokens(self, variables: Tensor) -> Tensor:
        chosen = variables.argmax(dim=-1)[..., None]
        return self.near.expand(len(variables), -1, -1).gather(2, chosen)[..., 0]


@dataclass(frozen=True, eq=False)
class FreeVectors:
    """Vectors in units of the words' embedding; the nearest by cosine is the word.

    Attributes:
        table: The embeddings.  # [V, d]
        words_from: The first token that is a word.
        length: S.
    """

    table: Tensor
    words_from: int
    length: int

    @property
    def unit(self) -> float:
        """The root mean square of the words' entries."""
        return float(self.table[self.words_from :].square().mean().sqrt()) or 1.0

    def start(self, count: int, stream: np.random.Generator) -> Tensor:
        """Return normal vectors.  # [N, S, d]"""
        return torch.from_numpy(stream.standard_normal((count, self.length, self.table.shape[1]))).float()

    def vectors(self, variables: Tensor) -> Tensor:
        return variables * self.unit

    def tokens(self, variables: Tensor) -> Tensor:
        words = functional.normalize(self.table[self.words_from :], dim=1)
        return (functional.normalize(variables, dim=-1) @ words.T).argmax(dim=-1) + self.words_from
