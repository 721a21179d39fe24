"""Fixtures for tests of models."""

from collections.abc import Iterator

import pytest

from gauntlet.core.seeds import generator, seeded_torch


@pytest.fixture(autouse=True)
def drawn_alike() -> Iterator[None]:
    """Make what tests draw from torch's global state the same every time."""
    with seeded_torch(generator(0, "tests")):
        yield
