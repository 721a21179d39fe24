"""Where a defense that draws takes its randomness from."""

import numpy as np

from ...core.seeds import generator
from ...core.updates import Updates


def stream(updates: Updates, purpose: str, calls: int) -> np.random.Generator:
    """Return this round's stream for ``purpose``; outside a run, that of seed 0 and the number of calls."""
    if updates.context is None:
        return generator(0, purpose, calls)
    return generator(updates.context.seed, purpose, updates.context.round)
