"""Cohorts for the tests of the defenses, and the matrix behind their golden values."""

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from gauntlet.core.updates import Updates


def make_cohort(rows: Any, num_examples: list[int] | None = None, expected_size: float = 0.0) -> Updates:
    """Return clients 5, 15, 25, ... with these rows, 10 examples each unless given."""
    vectors = rows if isinstance(rows, torch.Tensor) else torch.from_numpy(np.asarray(rows, dtype=float))
    counts = torch.tensor(
        num_examples if num_examples is not None else [10] * len(vectors), dtype=torch.int64
    )
    return Updates(vectors, torch.arange(len(vectors)) * 10 + 5, counts, expected_size)


@pytest.fixture
def cohort() -> Callable[..., Updates]:
    return make_cohort


@pytest.fixture
def golden_cohort() -> Updates:
    """X of the golden values: 11 clients, 5 coordinates, float64."""
    return make_cohort(np.random.default_rng(7).normal(size=(11, 5)))


@pytest.fixture
def byzfl_aggregators() -> ModuleType:
    """byzfl's aggregators without its heavy imports; skips where byzfl is not installed."""
    if "byzfl" not in sys.modules:
        spec = importlib.util.find_spec("byzfl")
        if spec is None or not spec.submodule_search_locations:
            pytest.skip("byzfl is not installed (pip install --no-deps byzfl)")
        package = ModuleType("byzfl")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["byzfl"] = package
    return importlib.import_module("byzfl.aggregators")
