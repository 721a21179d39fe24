"""Partial work: clients that do a part of their local steps, as stragglers who send what they have.

Source: Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith. Federated Optimization in Heterogeneous Networks.
MLSys 2020, Section 5.2. arXiv:1812.06127, which draws epochs; here it is steps.
"""

from collections.abc import Callable

import numpy as np


def check_partial(partial: float) -> None:
    """Refuse a probability that is none.

    Raises:
        ValueError: It is not between 0 and 1.
    """
    if not 0 <= partial <= 1:
        raise ValueError(f"partial must be between 0 and 1, got {partial}")


def some_steps(partial: float, planned: int, draw: Callable[[], np.random.Generator]) -> int:
    """Return how many of its planned local steps a client takes, at least 1.

    Args:
        partial: With which probability it takes fewer than all, drawn evenly from 1 to one less than all.
        planned: All of them, at least 1; where that is 1 it takes it.
        draw: Makes the client's own stream of the round.
    """
    stream = draw()
    fewer = stream.random() < partial and planned > 1
    return int(stream.integers(1, planned)) if fewer else planned
