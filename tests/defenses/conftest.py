"""Cohorts for the tests of the defenses, and the matrix behind their golden values."""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from gauntlet.core.layout import Layout, Slot
from gauntlet.core.updates import Context, Updates


def in_round(updates: Updates, round_: int = 0, **changes: Any) -> Updates:
    """Put a cohort into a round: global parameters 0, one layer, seed 0 unless given."""
    size = updates.vectors.shape[1]
    values = {
        "params": torch.zeros(size, dtype=updates.vectors.dtype),
        "layout": Layout((Slot("w", (size,), 0),)),
        "seed": 0,
    } | changes
    return replace(updates, context=Context(round_, **values))


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
def at() -> Callable[..., Updates]:
    return in_round


@pytest.fixture
def four_liars(cohort) -> Updates:
    """Clients 0 ... 15 want nearly the same; the updates of 16 ... 19 are flipped."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=40) * 0.1 + 0.02 * rng.normal(size=(20, 40))
    rows[16:] *= -1
    return replace(cohort(rows), client_ids=torch.arange(20))


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
