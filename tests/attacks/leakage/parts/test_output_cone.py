"""What the next layer's gradients add to SPEAR. Oracle: the true batch itself, or columns that were drawn."""

import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize, relu

from gauntlet.attacks.leakage.parts.metrics import match, mse
from gauntlet.attacks.leakage.parts.output_cone import edges, output_basis
from gauntlet.attacks.leakage.parts.relu_layer import relu_layer
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


def drawn(seed, rows, rank, share=0.5):
    """Return P, L and E [l, r] of outputs and upstream gradients, other than 0 at a share of the places."""
    stream = generator(seed, "cone")
    on = stream.random((rows, rank)) < share
    outputs, upstream = (torch.from_numpy(stream.standard_normal((rows, rank)) * on) for _ in range(2))
    one, noise = torch.ones(rank).double(), torch.full((rows,), 1e-12).double()
    basis = Basis(torch.linalg.qr(upstream).Q, one, noise)
    return torch.linalg.qr(outputs.abs()).Q, basis, upstream


def columns_of(basis, upstream, directions):
    """Return which column [r] of E each direction [n, r] gives, up to its factor, bool.  # [n, r]"""
    cosines = normalize(directions @ basis.left.T, dim=1) @ normalize(upstream, dim=0)
    return cosines.abs() > 1 - 1e-8


@pytest.mark.parametrize("seed", range(4))
def test_where_programs_end_only_true_columns_are(seed):
    """Fourteen programs on the cone of five outputs: each gives a column, in all four or five."""
    outputs, basis, upstream = drawn(seed, 60, 5)
    found = columns_of(basis, upstream, _edges(outputs, basis))
    assert found.shape == (14, 5)
    assert found.any(dim=1).all()
    assert int(found.any(dim=0).sum()) >= 4


@pytest.mark.parametrize("seed", range(4))
def test_known_columns_are_not_searched_again(seed):
    """Ten of twelve are known: eight programs give the others, where eight of any cost give one at most."""
    outputs, basis, upstream = drawn(seed, 150, 12)
    known = torch.linalg.lstsq(basis.left, upstream).solution.T[:10]
    found = columns_of(basis, upstream, _edges(outputs, basis, known))
    assert len(found) == 8
    assert found[:, 10:].any(dim=0).all()
    assert int(found[:, 10:].any(dim=1).sum()) >= 4


def test_a_second_program_that_weighs_small_entries_more_ends_on_columns_more_often():
    """Seven of ten units are on. Of 84 first programs 28 end on a column, with the second 50."""
    found = 0
    for seed in range(3):
        outputs, basis, upstream = drawn(seed, 150, 12, share=0.7)
        found += int(columns_of(basis, upstream, _edges(outputs, basis)).any(dim=1).sum())
    assert found > 40


def test_no_program_is_begun_when_time_is_over():
    outputs, basis, _ = drawn(0, 60, 5)
    assert edges(outputs, basis, torch.zeros(0, 5).double(), generator(0, "x"), lambda: 0.0).shape == (0, 5)


def test_a_span_in_which_nothing_is_nowhere_negative_has_no_edges():
    """Of (1, -1) every multiple but 0 is negative somewhere: no program has a solution."""
    outputs = torch.tensor([[1.0], [-1.0]]).double() / 2**0.5
    basis = Basis(outputs, torch.ones(1).double(), torch.full((2,), 1e-12).double())
    assert _edges(outputs, basis).shape == (0, 1)


def _edges(outputs, basis, known=None):
    known = torch.zeros(0, outputs.shape[1]).double() if known is None else known
    return edges(outputs, basis, known, generator(0, "costs"), lambda: 60.0)


class Branches(nn.Module):
    """A first layer with a ReLU, whose outputs ``reads`` go on as it says."""

    def __init__(self, reads, linear):
        super().__init__()
        self.first, self.reads, self.last = nn.Linear(64, 96), reads, nn.Linear(40, 10)
        self.read = nn.ModuleList(nn.Linear(96, 40) for _ in range(linear))

    def forward(self, x):
        return self.last(self.reads(self, self.first(x.flatten(1))))


READS = {
    "one linear layer": (1, lambda net, h: net.read[0](relu(h)).tanh()),
    "another activation": (1, lambda net, h: net.read[0](h.clamp(min=-0.01)).tanh()),
    "no activation": (1, lambda net, h: net.read[0](h).tanh()),
    "two linear layers": (2, lambda net, h: (net.read[0](relu(h)) + net.read[1](relu(h))).tanh()),
    "one layer twice": (1, lambda net, h: (net.read[0](relu(h)) + net.read[0](relu(h).square())).tanh()),
}


@pytest.mark.parametrize("reads", READS)
def test_outputs_are_read_where_one_linear_layer_reads_them_and_nothing_else(digits, observe, reads):
    """A = relu(W x + b) lies in the span of the basis, a column an example; elsewhere none is given."""
    x, y = digits[0][:6], digits[1][:6]
    linear, reading = READS[reads]
    with seeded_torch(generator(0, "weights")):
        model = Branches(reading, linear)
    seen = observe(model, x, y)
    layer = relu_layer(seen, "Spear")
    basis = output_basis(seen, layer)
    if reads != "one linear layer":
        assert basis is None
        return
    outputs = relu(model.first(x.flatten(1))).T[layer.live].double().detach()  # [l, 6]
    rest = outputs - basis @ (torch.linalg.pinv(basis) @ outputs)
    assert basis.shape == outputs.shape
    assert float(rest.norm() / outputs.norm()) < 1e-4


def test_a_next_layer_that_is_not_trained_shows_nothing(digits, observe):
    model = net(64, 96, 40, 10)
    model[3].weight.requires_grad_(False)
    seen = observe(model, digits[0][:6], digits[1][:6])
    assert output_basis(seen, relu_layer(seen, "Spear")) is None


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
