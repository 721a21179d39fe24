"""Models of nested depth. Oracles: hand counts, and the whole model without what a part lacks."""

import pytest
import torch
from torch import nn

from gauntlet.clients.algorithms.nested_depth import NestedDepth
from gauntlet.clients.models.mlp import Mlp
from gauntlet.clients.models.normalized import Normalized
from gauntlet.clients.models.resnet18_gn import Block
from gauntlet.clients.models.shallower import units
from gauntlet.core.errors import ScenarioError
from gauntlet.core.layout import Layout


def test_levels_are_prefixes_of_the_hidden_layers_of_equal_width():
    """784-8-8-8-8-10: three of the hidden layers may go; of these ceil(d 3) stay."""
    model = Normalized(Mlp(hidden=(8, 8, 8, 8)).build((1, 28, 28), 10), (0.1,), (0.3,))
    parts = NestedDepth(depths=(0.0, 1 / 3, 0.5, 1.0)).levels(model, (1, 28, 28))
    fixed, layer = 784 * 8 + 8 + 8 * 10 + 10, 8 * 8 + 8
    assert [int(part.present.sum()) for part in parts] == [fixed + n * layer for n in (0, 1, 2, 3)]
    names = [slot.name for slot in Layout.of(parts[1].model).parameters]
    assert names == [f"net.{n}.{what}" for n in (1, 3, 9) for what in ("weight", "bias")]


def test_a_part_is_the_whole_model_without_what_it_lacks():
    torch.manual_seed(0)
    model = Mlp(hidden=(6, 6, 6), activation="tanh").build((5,), 3)
    part = NestedDepth(depths=(0.5,)).levels(model, (5,))[0]
    x = torch.rand(4, 5)
    torch.testing.assert_close(part.model(x), nn.Sequential(*model[:5], model[-1])(x))
    params = Layout.of(model).flatten(dict(model.named_parameters()))
    own = Layout.of(part.model).flatten(dict(part.model.named_parameters()))
    assert torch.equal(params[part.present], own)


def test_blocks_that_keep_the_shape_are_spare_and_what_shrinks_behind_them_is_nobodys():
    """Two blocks of a stage, one of the next; the widening one, the first layer and the last must stay."""
    blocks = (Block(4, 4, 1, 2), Block(4, 4, 1, 2), Block(4, 8, 2, 2), Block(8, 8, 1, 2))
    stem = nn.Conv2d(3, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU()
    model = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    found = units(model, (3, 8, 8))
    assert [unit.names for unit in found] == [("0", "1", "2"), ("3",), ("4",), ("5",), ("6",), ("9",)]
    assert [unit.spare for unit in found] == [False, True, True, False, True, False]
    assert NestedDepth(depths=(0.5,)).levels(model, (3, 8, 8))[0].model(torch.rand(2, 3, 8, 8)).shape == (
        2,
        10,
    )


def test_fixed_levels_go_by_id():
    algorithm = NestedDepth(depths=(0.0, 1.0), shares=(0.25, 0.75))
    assert [algorithm.level(client, 8, None) for client in range(8)] == [0, 0, 1, 1, 1, 1, 1, 1]
    assert algorithm.levels_stay
    assert not NestedDepth(mode="dynamic").levels_stay


def test_models_that_are_no_sequence_are_refused():
    with pytest.raises(ScenarioError, match=r"an nn.Sequential alone, got a Linear"):
        NestedDepth().levels(nn.Linear(2, 2), (2,))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"depths": ()}, "at least one"),
        ({"depths": (1.5,)}, "depths must be from 0 to 1"),
        ({"depths": (0.5,), "shares": (0.5, 0.5)}, "as many as depths"),
        ({"depths": (0.5, 1.0), "shares": (0.5, 0.4)}, "shares must sum to 1"),
        ({"mode": "static"}, "mode must be fix or dynamic"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        NestedDepth(**options)
