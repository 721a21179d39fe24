"""An attack in the style of ReCIT: tokens from adapters' gradients, sentences by a language model's guess.

A RECONSTRUCTION, not the authors' method: of the paper the abstract alone was read. From it are the aim (text
and personal data from the gradients of adapters), the server that fine-tunes the model on personal notes
(``servers`` plug-in ``personal_notes``), tokens by a filter on the gradients, and their pairing to sentences.
Which filter, which pairing and every number are ours.

Source: ReCIT: Reconstructing Full Private Data from Gradient in Parameter-Efficient Fine-Tuning of Large
Language Models. 2025. arXiv:2504.20570 (the abstract).
"""

from __future__ import annotations

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
from .parts.adapter_spans import UP, Filter, filter_of
from .parts.attention_inputs import attention_inputs, input_of
from .parts.note_fields import FREE, with_notes
from .parts.requirements import refuse_unmet
from .parts.spans import readers


@dataclass(frozen=True)
class RecitStyle:
    """Rebuild sentences from what adapters of an attention's queries, keys and values were sent.

    Each token is tried at each position against the span of what the first attention read: by the gradients
    of A, or while B is zero by those of B, where they still have room. Prefixes grow by the tokens that
    passed: those that lie in the second attention's span are kept; where that says nothing, the model's own
    probabilities of the next token rank them. Sentences come best first. ``stopped`` is
    ``"not_identifiable"`` where the first filter is saturated: it has as many dimensions as it could show.

    ``details``: ``rank`` and ``rows`` of the first filter, ``saturated`` and ``paired`` (the second filter
    says something), ``by_up`` (B's gradients), ``candidates`` a position, ``unseen`` positions without one.

    With ``note``, one stands behind each sentence of a language model, whose free places the model fills,
    likeliest first, with tokens that passed somewhere: personal data, which a server's training may have made
    it repeat (``personal_notes``). Scores of sentences count a note's words as false ones.

    Attributes:
        beam: Prefixes kept at each position and sentence of the batch, at least 1.
        lm_weight: What the log-probability of a token counts beside its distance from the second span,
            in bounds, at least 0; beside a saturated filter both are in nats.
        nearest: Tokens at a position that are tried where the first filter is saturated and therefore no
            test, those nearest to what it shows, at least 0; 0: none, as they are a guess.
        note: The tokens of a note, -1 where the model is to fill in one; none: no notes.
        padding: The token that sentences are filled up with, behind which no note stands.
    """

    beam: int = 16
    lm_weight: float = 1.0
    nearest: int = 0
    note: tuple[int, ...] = ()
    padding: int = 0

    requires: ClassVar[Mapping[str, Level]] = {"batch_size": Level.EXACT}
    assumes: ClassVar[Mapping[str, object]] = {"optimizer": "sgd", "weight_decay": 0.0}
    lossless: ClassVar[bool] = True
    inputs: ClassVar[tuple[str, ...]] = ("tokens",)

    def __post_init__(self) -> None:
        if self.beam < 1:
            raise ValueError(f"beam must be at least 1, got {self.beam}")
        if not 0 <= self.lm_weight < float("inf"):
            raise ValueError(f"lm_weight must be finite and at least 0, got {self.lm_weight}")
        if self.nearest < 0 or self.padding < 0:
            raise ValueError(f"nearest and padding must be at least 0, got {self.nearest} and {self.padding}")
        if any(token < FREE for token in self.note):
            raise ValueError(f"note must hold tokens, or -1 where one is free, got {list(self.note)}")

    def check(self, observation: Observation) -> None:
        groups = _attentions(_frozen(observation), observation)
        known = {slot.name for slot in observation.layout.parameters}
        if not groups:
            raise PluginError(
                "RecitStyle needs a transformer whose queries, keys or values are linear layers"
            )
        if not readers(groups[0], known) and not any(f"{name}.{UP}" in known for name in groups[0]):
            raise PluginError(f"RecitStyle reads {', '.join(groups[0])}, and nothing of them is trained")
        longest = min(observation.input_shape[0] - 1, observation.num_tokens)
        if self.note and (len(self.note) > longest or max(self.note) >= observation.num_tokens):
            raise PluginError(
                f"a note must be of at most {longest} tokens below {observation.num_tokens}, "
                f"got {list(self.note)}"
            )

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        observation = observations[-1]
        refuse_unmet(self, observation)
        model = _frozen(observation)
        groups = _attentions(model, observation)
        first = filter_of(observation, model, groups[0])
        second = filter_of(observation, model, groups[1]) if len(groups) > 1 else Filter((), (), 1)
        allowed, nats = self._tokens(observation, model, groups[0][0], first)  # [V, S] each
        paired = bool(second.spans) and not second.saturated
        read = _Read(second, groups[1][0], paired) if paired or (self.nearest and second.spans) else None
        x = self._assembled(observation, model, allowed, nats, read)
        y = torch.zeros(len(x), *observation.label_shape, dtype=torch.int64)
        if tuple(observation.label_shape) == tuple(x.shape[1:]):
            y[:, :-1] = x[:, 1:]
        if self.note and y.shape == x.shape:
            x = self._noted(model, x, allowed)
        counts = allowed.sum(dim=0)
        details = {
            "rank": first.rank,
            "rows": first.rows,
            "saturated": first.saturated,
            "by_up": first.by_up,
            "paired": paired,
            "candidates": float(counts.double().mean()),
            "unseen": int((counts == 0).sum()),
        }
        blind = first.saturated or not first.rank
        told = {name: float(value) for name, value in details.items()}
        return Reconstruction(x, y, 0.0, (), "not_identifiable" if blind else "not_certified", told)

    def _tokens(
        self, observation: Observation, model: nn.Module, layer: str, first: Filter
    ) -> tuple[Tensor, Tensor]:
        """Return which tokens may stand at which position, bool, and what each costs there.  # [V, S] each"""
        (length,), size = observation.input_shape, observation.knowledge.batch_size or 1
        allowed = torch.zeros(observation.num_tokens, length, dtype=torch.bool)
        nats = torch.zeros(observation.num_tokens, length, dtype=torch.float64)
        if not first.spans:
            return allowed, nats
        guessed = first.saturated and self.nearest > 0
        for tokens in torch.split(torch.arange(observation.num_tokens), 256):
            inputs = input_of(model, layer, tokens[:, None].expand(-1, length))
            allowed[tokens] = first.distance(inputs) <= 1
            if guessed:
                nats[tokens] = first.nats(inputs, size * length)
        if guessed:
            allowed = torch.zeros_like(allowed).scatter_(0, nats.argsort(dim=0)[: self.nearest], True)
        return allowed, nats

    def _assembled(
        self, observation: Observation, model: nn.Module, allowed: Tensor, nats: Tensor, read: _Read | None
    ) -> Tensor:
        """Return sentences of allowed tokens [V, S], the best first; 0 where nothing passed.  # [B, S]"""
        (length,), size = observation.input_shape, observation.knowledge.batch_size or 1
        found, cost = torch.zeros(1, 0, dtype=torch.int64), torch.zeros(1, dtype=torch.float64)
        for place in range(length):
            bag = allowed[:, place].nonzero().flatten()
            bag = bag if len(bag) else torch.zeros(1, dtype=torch.int64)
            longer = torch.cat([found.repeat_interleave(len(bag), 0), bag.repeat(len(found))[:, None]], dim=1)
            price = self.lm_weight * _surprise(model, found, bag, length).flatten()  # [k * n]
            price = price + nats[bag, place].repeat(len(found))
            if read is not None and allowed[:, place].any():
                filled = nn.functional.pad(longer, (0, length - place - 1))
                price = price + read.price(input_of(model, read.layer, filled)[:, place], size * length)
            total = cost.repeat_interleave(len(bag)) + price
            order = total.argsort(stable=True)[: self.beam * size]
            found, cost = longer[order], total[order]
        return found[torch.arange(size) % len(found)]

    def _noted(self, model: nn.Module, x: Tensor, allowed: Tensor) -> Tensor:
        """Return sentences [B, S] with a note behind each, of tokens that passed at a place of theirs."""
        ends = ((x != self.padding) * torch.arange(1, x.shape[1] + 1)).amax(dim=1).tolist()
        passed = allowed.any(dim=1).nonzero().flatten()
        bag = passed if len(passed) else torch.arange(len(allowed))
        rows = [row[:end] for row, end in zip(x, ends, strict=True)]
        return with_notes(model, rows, self.note, [bag] * len(rows), x.shape[1])


