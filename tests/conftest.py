"""Fixtures for every folder of tests, and how they share the machine.

Tests run side by side: torch gets one thread in each process, and in the processes that they start.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded

import pytest

from gauntlet.clients.data import DATASETS
from gauntlet.clients.data.base import Dataset
from gauntlet.clients.pools.ray import start_ray
from gauntlet.core.errors import DataError

HERE = Path(__file__).parent
SECOND_RAY = ("outside", "server")  # folders whose tests take about as long as those of all others


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests that need Ray in two processes, so that each of them starts it once.

    Two Rays on one machine share nothing: each has its own folder, its own token and ports that the system
    chooses. Tests that end a node or fill a store start a Ray of their own in a program of their own.
    """
    for item in items:
        if "ray_here" in getattr(item, "fixturenames", ()):
            second = item.path.relative_to(HERE).parts[0] in SECOND_RAY
            item.add_marker(pytest.mark.xdist_group("ray 2" if second else "ray 1"))


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
