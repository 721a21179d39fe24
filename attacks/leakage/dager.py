"""DAGER: the exact sentences of a step, from the spans of what a transformer's first two attentions read.

What the first attention reads at a position depends on the token there alone, so that every token is tried
at every position against the span of that layer's gradients. What the second reads depends on the sentence:
prefixes grow token by token, and one is kept where it lies in the second span.

Source: Petrov, Dimitrov, Baader, Mueller, Vechev. DAGER: Exact Gradient Inversion for Large Language Models.
NeurIPS 2024, Section 4 and Algorithms 1 to 3. arXiv:2405.15586. Thresholds from float32's noise, the labels
and the proof by the whole gradient are ours; not built are its variants for several steps and noise.
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
from .parts.attention_inputs import attention_inputs, input_of
from .parts.requirements import PLAIN_STEP, refuse_unmet
from .parts.sentences import Ending, combinations, is_causal, largest_rank, prefixes
from .parts.spans import Span, readers, span_of
from .parts.token_labels import labels_of, misfit

ALIKE = 0.7  # of the tokens in place: as likely one sentence twice as two
CERTAIN = 1e-6  # 1 - cosine, below which what was rebuilt is the truth


@dataclass(frozen=True)
class DAGER:
    """Rebuild all sentences of a step exactly, without labels, step size or any prior.

    Passive. For transformers of two blocks or more, decoders or encoders, whose queries, keys and values are
    linear layers, and batches of fewer different (token, position) than these are wide; with adapters, than
    all A of an attention have rows together, and nothing is seen while B is zero. ``cost`` is 1 - the
    cosine of the message and the step on what was rebuilt: 0 of the truth. ``stopped`` says:

    - ``"closed_form"``: the cost is below 1e-6, which is proof.
    - ``"not_certified"``: sentences were found, and not all, or others fit as well.
    - ``"not_identifiable"``: the first span holds every token (x is all 0), or the second every sentence; or
      the second layer does not carry the rank of the first; or no token was seen at some position. In all but
      the first case x is what is known.

    The first ``details["found"]`` rows of x are whole sentences. The others are none: at each position
    they hold tokens that stood there, nearest first, or 0. Further details: ``rank`` and ``rank_2``, of both
    spans; ``candidates``, tokens at a position, on average; ``unseen``, positions without any; ``tried_all``,
    0 where there were too many combinations.

    Attributes:
        max_candidates: Extensions of the prefixes at one position that are tried at most, or of an encoder
            combinations of all positions, at least 1.
        padding: The token that shorter sentences are filled up with, which the model must not read: positions
            behind the last one that was seen are such. None: all sentences are as long.
        last: The token that ends each sentence, with ``padding`` alone. None: a prefix ends where no
            extension passes, and an encoder's sentences may have any length.
    """

    max_candidates: int = 10_000
    padding: int | None = None
    last: int | None = None

    exact: ClassVar[bool] = True
    lossless: ClassVar[bool] = True
    requires: ClassVar[Mapping[str, Level]] = {"batch_size": Level.EXACT, "local_steps": Level.EXACT}
    only: ClassVar[Mapping[str, int]] = {"local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    inputs: ClassVar[tuple[str, ...]] = ("tokens",)

    def __post_init__(self) -> None:
        if self.max_candidates < 1:
            raise ValueError(f"max_candidates must be at least 1, got {self.max_candidates}")
        for name in ("padding", "last"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must be a token, at least 0, got {getattr(self, name)}")
        if self.last is not None and self.padding is None:
            raise ValueError(f"last = {self.last} needs padding: without it all sentences are as long")

    def check(self, observation: Observation) -> None:
        first, _ = _attentions(observation)
        known = {slot.name for slot in observation.layout.parameters}
        if not readers(first, known):
            raise PluginError(f"DAGER reads the gradients of {', '.join(first)}, and none of them is trained")
        model, (length,) = _frozen(observation), observation.input_shape
        mixed = torch.arange(length)[None] % observation.num_tokens
        alone = input_of(model, first[0], mixed.T.expand(-1, length))  # [S, S, d]
        if not torch.allclose(input_of(model, first[0], mixed)[0], alone.diagonal().T):
            raise PluginError(
                f"DAGER needs a first attention that reads each position alone; {first[0]} reads others too"
            )

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        observation = observations[-1]
        refuse_unmet(self, observation)
        first, second = (span_of(observation, layers) for layers in _attentions(observation))
        model = _frozen(observation)
        bags, most = _bags(observation, model, first)
        seen = next((i for i, bag in enumerate(bags) if not len(bag)), len(bags))
        if self.padding is not None and not any(map(len, bags[seen:])):
            bags = bags[: max(seen, 1)]
        unseen = sum(not len(bag) for bag in bags)
        details: dict[str, float] = {"rank": first.rank, "rank_2": second.rank, "unseen": unseen}
        details |= {"found": 0, "tried_all": 1}
        details["candidates"] = sum(map(len, bags)) / len(bags)
        if not 0 < first.rank < most:
            return self._ended(observation, model, bags, _nothing(observation), details | {"saturated": 1})
        layer, (length,) = _attentions(observation)[1][0], observation.input_shape
        found, whole = _nothing(observation), True
        if 0 < second.rank < largest_rank(model, layer, length, observation.num_tokens, generator):
            found, whole = self._sentences(observation, model, second, bags[:seen])
        details |= {"tried_all": int(whole), "found": len(found)}
        return self._ended(observation, model, bags, found, details)

    def _sentences(
        self, observation: Observation, model: nn.Module, span: Span, bags: Sequence[Tensor]
    ) -> tuple[Tensor, bool]:
        """Return the sentences in the second span [k, n], and whether none was left out."""
        layer, (length,) = _attentions(observation)[1][0], observation.input_shape
        if not bags:
            return _nothing(observation), True
        example, ending = torch.zeros(1, length, dtype=torch.int64), Ending(self.padding, self.last)
        how = model, layer, span, bags, length, self.max_candidates, ending
        if length == 1 or is_causal(model, layer, example, observation.num_tokens):
            return prefixes(*how)
        if len(bags) < length and self.padding is None:
            return _nothing(observation), True
        return combinations(*how)

    def _ended(
        self,
        observation: Observation,
        model: nn.Module,
        bags: Sequence[Tensor],
        found: Tensor,
        details: dict[str, float],
    ) -> Reconstruction:
        """Return what was found [k, n], nearest first, as a batch, and what it proves."""
        size, saturated = observation.knowledge.batch_size or 1, details.pop("saturated", 0)
        tries = [found[:size]] if len(found) <= size else [found[:size], self._unlike(found)[:size]]
        batches = [self._batch(observation, [] if saturated else bags, kept) for kept in tries]
        labels = [labels_of(observation, model, x) for x in batches]
        costs = [misfit(observation, model, x, y) for x, y in zip(batches, labels, strict=True)]
        best = min(range(len(costs)), key=costs.__getitem__)
        x, y, cost = batches[best], labels[best], costs[best]
        certain = cost < CERTAIN and len(tries[best]) == size and not details["unseen"]
        if len(found) > size and not certain:
            found = found[:0]  # some of them are false, and nothing says which
        details |= {"found": min(len(found), size)}
        stopped = "closed_form" if certain else "not_certified"
        if details["unseen"] or saturated or (not len(tries[0]) and details["tried_all"]):
            stopped = "not_identifiable"
        return Reconstruction(x, y, cost, (cost,), stopped, {name: float(v) for name, v in details.items()})

    def _unlike(self, found: Tensor) -> Tensor:
        """Return the sentences [k, n] without those that have 70 % of an earlier one's tokens in place."""
        kept: list[int] = []
        words = torch.ones_like(found, dtype=torch.bool) if self.padding is None else found != self.padding
        for i in range(len(found)):
            alike = (found[i] == found[kept]) & words[i]  # [kept, n]
            longest = torch.maximum(words[i].sum(), words[kept].sum(dim=1))
            if bool((alike.sum(dim=1) < ALIKE * longest).all()):
                kept.append(i)
        return found[kept]

    def _batch(self, observation: Observation, bags: Sequence[Tensor], found: Tensor) -> Tensor:
        """Return sentences [k, n] and below them what else the bags of tokens have, or 0.  # [B, S]"""
        shape = observation.knowledge.batch_size or 1, *observation.input_shape
        x = torch.full(shape, self.padding or 0)
        x[: len(found), : found.shape[1]] = found
        for place, bag in enumerate(bags):
            used = found[:, place].tolist() if place < found.shape[1] else []
            left = [token for token in bag.tolist() if token not in used][: len(x) - len(found)]
            x[len(found) : len(found) + len(left), place] = torch.tensor(left, dtype=torch.int64)
        return x


