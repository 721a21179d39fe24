"""The sentences of people: shapes, clients, and who is in which part."""

import numpy as np
import pytest

from gauntlet.clients.data import DATASETS
from gauntlet.core.errors import PluginError
from gauntlet.core.people import TOKENS


def test_sentences_lie_with_their_people_and_labels_follow():
    data = DATASETS.build("people", {"people": 6, "sentences": 4}).load()

    assert data.x.shape == data.y.shape == (24, 32)
    assert data.test_x.shape == (200, 32)
    assert np.array_equal(data.x[:, 1:], data.y[:, :-1])
    assert data.groups.tolist() == [n // 4 for n in range(24)]
    digits = [TOKENS.index(d) for d in "0123456789"]
    told = np.isin(data.x, digits).sum(axis=1)
    assert told.tolist() == [8, 0] * 12


def test_nobody_is_in_both_parts_and_a_seed_gives_the_same_people():
    data, again, other = (DATASETS.build("people", {"people": 6, "seed": s}).load() for s in (0, 0, 1))
    rows = {row.tobytes() for row in data.x}

    assert np.array_equal(data.x, again.x)
    assert not np.array_equal(data.x, other.x)
    assert rows.isdisjoint(row.tobytes() for row in data.test_x[::2])


def test_people_say_something():
    with pytest.raises(PluginError, match="people must be at least 1 and sentences at least 2, got 3 and 1"):
        DATASETS.build("people", {"people": 3, "sentences": 1})
