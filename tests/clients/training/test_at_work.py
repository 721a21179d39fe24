"""How many of a stack are still training in each local step, against counting them."""

import numpy as np

from gauntlet.clients.training.stacked import at_work


def test_counts_those_whose_steps_are_not_used_up() -> None:
    steps = np.array([7, 5, 5, 2, 1, 1])
    assert at_work(steps) == [sum(n > s for n in steps) for s in range(7)] == [6, 4, 3, 3, 3, 1, 1]
