"""Scenes for the tests of the attacks: what the engine hands to one of them."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from gauntlet.core.contracts import View
from gauntlet.core.seeds import generator
from gauntlet.core.updates import Updates


def make_scene(honest: Any, own: Any, dtype: torch.dtype = torch.float64) -> tuple[Updates, View]:
    """Return (the malicious rows, the view) of a cohort whose malicious clients have the last ids."""
    good, bad = (torch.as_tensor(np.asarray(rows, dtype=float)).to(dtype) for rows in (honest, own))
    ids = torch.arange(len(good) + len(bad)) * 3
    examples = torch.full((len(ids),), 10)
    seen = Updates(good, ids[: len(good)], examples[: len(good)])
    view = View(2, torch.zeros(bad.shape[1]), len(ids), seen, generator(0, "attack", 2))
    return Updates(bad, ids[len(good) :], examples[len(good) :]), view


@pytest.fixture
def scene() -> Callable[..., tuple[Updates, View]]:
    return make_scene


@pytest.fixture
def golden_scene() -> tuple[Updates, View]:
    """The golden matrix X: H = X[:9] is honest, X[9] and X[10] belong to the attackers."""
    rows = np.random.default_rng(7).normal(size=(11, 5))
    return make_scene(rows[:9], rows[9:])


@pytest.fixture
def byzfl_attacks() -> ModuleType:
    """byzfl's attacks without its heavy imports; skips where byzfl is not installed."""
    if "byzfl" not in sys.modules:
        spec = importlib.util.find_spec("byzfl")
        if spec is None or not spec.submodule_search_locations:
            pytest.skip("byzfl is not installed (pip install --no-deps byzfl)")
        package = ModuleType("byzfl")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["byzfl"] = package
    return importlib.import_module("byzfl.attacks.attacks")
