"""Inputs for the malicious servers."""

import pytest
import torch
from torch import Tensor


@pytest.fixture(scope="session")
def digits() -> tuple[Tensor, Tensor]:
    """The 1797 8 x 8 digits of scikit-learn, [n, 1, 8, 8] in [0, 1], and their labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return torch.tensor(data.images / 16, dtype=torch.float32)[:, None], torch.tensor(data.target)
