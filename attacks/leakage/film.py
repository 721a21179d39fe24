"""FILM: the words of a step from the rows of their embedding's gradient, then their order.

Source: Gupta, Huang, Zhong, Gao, Li, Chen. Recovering Private Text in Federated Learning of Language Models.
NeurIPS 2022, Section 4. arXiv:2205.08514: a bag of words, beam search of a language model over it, and better
orders step by step. That orders are judged by the angles between gradients, where the authors take the length
of one, and that the language model is trigrams of other text, is ours; their beams' groups are not built.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ...core.errors import PluginError
from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction
from .parts.requirements import PLAIN_STEP, refuse_unmet
from .parts.token_labels import labels_of, misfit_by_tensor
from .parts.token_tables import token_table
from .parts.trigrams import Trigrams
from .parts.word_bag import likely_sentences, word_bag
from .search.embedded import SpecialTokens, special_of
from .search.reordering import Fluency, fluency_of, rearrangements

CERTAIN = 1e-6  # mean 1 - cosine, below which what was rebuilt is the truth


@dataclass(frozen=True)
class FILM:
    """Find which words stood in a step, and then the order in which their step is nearest to the message.

    Passive; for models whose embedding of words is trained. Labels are read from the last layer. ``cost`` is
    the mean over tensors of 1 - the cosine of the message and the step on what was rebuilt, without those
    that are rounding alone; below 1e-6 it has ``"converged"``.
    ``details`` has ``words``, how many different ones were found, and ``looks``, the batches that were tried.

    Attributes:
        max_iterations: Looks at other sentences, at least 0 (the authors' 50 and more).
        candidates: Orders of each sentence, and exchanged words, that are tried in a look, at least 1.
        beams: Beginnings of sentences that the beam search keeps, at least 1 (the authors' 16 to 32).
        language_weight: What a nat a word counts beside the cost, at least 0.
        first: The token that every sentence begins with, or None.
        last: The token that every sentence ends with, or None.
        padding: The token that shorter ones are filled up with, or None.
        words_from: The first token that is a word, at least 0; those below are never read out.
    """

    max_iterations: int = 50
    candidates: int = 10
    beams: int = 16
    language_weight: float = 0.02
    first: int | None = None
    last: int | None = None
    padding: int | None = None
    words_from: int = 0

    requires: ClassVar[Mapping[str, Level]] = {"batch_size": Level.EXACT, "local_steps": Level.EXACT}
    only: ClassVar[Mapping[str, int]] = {"local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    uses: ClassVar[tuple[str, ...]] = ("auxiliary",)
    inputs: ClassVar[tuple[str, ...]] = ("tokens",)

    def __post_init__(self) -> None:
        for name, bound in {"max_iterations": 0, "candidates": 1, "beams": 1, "language_weight": 0}.items():
            if not bound <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be finite and at least {bound}, got {getattr(self, name)}")
        special_of(self)

    def check(self, observation: Observation) -> None:
        name = token_table(observation)
        if f"{name}.weight" not in {slot.name for slot in observation.layout.parameters}:
            raise PluginError(f"FILM reads the gradient of the words' embedding, and {name} is not trained")
        special_of(self).refuse_outside(observation.num_tokens)

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        special: SpecialTokens = special_of(self)
        template = special.template(observation, observation.knowledge.batch_size or 1)
        bag = word_bag(observation, max(int((template < 0).sum()), 1), self.words_from)
        if not len(bag):
            nothing = template.where(template >= 0, self.words_from)
            y = torch.zeros(len(nothing), *observation.label_shape, dtype=torch.int64)
            return Reconstruction(nothing, y, 1.0, (), "not_identifiable", {"words": 0.0, "looks": 0.0})
        fluency = fluency_of(observation, self.language_weight)
        tried = _Tried(observation, fluency, template != (-2 if self.padding is None else self.padding))
        x = self._begin(bag, template, fluency.model)
        trace, best = [], tried(x)
        for _ in range(self.max_iterations):
            trace.append(best[0])
            if best[0] < CERTAIN:
                break
            for other in self._others(x, bag, template, generator):
                seen = tried(other)
                if sum(seen) < sum(best):
                    x, best = other, seen
        cost = best[0]
        details = {"words": float(len(bag)), "looks": float(tried.count)}
        stopped = "converged" if cost < CERTAIN else "max_iterations"
        return Reconstruction(x, tried.labels(x), cost, tuple(trace), stopped, details)

    def _begin(self, bag: Tensor, template: Tensor, model: Trigrams | None) -> Tensor:
        """Return the likeliest sentences of the bag's words, each another one.  # [B, S]"""
        return likely_sentences(bag, template[0], model, self.beams, len(template))

    def _others(self, x: Tensor, bag: Tensor, template: Tensor, stream: np.random.Generator) -> list[Tensor]:
        """Return batches like one [B, S], with a sentence in another order or a word from the bag."""
        found = []
        for b, row in enumerate(template):
            words = (row < 0).nonzero()[:, 0]
            for order in rearrangements(words, len(row), self.candidates + 1, stream)[1:]:
                found.append(x.clone())
                found[-1][b] = x[b, order]
            for _ in range(self.candidates if len(bag) < int((template < 0).sum()) or len(x) > 1 else 0):
                found.append(x.clone())
                found[-1][b, words[int(stream.integers(len(words)))]] = bag[int(stream.integers(len(bag)))]
        return found


class _Tried:
    """What batches [B, S] cost, and how many were looked at."""

    def __init__(self, observation: Observation, fluency: Fluency, counted: Tensor) -> None:
        self.observation, self.fluency, self.counted = observation, fluency, counted
        self.model: nn.Module = copy.deepcopy(observation.model).double().eval().requires_grad_(False)
        self.count = 0

    def labels(self, x: Tensor) -> Tensor:
        return labels_of(self.observation, self.model, x)

    def __call__(self, x: Tensor) -> tuple[float, float]:
        """Return 1 - the cosine, and what the language model adds."""
        self.count += 1
        nats = torch.stack([self.fluency.cost(row, seen) for row, seen in zip(x, self.counted, strict=True)])
        return misfit_by_tensor(self.observation, self.model, x, self.labels(x)), float(nats.mean())
