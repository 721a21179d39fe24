"""Stochastic depth. Oracles: closed forms of depths and bytes, FedAvg, and blocks left out by hand."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.algorithms.stochastic_depth import StochasticDepth
from gauntlet.clients.models.residual import ResidualBlock, keep_probabilities
from gauntlet.clients.models.residual_mlp import ResidualMlp
from gauntlet.core.errors import ScenarioError
from gauntlet.core.seeds import generator


def test_the_expected_depth_is_that_of_the_paper():
    """L = 54, p_L = .5: (3 L - 1) / 4 = 40.25 blocks."""
    assert sum(keep_probabilities(54, 0.5)) == pytest.approx(40.25)
    assert keep_probabilities(3, 0.25) == pytest.approx([0.75, 0.5, 0.25])


def test_each_level_is_a_set_of_blocks_and_all_of_them_come_first():
    """L = 3, width 4: a block has 2 (16 + 4) = 40 parameters; 5 4 + 4 + 4 3 + 3 = 39 are in every level."""
    model = ResidualMlp(4, 3, 0.5).build((5,), 3)
    parts = StochasticDepth(3, 0.5).levels(model, (5,))
    counts = [int(part.present.sum()) for part in parts]
    assert counts == [39 + 40 * n for n in (3, 2, 2, 1, 2, 1, 1, 0)]
    kept = [m for m in parts[3].model if isinstance(m, ResidualBlock)]
    assert [block.keep for block in kept] == [model[2].keep]  # the first of the three alone


def test_outside_of_training_a_block_counts_its_probability():
    torch.manual_seed(0)
    block, x = ResidualBlock(4, 0.25), torch.randn(3, 4)
    torch.testing.assert_close(block(x), x + block.body(x))
    torch.testing.assert_close(block.eval()(x), x + 0.25 * block.body(x))


def test_per_batch_a_block_is_there_or_not_for_all_examples_alike():
    """2,000 draws of p = 1/4: within four standard deviations, .039; outside of training it counts p."""
    torch.manual_seed(0)
    block, x = ResidualBlock(4, 0.25, per_batch=True), torch.randn(3, 4)
    there, gone = x + block.body(x), x
    found = [block(x) for _ in range(2000)]
    is_there = [torch.allclose(one, there) for one in found]
    assert all(yes or torch.equal(one, gone) for yes, one in zip(is_there, found, strict=True))
    assert np.mean(is_there) == pytest.approx(0.25, abs=0.039)
    torch.testing.assert_close(block.eval()(x), x + 0.25 * block.body(x))


def test_blocks_are_drawn_with_their_probabilities_anew_in_each_round():
    """4,000 draws of p = 5/6, 2/3, 1/2: within four standard deviations, .032; and two rounds differ."""
    algorithm = StochasticDepth(3, 0.5)
    rounds = [
        [algorithm.level(c, 400, partial(generator, 0, "level", t, c)) for c in range(400)] for t in range(10)
    ]
    there = np.array([[algorithm._sets[level] for level in row] for row in rounds])
    assert there.mean((0, 1)) == pytest.approx([5 / 6, 2 / 3, 1 / 2], abs=0.032)
    assert rounds[0] != rounds[1]


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3)), "keep_last = 0.5, got a model of 0 such blocks"),
        (ResidualMlp(4, 6).build((5,), 3), r"blocks that are kept with \[1.0, 1.0"),
        (ResidualMlp(4, 2, 0.5).build((5,), 3), r"kept with \[0.75, 0.5\]"),
        (ResidualMlp(4, 6, 0.5, per_batch=True).build((5,), 3), "draws blocks itself, .* use fedavg"),
    ],
)
def test_another_model_is_refused(model, complaint):
    with pytest.raises(ScenarioError, match=complaint):
        StochasticDepth().levels(model, (5,))


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (partial(StochasticDepth, blocks=9), "blocks must be from 1 to 8, got 9"),
        (partial(StochasticDepth, keep_last=0.0), "keep_last must be above 0 and at most 1"),
        (partial(ResidualMlp, width=0), "width must be at least 1, got 0"),
        (partial(ResidualMlp, keep_last=1.5), "keep_last must be above 0 and at most 1"),
    ],
)
def test_options_out_of_range_are_refused(made, complaint):
    with pytest.raises(ValueError, match=complaint):
        made()
