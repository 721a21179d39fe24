"""Fixtures for tests of data: a cache of their own, and a folder in which to put made-up files."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep what is unpacked out of the user's own cache, but unpack it once for all tests."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "gauntlet"


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is searched first, with an empty cache and without the hub."""
    monkeypatch.setenv("GAUNTLET_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GAUNTLET_OFFLINE", "1")
    return tmp_path / "data"


@pytest.fixture
def mnist_labels() -> np.ndarray:
    """As many labels of each class as MNIST's training set has, in order of label."""
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    return np.repeat(np.arange(10), counts)
