"""Fixtures for every folder of tests, and how they share the machine.

Tests run side by side: torch gets one thread in each process, and in the processes that they start.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded
os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's workers would come after the tests beside them

import pytest

from gauntlet.clients.data import DATASETS
from gauntlet.clients.data.base import Dataset
from gauntlet.clients.pools.ray import start_ray
from gauntlet.core.errors import DataError


@pytest.hookimpl(trylast=True)  # once it is known which tests run
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal files that mostly wait evenly among those that compute, those first of which most tests wait.

    A test waits that kills runs, starts programs or needs Ray. Files stay whole, so that what a file's tests
    share is made once, and one process waits while others compute.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    waiting = {path: sum(map(_waits, tests)) / len(tests) for path, tests in files.items()}
    long = sorted((path for path in files if waiting[path]), key=lambda path: -waiting[path])
    other = [path for path in files if not waiting[path]]
    places = {path: i / len(long) for i, path in enumerate(long)}
    places |= {path: i / len(other) for i, path in enumerate(other)}
    items[:] = [item for path in sorted(files, key=places.__getitem__) for item in files[path]]


def _waits(item: pytest.Item) -> bool:
    slow = item.get_closest_marker("slow") is not None
    return slow or "ray_here" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def real_data() -> Callable[..., Dataset]:
    """Load a real data set by name, or skip the test where its files are not to be found."""

    def load(name: str, **options: object) -> Dataset:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GAUNTLET_OFFLINE", "1")
            try:
                return DATASETS.build(name, options).load()
            except DataError as error:
                if "no folder holds" not in str(error):  # there, but damaged: that must not pass unseen
                    raise
                pytest.skip(f"{name} is not on this machine: {error}")

    return load


@pytest.fixture(scope="session", autouse=True)
def _own_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Sign what tests write with a key of their own, not with the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """Start Ray once for all tests that need it."""
    start_ray(num_workers=2)
    yield
    import ray

    ray.shutdown()
