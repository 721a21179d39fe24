"""What an attacker's own records must not hold."""

from types import SimpleNamespace

import pytest
import torch

from gauntlet.core.errors import DataError
from gauntlet.core.observation import Truth
from gauntlet.server.recording.candidates import auxiliary_of

SENTENCES = torch.tensor([[1, 2], [3, 4], [5, 6], [7, 8]])


def simulation(x):
    data = SimpleNamespace(test=lambda: (x, torch.zeros(len(x), dtype=torch.int64)))
    return SimpleNamespace(data=data, spec=SimpleNamespace(seed=0))


def test_a_sentence_that_the_client_trains_on_is_not_among_the_attackers():
    truth = Truth(torch.tensor([[5, 6], [9, 9]]), torch.zeros(2, dtype=torch.int64))
    found = auxiliary_of(simulation(SENTENCES), 4, truth)

    assert sorted(found.x.tolist()) == [[1, 2], [3, 4], [7, 8]]
    assert len(found.y) == 3


def test_pictures_are_as_they_were_drawn():
    pictures = SENTENCES.float()
    found = auxiliary_of(simulation(pictures), 4, Truth(pictures, torch.zeros(4)))

    assert len(found.x) == 4


def test_where_none_is_left_it_is_said():
    with pytest.raises(DataError, match="trains on all of 4 auxiliary examples; take more"):
        auxiliary_of(simulation(SENTENCES), 4, Truth(SENTENCES, torch.zeros(4)))
