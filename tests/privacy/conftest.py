from collections.abc import Callable, Sequence

import pytest
import torch

from gauntlet.core.updates import Updates


@pytest.fixture
def cohort() -> Callable[..., Updates]:
    """Make a cohort from rows of numbers or a tensor [K, P]."""

    def make(rows: Sequence[Sequence[float]] | torch.Tensor, expected_size: float = 0.0) -> Updates:
        vectors = torch.as_tensor(rows, dtype=torch.float32)
        count = len(vectors)
        return Updates(vectors, torch.arange(count), torch.ones(count, dtype=torch.int64), expected_size)

    return make
