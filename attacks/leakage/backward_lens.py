"""Backward Lens: which words a language model was taught, from the gradient of a layer inside it.

A layer that adds to the stream behind it has the gradient G = sum_t delta_t a_t^T, a_t its input and delta_t
what comes back at position t: near the end about E^T (p_t - onehot_t), with E the last layer's rows. So -G
lies along the rows of the words that follow.

Source: Katz, Belinkov, Geva, Wolf. Backward Lens: Projecting Language Model Gradients into the Vocabulary
Space. EMNLP 2024. arXiv:2402.12865, where it explains models; that it is an attack, and how words are scored
and how many are taken, is ours.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from ...core.errors import PluginError
from ...core.leakage_knowledge import Level
from ...core.observation import Observation
from .parts.attention_inputs import residual_writers
from .parts.requirements import PLAIN_STEP, refuse_unmet

Depth = Literal["last", "first", "all"]


@dataclass(frozen=True)
class BackwardLens:
    """Score the words that follow in a language model's step, though its last layer is not sent.

    Scores are ||relu(-E'_v G)|| / ||E'_v|| of the words that are taken, and 0 of the others, with E' the last
    layer's rows times the last norm's weight and without their mean, which that norm takes away.

    Attributes:
        layer: Of the layers that end a feed-forward part: the ``"last"``, the ``"first"``, or the sum over
            ``"all"`` of scores, each layer's of length 1.
        num_words: How many words are taken, at least 1; None: up to the largest fall of the sorted scores,
            and at most one a position of the batch.
        oriented: Whether inputs count that are positive along -G alone (those behind a GELU mostly are), as
            against all.
    """

    layer: Depth = "last"
    num_words: int | None = None
    oriented: bool = True

    requires: ClassVar[Mapping[str, Level]] = {"batch_size": Level.EXACT, "local_steps": Level.EXACT}
    only: ClassVar[Mapping[str, int]] = {"local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    inputs: ClassVar[tuple[str, ...]] = ("tokens",)

    def __post_init__(self) -> None:
        if self.layer not in get_args(Depth):
            raise ValueError(f"layer must be one of {', '.join(get_args(Depth))}, got {self.layer!r}")
        if self.num_words is not None and self.num_words < 1:
            raise ValueError(f"num_words must be at least 1, or None, got {self.num_words}")

    def check(self, observation: Observation) -> None:
        self._layers(observation)

    def infer(self, observations: Sequence[Observation]) -> Tensor:
        return torch.stack([self._taken(o) for o in observations])  # [N, V]

    def _taken(self, observation: Observation) -> Tensor:
        """Return the scores of the words that are taken, and 0 of the others.  # [V]"""
        refuse_unmet(self, observation)
        scores = self.scores(observation)
        order = scores.sort(descending=True, stable=True)
        count = self.num_words
        if count is None:
            places = (observation.knowledge.batch_size or 1) * observation.input_shape[0]
            falls = -order.values[: places + 1].diff()
            count = int(falls.argmax()) + 1 if len(falls) else 1
        found = torch.zeros_like(scores)
        found[order.indices[:count]] = order.values[:count]
        return found

    def scores(self, observation: Observation) -> Tensor:
        """Return the scores of all words, at least 0, in units of the update.  # [V]"""
        rows = _rows(observation)  # [V, d]
        lengths = rows.norm(dim=1).clamp(min=1e-30)
        views = observation.layout.views(observation.update.nan_to_num(0.0, 0.0, 0.0))
        total = torch.zeros(len(rows))
        layers = self._layers(observation)
        for name in layers:
            along = rows @ views[f"{name}.weight"].float()  # [V, width of its input]
            scores = (along.relu() if self.oriented else along).norm(dim=1) / lengths
            total += scores / (scores.norm().clamp(min=1e-30) if len(layers) > 1 else 1)
        return total

    def _layers(self, observation: Observation) -> list[str]:
        """Return the names of the layers that are read.

        Raises:
            PluginError: The model has no last layer of one row a token, or none before it is trained.
        """
        last, head = _head(observation)
        width = head.in_features
        example = torch.zeros(1, *observation.input_shape, dtype=torch.int64)
        model = copy.deepcopy(observation.model).eval()
        known = {slot.name for slot in observation.layout.parameters}
        writers = residual_writers(model, example, width, last)
        found = [name for name in writers if f"{name}.weight" in known]
        if not found:
            raise PluginError(
                f"BackwardLens reads a trained linear layer of {width} outputs before the last layer, "
                "and the model has none"
            )
        return {"last": found[-1:], "first": found[:1], "all": found}[self.layer]


def _head(observation: Observation) -> tuple[str, nn.Linear]:
    """Return the last layer and its name.

    Raises:
        PluginError: It has not one row a token.
    """
    linear = [(n, m) for n, m in observation.model.named_modules() if isinstance(m, nn.Linear)]
    if not linear or not linear[-1][1].out_features == observation.num_classes == observation.num_tokens:
        raise PluginError(
            f"BackwardLens works on a language model, whose last linear layer has one row a token; got "
            f"{observation.num_classes} classes of {observation.num_tokens} tokens"
        )
    return linear[-1]


def _rows(observation: Observation) -> Tensor:
    """Return the last layer's rows as the last norm before it hands its gradient back.  # [V, d]"""
    head = _head(observation)[1]
    rows = head.weight.detach().float()
    norms = [
        m
        for m in observation.model.modules()
        if isinstance(m, nn.LayerNorm) and tuple(m.normalized_shape) == (head.in_features,)
    ]
    if not norms:
        return rows
    if norms[-1].weight is not None:
        rows = rows * norms[-1].weight.detach()
    return rows - rows.mean(dim=1, keepdim=True)