def _attentions(observation: Observation) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the layers that the first and the second attention hand their input to.

    Raises:
        PluginError: There are none.
    """
    example = torch.zeros(1, *observation.input_shape, dtype=torch.int64)
    found = attention_inputs(_frozen(observation), example)
    if len(found) < 2:
        raise PluginError(
            "DAGER needs a transformer of two blocks or more whose queries, keys and values are linear; "
            f"the model has {len(found)} attention{'s' * (len(found) != 1)} of that kind"
        )
    return found[0], found[1]


def _frozen(observation: Observation) -> nn.Module:
    """Return the public model in float64, as it answers without dropout."""
    return copy.deepcopy(observation.model).double().eval().requires_grad_(False)


def _nothing(observation: Observation) -> Tensor:
    return torch.zeros(0, *observation.input_shape, dtype=torch.int64)


def _bags(observation: Observation, model: nn.Module, span: Span) -> tuple[list[Tensor], int]:
    """Return, for each position, the tokens in the first span, nearest first, and the largest rank of any."""
    layer, (length,) = _attentions(observation)[0][0], observation.input_shape
    near, gram = [], torch.zeros((), dtype=torch.float64)
    for tokens in torch.split(torch.arange(observation.num_tokens), 256):
        inputs = input_of(model, layer, tokens[:, None].expand(-1, length))  # [v, S, d]
        near.append(span.distance(inputs))
        gram = gram + torch.einsum("vsd,vse->de", inputs, inputs)
    distance = torch.cat(near)  # [V, S]
    order, passing = distance.argsort(dim=0, stable=True), (distance <= span.bound).sum(dim=0)
    bags = [order[: int(passing[i]), i] for i in range(length)]
    return bags, int(torch.linalg.matrix_rank(gram, rtol=1e-12, hermitian=True))
