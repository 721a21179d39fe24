"""A ladder: a model's own first layer becomes thresholds on how bright an example is.

Source: Fowl, Geiping, Czaja, Goldblum, Goldstein. Robbing the Fed: Directly Obtaining Private Data in
Federated Learning with Modified Models. ICLR 2022, Section 3. arXiv:2110.13057. There a layer is inserted for
it; that the model's own is taken, and learns nothing any more, is ours.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from gauntlet.core.observation import Reconstruction


@dataclass(frozen=True)
class Ladder:
    """Let row i of the first layer pass examples whose mean value is above the i-th of equal steps.

    The second layer, linear too, gives every row the same weights, and so the same gradient.

    Attributes:
        low, high: The first and the last threshold, in units of the inputs.
    """

    low: float = 0.15
    high: float = 0.45
    deviates: ClassVar[str] = "parameters"

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")

    def rebuild(self, model):
        layers = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.Linear)]
        (name, one), (_, two) = layers[:2] if len(layers) > 1 else [("", nn.Identity())] * 2
        wanted = [getattr(one, "weight", None), getattr(one, "bias", None), getattr(two, "weight", None)]
        if [id(p) for p in wanted] != [id(p) for p in list(model.parameters())[:3]]:
            raise ValueError("the model must begin with two linear layers, the first with a bias")
        return model, {"layer": name, "sizes": (*one.weight.shape, two.out_features)}

    def init(self, secret):
        return secret["sizes"]

    def plant(self, params, state, generator):
        rows, width, outputs = state
        begin, end = rows * (width + 1), rows * (width + 1 + outputs)
        second = params[begin:end].view(outputs, rows)[:, :1].expand(outputs, rows)
        thresholds = torch.linspace(self.low, self.high, rows)
        measure = torch.full((rows * width,), 1 / width)
        return torch.cat([measure, -thresholds, second.reshape(-1), params[end:]]), {}, state


@dataclass(frozen=True)
class LadderSteps:
    """Rebuild the examples that are alone between two thresholds, the surest first."""

    requires: ClassVar = {"batch_size": "exact", "labels": "exact", "local_steps": "exact"}
    only: ClassVar = {"server": "Ladder", "local_steps": 1}
    assumes: ClassVar = {"optimizer": "sgd", "weight_decay": 0.0}

    def reconstruct(self, observations, generator):
        (seen,) = observations
        rows, layer = seen.layout.views(seen.update.double()), seen.planted["layer"]
        steps, moved = (-rows[f"{layer}.{leaf}"].diff(dim=0) for leaf in ("weight", "bias"))
        size, (low, high) = seen.knowledge.batch_size, seen.value_range
        surest = moved.abs().argsort(descending=True)[torch.arange(size) % len(moved)]
        x = (steps[surest] / moved[surest, None]).nan_to_num().clamp(low, high)
        y = torch.tensor(sorted(seen.knowledge.labels))
        shape = (size, *seen.input_shape)
        return Reconstruction(x.float().view(shape), y, 0.0, (), "closed_form", {"rungs": len(moved)})
