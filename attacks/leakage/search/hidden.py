"""What of its inputs a message says nothing of, so that a search that fits it has not found them."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.func import vjp

from .engine import Found, Variables


def hidden_values(residuals: Callable[[Variables], Tensor], variables: Variables) -> int:
    """Return how many of the inputs' values move no residual, as those that no layer reads.

    The derivative of one combination of all residuals, with fixed weights, is exactly 0 there. Inputs of
    which the message shows sums alone are not among them.

    Args:
        residuals: From inputs, and what else was searched, to what should be 0.
        variables: Where a search ended; inputs stand first.
    """
    x, *others = variables
    values, pull, *_ = vjp(lambda moved: residuals((moved, *others)), x)
    weights = torch.arange(1, values.numel() + 1, dtype=values.dtype).sin().reshape(values.shape)
    return int((pull(weights)[0] == 0).sum())


def unless_hidden(found: Found, residuals: Callable[[Variables], Tensor]) -> Found:
    """Return what was found; where it fits the message and some values are hidden, as ``not_certified``.

    How many they are is said in ``details`` (``hidden_values``), whose ``closures`` count the look at them.
    """
    if found.stopped != "converged":
        return found
    details = {**found.details, "closures": found.details["closures"] + 1}
    if not (count := hidden_values(residuals, found.variables)):
        return replace(found, details=details)
    return replace(found, stopped="not_certified", details={**details, "hidden_values": float(count)})
