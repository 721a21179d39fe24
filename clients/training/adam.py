"""Adam in a client's local steps: moments that begin at 0 in every round.

Source: Kingma, Ba. Adam: A Method for Stochastic Optimization. ICLR 2015, Algorithm 1. arXiv:1412.6980, with
torch.optim.Adam's constants (0.9, 0.999, 1e-8), whose steps these are (a test compares). The server's Adam
is another formula (tau in the place of epsilon, a start at tau^2, no correction) on one vector, which it
leaves as it was; here stacks of tensors are changed in place, in the order of torch's rounding.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """The moments of some tensors of parameters, and the direction that they give."""

    def __init__(self, params: Sequence[Tensor]) -> None:
        """Take the parameters for their shapes: one client's, or of stacked clients [K, ...]."""
        self._first = [torch.zeros_like(p) for p in params]
        self._second = [torch.zeros_like(p) for p in params]
        self._steps = 0

    def begin_step(self) -> None:
        """Count one more step of all parameters."""
        self._steps += 1

    def direction(self, place: int, gradient: Tensor) -> Tensor:
        """Return what a step of length lr goes against, for the parameters at ``place``.

        Args:
            place: Which of the parameters.
            gradient: Its gradient; of stacked clients the first ones, who still train.
        """
        first, second = (moments[place][: len(gradient)] for moments in (self._first, self._second))
        first.lerp_(gradient, 1 - BETA1)
        second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        root = second.sqrt().div_((1 - BETA2**self._steps) ** 0.5).add_(EPSILON)
        return first.div(root).div_(1 - BETA1**self._steps)
