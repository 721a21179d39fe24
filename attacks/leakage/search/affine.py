"""Unknowns in which residuals are affine: solved for at every point, as the labels behind a gradient can be.

The gradient of a batch is affine in its labels, so that labels that fit best belong to any inputs. A search
that moves both at once can keep a label that fitted inputs that it has left, and end there.

Source: Golub, Pereyra. The Differentiation of Pseudo-Inverses and Nonlinear Least Squares Problems Whose
Variables Separate. SIAM Journal on Numerical Analysis 1973. That steps are by all unknowns: Ruhe, Wedin.
Algorithms for Separable Nonlinear Least Squares Problems. SIAM Review 1980, Algorithm 2. That it is used on
labels is ours.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .engine import Variables
from .normal_equations import forwards, root_of, solved

_RIDGE = 1e-9  # in units of the mean diagonal entry: directions that change nothing stay where they are
_ENTRIES = 8192  # of the residuals, in float64 at once


def settled(residuals: Callable[[Variables], Tensor], variables: Variables) -> Variables:
    """Return the variables with the last one where the residuals' squares are least, the others as they are.

    Where rounding leaves no such place, or the residuals are no numbers, it stays where it is.

    Args:
        residuals: What should be 0, affine in the last variable.
        variables: Of one restart.
    """
    *others, last = variables

    def values(moved: Tensor) -> Tensor:
        return residuals((*others, moved))

    unit = torch.eye(last.numel(), dtype=last.dtype).reshape(-1, *last.shape)
    columns, here = forwards(values, last, unit), values(last)  # [N, M], [M]
    gram, slope = torch.zeros(len(unit), len(unit)).double(), torch.zeros(len(unit)).double()
    for part, some in zip(torch.split(columns, _ENTRIES, dim=1), torch.split(here, _ENTRIES), strict=True):
        gram += part.double() @ part.double().T
        slope += part.double() @ some.double()
    root = root_of(gram, _RIDGE * float(gram.diagonal().mean()))
    if root is None or not (step := solved(root, slope)).isfinite().all():
        return variables
    return (*others, last + step.reshape(last.shape).to(last.dtype))