@dataclass(frozen=True)
class _Read:
    """What the second attention was seen to read, by the name of one of its layers.

    Attributes:
        filter: The test.
        layer: The layer.
        sharp: Whether what is not in its span was not read.
    """

    filter: Filter
    layer: str
    sharp: bool

    def price(self, inputs: Tensor, count: int) -> Tensor:
        """Return what prefixes cost whose last position hands these inputs [k, d] over.  # [k]"""
        return self.filter.nats(inputs, self.filter.rank if self.sharp else count)


def _frozen(observation: Observation) -> nn.Module:
    """Return the public model in float64, as it answers without dropout."""
    return copy.deepcopy(observation.model).double().eval().requires_grad_(False)


def _attentions(model: nn.Module, observation: Observation) -> list[tuple[str, ...]]:
    """Return the layers that each attention's input goes to; a single adapted layer counts, too."""
    return attention_inputs(model, torch.zeros(1, *observation.input_shape, dtype=torch.int64))


def _surprise(model: nn.Module, found: Tensor, bag: Tensor, length: int) -> Tensor:
    """Return - log p of each token of a bag behind each prefix [k, n], in nats; 0 where the model says none.

    # [k, bag]
    """
    place = found.shape[1]
    if place == 0:
        return torch.zeros(len(found), len(bag), dtype=torch.float64)
    with torch.no_grad():
        logits = model(nn.functional.pad(found, (0, length - place)))
    if logits.ndim != 3 or logits.shape[1] != length or logits.shape[2] <= int(bag.max()):
        return torch.zeros(len(found), len(bag), dtype=torch.float64)
    surprise: Tensor = -logits[:, place - 1].log_softmax(dim=1)[:, bag]
    return surprise
