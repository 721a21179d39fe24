"""Oracle: sums by hand."""

import torch

from gauntlet.clients.algorithms.parts.window import with_round


def test_messages_add_up_by_client_whoever_came_in_a_round():
    first = with_round(None, torch.tensor([2, 5]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    second = with_round(first, torch.tensor([0, 5]), torch.tensor([[10.0, 0.0], [0.5, -4.0]]))
    assert second["ids"].tolist() == [0, 2, 5]
    assert second["times"].tolist() == [1, 1, 2]
    assert second["sums"].tolist() == [[10.0, 0.0], [1.0, 2.0], [3.5, 0.0]]
    assert first["ids"].tolist() == [2, 5]
    assert with_round(second, torch.zeros(0).long(), torch.zeros(0, 2))["times"].tolist() == [1, 1, 2]
