"""What ``gauntlet data`` says of clients, by hand."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from gauntlet.sims.data_summary import label_skew, summary_lines


@dataclass(frozen=True)
class Two:
    """A client with two zeros, and one with six ones."""

    tokens: bool = False
    num_clients: int = 2

    def num_examples(self, client_id):
        return (2, 6)[client_id]

    def client(self, client_id):
        size = self.num_examples(client_id)
        x = torch.full((size, 1), float(client_id))
        return (x.long() if self.tokens else x), torch.full((size,), client_id)


def test_the_distance_of_a_mix_is_half_the_sum_of_differences():
    """Everybody: (1/4, 3/4). The first client (1, 0) is 3/4 away, the second (0, 1) 1/4; equal ones 0."""
    assert label_skew(np.array([[2, 0], [0, 6]])).tolist() == [0.75, 0.25]
    assert label_skew(np.array([[2, 4], [3, 6]])) == pytest.approx([0, 0], abs=1e-15)


def test_lines_say_sizes_labels_and_inputs():
    counts = np.array([[2, 0], [0, 6]])
    assert summary_lines(Two(), counts) == [
        "2 clients, 8 examples: 2 to 6 (median 4) each",
        "labels: 1 to 1 (median 1) of 2 classes at a client; distance of its mix from everybody's "
        "0.25 to 0.75 (median 0.5) (0: the same, 1: nothing in common)",
        "inputs: mean 0 to 1 (median 0.5), standard deviation 0 to 0 (median 0)",
    ]
    assert len(summary_lines(Two(tokens=True), counts)) == 2
