"""A3FL: a patch whose pixels still work on a model that has begun to unlearn it.

Source: Zhang, Jia, Chen, Lin, Wu. A3FL: Adversarially Adaptive Backdoor Attacks to Federated Learning.
NeurIPS 2023, Section 3 (read in public code: the paper's equations are unverified). There a client keeps its
patch from round to round. Here, a reconstruction: it is made anew from the model that came and the images at
hand, so that nothing is kept; each client has its own.
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from ...core.contracts import Goal, SeenModel
from .parts.trigger import Pixel, check_trigger, stamp, teach, triggered
from .pixel_backdoor import TWO_ROWS


@dataclass(frozen=True)
class A3FL:
    """Choose the values of ``pixels`` that the received and an adapted model take for ``target``; teach them.

    The adapted model is the received one after ``unlearning`` steps of gradient descent on images that carry
    the patch, with their right labels: what honest clients will do to it. Its loss counts ``balance`` times
    its cosine with the received one. A client uses its own labels; ``goal``, which stands for an attacker
    that wants test images misread, what the model answers without the patch.

    Attributes:
        target: The class that triggered images shall be taken for, from 0.
        fraction: Share of the client's examples that are poisoned, above 0 and at most 1; at least one.
        pixels: Where the patch is: (row, column) from the top left, negative ones from the bottom right.
        steps: Steps of signed gradient on the patch, from 0.5 on, at least 1.
        step_size: Of one of these, in units of pixels, above 0.
        balance: Weight of the adapted model (the paper's lambda_0), at least 0. 0 leaves it away.
        unlearning: Steps of gradient descent that adapt the model, at least 1.
        unlearning_lr: Their step size, above 0.
        every: Steps on the patch between two adaptations, at least 1.
        references: Images that the patch is made on, the first ones at hand, at least 1.
    """

    target: int = 2
    fraction: float = 0.5
    pixels: tuple[Pixel, ...] = TWO_ROWS
    steps: int = 30
    step_size: float = 0.05
    balance: float = 1.0
    unlearning: int = 5
    unlearning_lr: float = 0.1
    every: int = 10
    references: int = 64

    sees_model: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_trigger(self.target, self.fraction, 1.0)
        if not self.pixels:
            raise ValueError("pixels must name at least one pixel, got none")
        for name in ("steps", "unlearning", "every", "references"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("step_size", "unlearning_lr"):
            if not (getattr(self, name) > 0 and isfinite(getattr(self, name))):
                raise ValueError(f"{name} must be finite and above 0, got {getattr(self, name)}")
        if not (self.balance >= 0 and isfinite(self.balance)):
            raise ValueError(f"balance must be finite and at least 0, got {self.balance}")

    def poison(
        self, x: Tensor, y: Tensor, generator: np.random.Generator, model: SeenModel
    ) -> tuple[Tensor, Tensor]:
        stamped = self.stamped(x, self.patch(x, y, model))
        return teach(x, y, stamped, self.target, self.fraction, generator)

    def goal(self, x: Tensor, y: Tensor, model: SeenModel) -> Goal:
        answers = model(x[: self.references]).argmax(dim=-1)
        return triggered(y, self.stamped(x, self.patch(x, answers, model)), self.target)

    def stamped(self, x: Tensor, patch: Tensor) -> Tensor:
        """Return images [n, channels, H, W] with the patch [channels, pixels] in its place."""
        stamped = stamp(x, self.pixels, 0.0)
        rows, columns = torch.tensor(self.pixels, dtype=torch.int64).reshape(-1, 2).unbind(dim=1)
        stamped[:, :, rows, columns] = patch
        return stamped

    def patch(self, x: Tensor, y: Tensor, model: SeenModel) -> Tensor:
        """Return the values of the pixels, from the first images and their labels.  # [channels, pixels]"""
        x, y = x[: self.references], y[: self.references]
        wanted, received = torch.full_like(y, self.target), model.params
        found, adapted, alike = torch.full((x.shape[1], len(self.pixels)), 0.5), received, 0.0
        for step in range(self.steps):
            if self.balance > 0 and step % self.every == 0:
                adapted = self.unlearnt(self.stamped(x, found), y, model)
                alike = float(cosine_similarity(adapted, received, dim=0).nan_to_num(0.0))
            with torch.enable_grad():
                at = found.clone().requires_grad_()
                shown = self.stamped(x, at)
                loss = cross_entropy(model(shown), wanted)
                if self.balance > 0:
                    loss = loss + self.balance * alike * cross_entropy(model(shown, adapted), wanted)
                slope = torch.autograd.grad(loss, at)[0].nan_to_num(0.0, 0.0, 0.0)
            found = (found - self.step_size * slope.sign()).clamp(0.0, 1.0)
        return found

    def unlearnt(self, shown: Tensor, y: Tensor, model: SeenModel) -> Tensor:
        """Return the received parameters after descent on images with the patch and their labels.  # [P]"""
        params = model.params
        for _ in range(self.unlearning):
            with torch.enable_grad():
                at = params.clone().requires_grad_()
                slope = torch.autograd.grad(cross_entropy(model(shown, at), y), at)[0]
            params = params - self.unlearning_lr * slope
        return params
