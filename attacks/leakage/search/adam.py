"""Adam, on signs or on gradients as they are, for all restarts in one batch.

Source: Geiping, Bauermeister, Droege, Moeller. Inverting Gradients. NeurIPS 2020, Section 4 and the authors'
code (signs before Adam, a tenth of the step after 3/8, 5/8 and 7/8 of the run). arXiv:2003.14053. Half a
cosine: Loshchilov, Hutter. SGDR. ICLR 2017, Equation 5, without restarts. arXiv:1608.03983. Adam: Kingma, Ba.
ICLR 2015, Algorithm 1. arXiv:1412.6980; in torch.optim's order of operations, without what that does around
them, which takes a quarter of a search's time on small models.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

Schedule = Literal["steps", "cosine"]
_MARKS = (3 / 8, 5 / 8, 7 / 8)  # of the run
_MEAN, _SQUARE, _LEAST = 0.9, 0.999, 1e-8  # Adam's beta 1, beta 2 and epsilon


@dataclass(frozen=True)
class AdamSearch:
    """How to search.

    Attributes:
        lr: Step size in units of the inputs, above 0.
        signed: Whether Adam sees the signs of the inputs' gradients alone. Other variables' gradients stay.
        decays: Whether steps shrink.
        rates: Step sizes of the variables after the inputs; by default ``lr``.
        noise: Standard deviation of what is added to the inputs with each step, in units of its size, at
            least 0: Langevin's.
        schedule: How they do: to a tenth after 3/8, 5/8 and 7/8 of the run ("steps"), or as
            (1 + cos(pi share)) / 2 of the share of the run that is over ("cosine").

    Raises:
        ValueError: A step size is not above 0, or there is no such schedule.
    """

    lr: float = 0.1
    signed: bool = True
    decays: bool = True
    rates: tuple[float, ...] = ()
    schedule: Schedule = "steps"
    noise: float = 0.0

    def __post_init__(self) -> None:
        for rate in (self.lr, *self.rates):
            if not 0 < rate < math.inf:
                raise ValueError(f"lr must be above 0 and finite, got {rate}")
        if not 0 <= self.noise < math.inf:
            raise ValueError(f"noise must be at least 0 and finite, got {self.noise}")
        if self.schedule not in get_args(Schedule):
            allowed = ", ".join(get_args(Schedule))
            raise ValueError(f"schedule must be one of {allowed}, got {self.schedule!r}")

    def steps(
        self, variables: Sequence[Tensor], max_iterations: int, stream: np.random.Generator | None = None
    ) -> Callable[[Sequence[Tensor]], None]:
        """Return a function that moves the variables, in place, by their gradients.

        A gradient that is no number moves nothing, so that a restart that meets one does not spread it.

        Args:
            variables: What is moved; the inputs first.
            max_iterations: Steps in all.
            stream: Where noise comes from; needed where there is any.
        """
        rates = (self.lr, *self.rates, *[self.lr] * len(variables))
        moved = [
            (v, rate, torch.zeros_like(v), torch.zeros_like(v))
            for v, rate in zip(variables, rates, strict=False)
        ]
        taken = 0

        @torch.no_grad()
        def step(gradients: Sequence[Tensor]) -> None:
            nonlocal taken
            inputs, *others = (g.nan_to_num(0.0, 0.0, 0.0) for g in gradients)
            seen = [inputs.sign() if self.signed else inputs, *others]
            for (v, rate, mean, square), g in zip(moved, seen, strict=True):
                size = self.rate(rate, taken, max_iterations)
                mean.lerp_(g, 1 - _MEAN)
                square.mul_(_SQUARE).addcmul_(g, g, value=1 - _SQUARE)
                root = square.sqrt().div_(math.sqrt(1 - _SQUARE ** (taken + 1))).add_(_LEAST)
                v.addcdiv_(mean, root, value=-size / (1 - _MEAN ** (taken + 1)))
            if self.noise:
                assert stream is not None, "noise needs a stream"
                size = self.noise * self.rate(self.lr, taken, max_iterations)
                variables[0].add_(torch.from_numpy(stream.normal(0, size, variables[0].shape)).float())
            taken += 1

        return step

    def rate(self, first: float, taken: int, max_iterations: int) -> float:
        """Return a step size after so many steps, ``first`` at the beginning."""
        if self.decays and self.schedule == "cosine":
            return first * ((1 + math.cos(math.pi * taken / max_iterations)) / 2)
        passed = sum(taken >= int(max_iterations * share) for share in _MARKS) if self.decays else 0
        return first * 0.1**passed
