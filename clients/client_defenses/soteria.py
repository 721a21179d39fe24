"""Soteria: hide those features of the last layer's input from which inputs are rebuilt best.

Source: Sun, Li, Wang, Pang, Yang, Chen. Soteria: Provable Defense against Privacy Leakage in Federated
Learning from Representation Perspective. CVPR 2021, Section 4 and the authors' code. arXiv:2012.06043
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.func import jacrev

from ...core.contracts import BlockVisit
from ...core.errors import PluginError
from .parts.layers import linear_layer

WIDTH = 4096  # examples times features whose derivatives are taken at once


@dataclass(frozen=True)
class Soteria:
    """Set the columns of a linear layer's update to 0 that belong to its most telling input features.

    A feature r_i of the representation scores sum_b ||d r_bi / d x_b|| / (|r_bi| + offset) over the examples
    x_b of the client's first local step, at the parameters that it received, the model in evaluation mode:
    for an update of one step that is the paper's rule; for more steps it is our choice. Those of least score
    go. That takes a backward pass a feature. The layer's bias and all other layers are let out as they are.

    Zero columns show an attacker which layer is defended, and where: match the other entries alone.

    Attributes:
        rate: The share of the features whose columns become 0, at least 0 and below 1.
        offset: What is added to |r_bi|, at least 0. With 0, a feature that is 0 with a derivative of 0 scores
            0, and one that is 0 with another derivative infinity.
        layer: The path of a linear layer whose input is a vector a example; by default ("") the last one.
    """

    rate: float = 0.8
    offset: float = 0.1
    layer: str = ""

    adaptive: ClassVar[Mapping[str, object]] = {"name": "dlg", "masked": True}

    @property
    def passive(self) -> bool:
        """Whether nothing is taken away."""
        return self.rate == 0

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ValueError(f"rate must be at least 0 and below 1, got {self.rate}")
        if not 0 <= self.offset < inf:
            raise ValueError(f"offset must be at least 0 and finite, got {self.offset}")

    def check(self, model: nn.Module, input_shape: Sequence[int]) -> None:
        name, layer = self._layer(model)
        if not layer.weight.requires_grad:
            raise PluginError(f"Soteria needs a layer that clients train, and layer '{name}' is frozen")
        model = copy.deepcopy(model).eval().requires_grad_(False)
        layer = cast(nn.Linear, model.get_submodule(name))
        x = torch.full((2, *input_shape), 0.5, requires_grad=True)
        try:
            seen = _input_of(layer, model)(x)
            smooth = seen.requires_grad
            found = self._scores(model, layer, x.detach()) if seen.ndim == 2 and smooth else seen
        except Exception as error:
            why = (str(error) or type(error).__name__).splitlines()[0]
            raise PluginError(
                f"Soteria needs the derivatives of what layer '{name}' is given, by the inputs: {why}"
            ) from error
        if not smooth:
            raise PluginError(
                f"Soteria needs the derivatives of what layer '{name}' is given, by the inputs, and there "
                "are none: inputs are rounded to tokens"
            )
        if found.shape != (2, layer.in_features):
            raise PluginError(
                f"Soteria needs a layer that is given a vector an example, layer '{name}' is given "
                f"{list(found.shape)}"
            )

    def change(self, update: Tensor, visit: BlockVisit) -> Tensor:
        name, layer = self._layer(visit.model)
        gone = int(self.rate * layer.in_features + 1e-9)
        found = update.clone()
        if not gone:
            return found
        batches = [visit.batch(row)[0] for row in range(len(update))]
        scores = self._scores(visit.model, layer, torch.cat(batches))  # [B of all clients, F]
        sizes = [len(batch) for batch in batches]
        total = torch.stack([part.sum(dim=0) for part in torch.split(scores, sizes)])  # [K, F]
        border = total.kthvalue(gone + 1, dim=1, keepdim=True).values  # [K, 1]
        columns = visit.layout.views(found)[f"{name}.weight" if name else "weight"]  # [K, outputs, F]
        columns.masked_fill_((total < border)[:, None, :], 0.0)
        return found

    def _layer(self, model: nn.Module) -> tuple[str, nn.Linear]:
        return linear_layer(model, self.layer, "Soteria")

    def _scores(self, model: nn.Module, layer: nn.Linear, x: Tensor) -> Tensor:
        """Return ||d r_i / d x|| / (|r_i| + offset) of every example x [B, ...] and feature.  # [B, F]"""
        features = _input_of(layer, model)
        values = features(x).detach().abs()  # [B, F]
        if not len(x):
            return values
        chunk = max(1, WIDTH // len(x))
        slopes = cast(Tensor, jacrev(lambda z: features(z).sum(dim=0), chunk_size=chunk)(x))  # [F, B, ...]
        norms = slopes.flatten(2).norm(dim=2).T  # [B, F]; examples do not see each other
        return torch.nan_to_num(norms / (values + self.offset), nan=0.0, posinf=torch.inf)


def _input_of(layer: nn.Module, model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the map from examples to what a layer of the model is given."""

    def features(x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        handle = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            model(x)
        finally:
            handle.remove()
        return seen[-1]

    return features
