"""Sentences whose gradient is a client's, as a search over vectors in the place of their tokens.

Source: Deng, Wang, Li, Wang, Shang, Liu, Rajasekaran, Ding. TAG: Gradient Attack on Transformer-based
Language Models. Findings of EMNLP 2021. arXiv:2103.06819. Dropout's masks as unknowns: Scheliga, Maeder,
Seeland. Dropout is NOT All You Need to Prevent Gradient Leakage. AAAI 2023. arXiv:2208.06163; for text: ours.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ....core.errors import PluginError
from ....core.observation import Observation, Reconstruction
from ..parts.labels import known_labels, only_label, refuse_untold_labels
from .distances import Distance, squared
from .embedded import Embedded, SpecialTokens, embedded, refuse_unembedded
from .engine import Found, Variables
from .layerwise import layerwise

SOFT = 0.2  # what cosines are divided by, where they stand for words: of 0.05 to 0.4, on six tiny victims
TextDistance = Literal["l2", "l2_l1", "cosine_layerwise"]


MASK_WEIGHT = 1e-4  # of how far the share that a mask drops is from its rate: the authors' alpha_m


@dataclass(frozen=True)
class Defended:
    """What an attacker knows of a client's defenses.

    Attributes:
        masked: Whether entries that are 0 in the message are left out of the distance, as pruned ones.
        dropout: Whether the masks of the model's dropout layers are searched.
    """

    masked: bool = False
    dropout: bool = False


@dataclass(frozen=True, eq=False)
class TextMatching:
    """What is searched: vectors of the words, and the labels where a sentence has one at each position.

    Attributes:
        step: The client's step as a function of vectors.
        labels: One class a sentence, where that is what labels are.  # [B]
        label_shape: Shape of one label.
        num_classes: C.
        distance: From gradients [R, P'] to the matching cost.  # [R]
        linked: Whether labels are the words that follow, so that the last one alone is searched.
    """

    step: Embedded
    labels: Tensor | None
    label_shape: tuple[int, ...]
    num_classes: int
    distance: Distance
    linked: bool

    def cost(self, variables: Variables) -> Tensor:
        """Return how badly vectors [R, B, S, d], and what stands for labels, fit the message.  # [R]"""
        x, *others = variables
        labels = self._soft(x, others.pop(0)) if self.labels is None else self.labels
        return self.distance(self.step.gradients(x * self.step.unit, labels, tuple(others)))

    def prior(self, variables: Variables) -> Tensor:
        """Return what masks pay for shares that are not the layers' rates; 0 without any.  # [R]"""
        masks = variables[len(variables) - len(self.step.calls) :]
        if not masks:
            return torch.zeros(len(variables[0]))
        gaps = [
            (1 - mask.flatten(1).mean(dim=1) - call.rate).abs()
            for mask, call in zip(masks, self.step.calls, strict=True)
        ]
        return MASK_WEIGHT * torch.stack(gaps).sum(dim=0)

    def _soft(self, x: Tensor, q: Tensor) -> Tensor:
        """Return the labels of vectors [R, B, S, d] as probabilities.  # [R, B, *label_shape, C]

        Where they are next words, each is what its vector is nearest to, and the last one alone is searched.
        """
        if not self.linked:
            return q.softmax(dim=-1)
        words = self.step.likely(x[..., 1:, :], SOFT)
        return torch.cat([words, q.softmax(dim=-1)], dim=-2)

    def start(self, stream: np.random.Generator) -> Variables:
        """Return vectors of standard normal entries in units of the embedding's, labels likewise, and masks
        as the layers draw them.
        """
        shape = (*self.step.template.shape, self.step.table.shape[1])
        x = torch.from_numpy(stream.standard_normal(shape)).float()
        self.step.pin(x[None])
        drawn: tuple[Tensor, ...] = ()
        if self.labels is None:
            places = (1,) if self.linked else self.label_shape
            q = stream.standard_normal((shape[0], *places, self.num_classes))
            drawn = (torch.from_numpy(q).float(),)
        masks = (stream.random((shape[0], *call.shape)) >= call.rate for call in self.step.calls)
        return x, *drawn, *(torch.from_numpy(mask).float() for mask in masks)

    def project(self, variables: Variables) -> None:
        """Move what is known back to where it was, in place."""
        self.step.pin(variables[0])
        with torch.no_grad():
            for mask in variables[len(variables) - len(self.step.calls) :]:
                mask.clamp_(0, 1)

    def reconstruction(self, found: Found, **figures: float) -> Reconstruction:
        """Return the sentences that were found, each vector as the word nearest to it."""
        x, *q = found.variables
        labels = self._soft(x, q[0]).argmax(dim=-1) if self.labels is None else self.labels
        made = found.reconstruction(labels, **figures)
        progress = made.progress
        if progress is not None:
            progress = replace(progress, x=self.step.tokens(progress.x))
        return replace(made, x=self.step.tokens(made.x), progress=progress)


def text_matching(
    observation: Observation,
    special: SpecialTokens,
    distance: TextDistance,
    next_words: bool,
    defended: Defended = Defended(),
) -> TextMatching:
    """Return the search for the sentences of one step.

    Args:
        observation: It.
        special: What is known of the sentences.
        distance: How gradients are compared; all but the cosine need the step size.
        next_words: Whether labels at each position are taken for the words that follow.
        defended: What is known of the client's defenses.
    """
    step = embedded(observation, special, defended.dropout)
    sent = -observation.update if distance == "cosine_layerwise" else observation.gradient()
    target = sent.float()[step.counts]
    kept = target != 0 if defended.masked else None
    compare = squared(target, kept) if distance == "l2" else layerwise(distance, target, step.layout, kept)
    labels = None
    if not observation.label_shape:
        one = observation.knowledge.batch_size == 1
        labels = only_label(observation, -observation.update) if one else known_labels(observation)
    linked = next_words and observation.label_shape == observation.input_shape
    linked &= observation.num_classes == observation.num_tokens
    return TextMatching(step, labels, observation.label_shape, observation.num_classes, compare, linked)


def refuse_unmatchable(
    observation: Observation,
    special: SpecialTokens,
    distance: TextDistance,
    who: str,
    defended: Defended = Defended(),
) -> None:
    """Refuse a message of which no search of sentences can be made.

    Raises:
        PluginError: Its step size is needed and not known; labels of several sentences are not told; masks
            are to be searched, and nothing is dropped; or the model is refused (``refuse_unembedded``).
    """
    if defended.dropout and not embedded(observation, special, True).calls:
        raise PluginError(f"{who} with dropout = true needs a model that drops something in training")
    if distance != "cosine_layerwise" and observation.knowledge.lr is None:
        raise PluginError(
            f"{who} needs to know lr with distance '{distance}'; distance 'cosine_layerwise' needs none"
        )
    if not observation.label_shape:
        refuse_untold_labels(observation, who)
    refuse_unembedded(observation, special)
