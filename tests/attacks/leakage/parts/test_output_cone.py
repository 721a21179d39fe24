"""What the next layer's gradients add to SPEAR. Oracle: the true batch itself."""

import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.attacks.leakage.parts.metrics import match, mse
from gauntlet.attacks.leakage.parts.output_cone import edges
from gauntlet.attacks.leakage.parts.sparse_columns import Basis
from gauntlet.attacks.leakage.spear import Spear
from gauntlet.core.errors import PluginError
from gauntlet.core.seeds import generator, seeded_torch


def rebuild(observation, **options):
    return Spear(**options).reconstruct([observation], generator(0, "attack"))


def net(*widths):
    """Return a perceptron of these widths with torch's own initialisation."""
    with seeded_torch(generator(0, "weights")):
        layers = [nn.Flatten()]
        for before, after in pairwise(widths[:-1]):
            layers += [nn.Linear(before, after), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(*widths[-2:]))


@pytest.mark.parametrize(("search", "sure"), [("outputs", True), ("dictionary", False)])
def test_what_the_next_layer_reads_gives_a_batch_back_where_gradients_alone_do_not(
    digits, observe, search, sure
):
    """Eight digits on 64 units: of outputs, not of gradients, it is known that none is negative."""
    x, y = (part[:8] for part in digits)

    found = rebuild(observe(net(64, 64, 50, 10), x, y), search=search, max_seconds=5.0 if sure else 0.2)

    assert found.stopped == ("converged" if sure else "not_certified")
    assert (float(mse(found.x[match(found.x, x)], x).max()) < 1e-8) == sure


def test_a_model_whose_next_layer_shows_too_little_is_refused_or_searched_without_it(digits, observe):
    """Ten classes behind the first layer: gradients of rank 9 at most, as those of softmax sum to 0."""
    seen = observe(net(64, 200, 10), digits[0][:11], digits[1][:11])

    with pytest.raises(PluginError, match='search = "outputs" needs a linear layer behind the first ReLU'):
        rebuild(seen, search="outputs")
    assert rebuild(seen, max_seconds=0.1).stopped == "not_certified"


def test_time_ends_a_program_that_would_take_longer():
    """512 examples: one program of 512 unknowns and 2,048 bounds takes seconds, of which there is a tenth."""
    stream, rank = np.random.default_rng(0), 512
    put_out = np.maximum(stream.standard_normal((4 * rank, rank)), 0)
    outputs = torch.from_numpy(np.linalg.qr(put_out).Q)
    basis = Basis(outputs, outputs.new_ones(rank), outputs.new_full((4 * rank,), 1e-9))
    begin = time.thread_time()
    until = begin + 0.1

    found = edges(outputs, basis, outputs.new_zeros(0, rank), stream, lambda: until - time.thread_time())

    assert found.shape == (0, rank)
    assert time.thread_time() - begin < 1.5  # scipy's half second included
