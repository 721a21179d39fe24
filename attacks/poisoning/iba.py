"""IBA: a small network draws each image a trigger of its own that nobody sees.

Source: Nguyen, Nguyen, Nguyen, Pham, Doan, Wong. IBA: Towards Irreversible Backdoor Attacks in Federated
Learning. NeurIPS 2023, Section 4 (read in public code; unverified). There the network is a U-Net that is kept
from round to round, and the attackers also keep to parameters that honest clients hardly move: ``neurotoxin``
after this one (``update`` in a scenario). Here, a reconstruction: a perceptron with one hidden layer, trained
anew on the model that came and the images at hand.
"""

from dataclasses import dataclass
from math import isfinite, prod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ...core.contracts import Goal, SeenModel
from ...core.seeds import generator as stream_of
from .parts.trigger import check_trigger, teach, triggered

Weights = tuple[Tensor, Tensor]
"""The network's two layers.  # [D, F], [F, D]"""


@dataclass(frozen=True)
class IBA:
    """Add ``budget`` tanh(network(x)) to each image x, so that the received model takes it for ``target``.

    The network begins at weights drawn once for all, so that clients with similar images have similar ones.
    ``goal`` trains it on the test images, whose labels it does not need.

    Attributes:
        target: The class that triggered images shall be taken for, from 0.
        fraction: Share of the client's examples that are poisoned, above 0 and at most 1; at least one.
        budget: The most that a pixel is changed, above 0 and at most 1 (the paper's epsilon).
        hidden: Units of the network's hidden layer, at least 1.
        steps: Steps of Adam that train it, at least 1.
        lr: Their step size, above 0.
        references: Images that it is trained on, the first ones at hand, at least 1.
    """

    target: int = 2
    fraction: float = 0.5
    budget: float = 0.2
    hidden: int = 32
    steps: int = 30
    lr: float = 0.01
    references: int = 64

    sees_model: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_trigger(self.target, self.fraction, 1.0)
        if not 0 < self.budget <= 1:
            raise ValueError(f"budget must be above 0 and at most 1, got {self.budget}")
        for name in ("hidden", "steps", "references"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not (self.lr > 0 and isfinite(self.lr)):
            raise ValueError(f"lr must be finite and above 0, got {self.lr}")

    def poison(
        self, x: Tensor, y: Tensor, generator: np.random.Generator, model: SeenModel
    ) -> tuple[Tensor, Tensor]:
        return teach(x, y, self.drawn(x, self.network(x, model)), self.target, self.fraction, generator)

    def goal(self, x: Tensor, y: Tensor, model: SeenModel) -> Goal:
        return triggered(y, self.drawn(x, self.network(x, model)), self.target)

    def drawn(self, x: Tensor, network: Weights) -> Tensor:
        """Return images [n, channels, H, W] with the network's triggers."""
        first, second = network
        noise = torch.tanh(torch.relu((x.flatten(1) - 0.5) @ first) @ second)
        return (x + self.budget * noise.reshape(x.shape)).clamp(0.0, 1.0)

    def network(self, x: Tensor, model: SeenModel) -> Weights:
        """Return the network after training on the first images."""
        if x.ndim != 4:
            raise ValueError(f"iba needs images [n, channels, H, W], got inputs {list(x.shape[1:])}")
        x, size = x[: self.references], prod(x.shape[1:])
        stream = stream_of(0, "iba")
        weights = []
        for rows, columns in ((size, self.hidden), (self.hidden, size)):
            drawn = stream.standard_normal((rows, columns)) / rows**0.5
            weights.append(torch.from_numpy(drawn).to(x.dtype).requires_grad_())
        wanted, descent = torch.full((len(x),), self.target), torch.optim.Adam(weights, lr=self.lr)
        for _ in range(self.steps):
            with torch.enable_grad():
                loss = cross_entropy(model(self.drawn(x, (weights[0], weights[1]))), wanted)
                slopes = torch.autograd.grad(loss, weights)
            for weight, slope in zip(weights, slopes, strict=True):
                weight.grad = slope.nan_to_num(0.0, 0.0, 0.0)
            descent.step()
        return weights[0].detach(), weights[1].detach()
