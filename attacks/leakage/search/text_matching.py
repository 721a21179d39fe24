"""Sentences whose gradient is a client's, as a search over vectors in the place of their tokens.

Source: Deng, Wang, Li, Wang, Shang, Liu, Rajasekaran, Ding. TAG: Gradient Attack on Transformer-based
Language Models. Findings of EMNLP 2021. arXiv:2103.06819
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
        x, *q = variables
        labels = self._soft(x, q[0]) if self.labels is None else self.labels
        return self.distance(self.step.gradients(x * self.step.unit, labels))

    def _soft(self, x: Tensor, q: Tensor) -> Tensor:
        """Return the labels of vectors [R, B, S, d] as probabilities.  # [R, B, *label_shape, C]

        Where they are next words, each is what its vector is nearest to, and the last one alone is searched.
        """
        if not self.linked:
            return q.softmax(dim=-1)
        words = self.step.likely(x[..., 1:, :], SOFT)
        return torch.cat([words, q.softmax(dim=-1)], dim=-2)

    def start(self, stream: np.random.Generator) -> Variables:
        """Return vectors of standard normal entries in units of the embedding's, and labels likewise."""
        shape = (*self.step.template.shape, self.step.table.shape[1])
        x = torch.from_numpy(stream.standard_normal(shape)).float()
        self.step.pin(x[None])
        if self.labels is not None:
            return (x,)
        places = (1,) if self.linked else self.label_shape
        q = stream.standard_normal((shape[0], *places, self.num_classes))
        return x, torch.from_numpy(q).float()

    def project(self, variables: Variables) -> None:
        """Move what is known back to where it was, in place."""
        self.step.pin(variables[0])

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
    observation: Observation, special: SpecialTokens, distance: TextDistance, next_words: bool
) -> TextMatching:
    """Return the search for the sentences of one step.

    Args:
        observation: It.
        special: What is known of the sentences.
        distance: How gradients are compared; all but the cosine need the step size.
        next_words: Whether labels at each position are taken for the words that follow.
    """
    step = embedded(observation, special)
    sent = -observation.update if distance == "cosine_layerwise" else observation.gradient()
    target = sent.float()[step.counts]
    compare = squared(target) if distance == "l2" else layerwise(distance, target, step.layout)
    labels = None
    if not observation.label_shape:
        one = observation.knowledge.batch_size == 1
        labels = only_label(observation, -observation.update) if one else known_labels(observation)
    linked = next_words and observation.label_shape == observation.input_shape
    linked &= observation.num_classes == observation.num_tokens
    return TextMatching(step, labels, observation.label_shape, observation.num_classes, compare, linked)


def refuse_unmatchable(
    observation: Observation, special: SpecialTokens, distance: TextDistance, who: str
) -> None:
    """Refuse a message of which no search of sentences can be made.

    Raises:
        PluginError: Its step size is needed and not known; labels of several sentences are not told; or the
            model is refused (``refuse_unembedded``).
    """
    if distance != "cosine_layerwise" and observation.knowledge.lr is None:
        raise PluginError(
            f"{who} needs to know lr with distance '{distance}'; distance 'cosine_layerwise' needs none"
        )
    if not observation.label_shape:
        refuse_untold_labels(observation, who)
    refuse_unembedded(observation, special)
