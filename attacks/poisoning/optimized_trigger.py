"""A trigger that follows the model: the small pattern that the received model itself takes for the target.

Source: in the spirit of Zhang, Jia, Chen, Lin, Wu. A3FL: Adversarially Adaptive Backdoor Attacks to Federated
Learning. NeurIPS 2023 (unverified): there a patch is optimised against the received model and against one
that unlearns it. Here, a reconstruction: against the received model alone, a pattern bounded in L2 norm, on
images of noise. Projected gradient: Madry, Makelov, Schmidt, Tsipras, Vladu. Towards Deep Learning Models
Resistant to Adversarial Attacks. ICLR 2018, Section 2.1. arXiv:1706.06083
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ...core.contracts import Goal, SeenModel
from ...core.seeds import generator as stream_of
from .parts.trigger import check_trigger, teach, triggered


@dataclass(frozen=True)
class OptimizedTrigger:
    """Add the pattern of at most ``budget`` that lowers the loss towards ``target`` most; teach it as that.

    It follows from the model alone, so that all its clients have the same one in a round without a word, and
    ``goal`` has the one that they would have for the model that is evaluated. A fixed trigger that sets k
    pixels from 0 to 1 has a budget of sqrt(k). Much of its success is none of the poisoning's: the same
    pattern fools a model that nobody poisoned, less often (docs/log.md). Images only.

    Attributes:
        target: The class that triggered images shall be taken for, from 0.
        fraction: Share of the client's examples that are poisoned, above 0 and at most 1; at least one.
        budget: The pattern's largest L2 norm, in units of pixels, above 0.
        steps: Steps of projected gradient, of 2.5 ``budget`` / ``steps`` each, at least 1.
        references: Images of noise, drawn once for all, on which it is optimised, at least 1.
    """

    target: int = 2
    fraction: float = 0.5
    budget: float = 12**0.5
    steps: int = 20
    references: int = 64

    sees_model: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_trigger(self.target, self.fraction, 1.0)
        if not 0 < self.budget < inf or self.steps < 1 or self.references < 1:
            raise ValueError(
                "budget must be above 0 and finite, steps and references at least 1, got "
                f"{self.budget}, {self.steps} and {self.references}"
            )

    def poison(
        self, x: Tensor, y: Tensor, generator: np.random.Generator, model: SeenModel
    ) -> tuple[Tensor, Tensor]:
        return teach(x, y, self._stamped(x, model), self.target, self.fraction, generator)

    def goal(self, x: Tensor, y: Tensor, model: SeenModel) -> Goal:
        return triggered(y, self._stamped(x, model), self.target)

    def _stamped(self, x: Tensor, model: SeenModel) -> Tensor:
        return (x + self.pattern(x.shape[1:], model)).clamp(0.0, 1.0)

    def pattern(self, shape: torch.Size, model: SeenModel) -> Tensor:
        """Return what is added to images of this shape.  # [channels, H, W]"""
        if len(shape) != 3:
            raise ValueError(f"optimized_trigger needs images [n, channels, H, W], got inputs {list(shape)}")
        noise = stream_of(0, "optimized trigger").random((self.references, *shape), dtype=np.float32)
        images, found = torch.from_numpy(noise), torch.zeros(shape)
        classes = model(images[:1]).shape[-1]
        if self.target >= classes:
            raise ValueError(f"target must be below the model's {classes} classes, got {self.target}")
        wanted = torch.full((self.references,), self.target)
        for _ in range(self.steps):
            slope = self._slope(images, found, wanted, model)
            found = found - 2.5 * self.budget / self.steps * slope / slope.norm().clamp(min=1e-12)
            found = found * (self.budget / found.norm().clamp(min=self.budget))
        return found

    def _slope(self, images: Tensor, pattern: Tensor, wanted: Tensor, model: SeenModel) -> Tensor:
        """Return the gradient of the mean loss towards the target; 0 where it is no number."""
        with torch.enable_grad():
            at = pattern.clone().requires_grad_()
            loss = cross_entropy(model((images + at).clamp(0.0, 1.0)), wanted)
            return torch.autograd.grad(loss, at)[0].nan_to_num(0.0, 0.0, 0.0)
