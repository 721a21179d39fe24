"""Frozen layers: some of the model's layers are trained by nobody, and nobody sends anything of them.

Source: Gupta, Huang, Zhong, Gao, Li, Chen. Recovering Private Text in Federated Learning of Language Models.
NeurIPS 2022, Section 6 (frozen word embeddings), arXiv:2205.08514, for embeddings; any other layer is our
choice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from ...core.errors import PluginError
from .parts.layers import layers_of


@dataclass(frozen=True)
class FrozenLayers:
    """Leave layers of the model as they were drawn: their parameters are no part of what is exchanged.

    Everybody has the model with the frozen layers, and evaluates it. Against attacks that read one layer (the
    first one: ``bias_trick``, ``embedding_rows``) that takes away what they read. An attack on all of the
    gradient matches what is left of it.

    Attributes:
        layers: Paths of layers, or of parts of the model that hold some; by default (empty) the first layer
            that has parameters.

    Raises:
        PluginError: A path at which there is nothing to freeze, or nothing would be left to train.
    """

    layers: tuple[str, ...] = ()

    looks_at_examples: ClassVar[bool] = False
    adaptive: ClassVar[Mapping[str, object]] = {"name": "dlg"}

    def wrap(self, model: nn.Module) -> nn.Module:
        there = dict(model.named_modules())
        known = layers_of(model)
        for name in self.layers or tuple(known)[:1]:
            if name not in there or not any(True for _ in there[name].parameters()):
                raise PluginError(
                    f"frozen_layers finds no parameters at '{name}'; layers: {', '.join(known) or 'none'}"
                )
            there[name].requires_grad_(False)
        if not any(p.requires_grad for p in model.parameters()):
            raise PluginError(f"frozen_layers would leave nothing to train; layers: {', '.join(known)}")
        return model
