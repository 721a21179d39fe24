"""When an update of one step is a multiple of the gradient of the loss that training names."""

from pathlib import Path

import pytest
import torch

from gauntlet.clients.algorithms import ALGORITHMS
from gauntlet.server.recording.first_step import starts_plain

DISTILLATION = f"{Path(__file__).parents[2]}/outside/distillation.py:Distillation"
PARAMS, SOME = torch.linspace(-1, 1, 5), torch.full((5,), 0.5)
NOTHING = torch.zeros(5)


class Shrinks:
    """Adds the squares of the features to the loss: a gradient from the first step on."""

    frozen_models = ()

    def correct(self, gradient, params, received):
        return gradient

    def added_loss(self, local, frozen, targets):
        return local.features.square().sum(dim=-1)


@pytest.mark.parametrize(
    ("rule", "besides", "plain"),
    [
        (ALGORITHMS.build("fedavg", {}), (), True),
        (ALGORITHMS.build("fedprox", {}), (), True),
        (ALGORITHMS.build("scaffold", {}), ({"control": NOTHING}, {"control": NOTHING}), True),
        (ALGORITHMS.build("scaffold", {}), ({"control": SOME}, {"control": NOTHING}), False),
        (ALGORITHMS.build("moon", {}), ({}, {"previous": PARAMS}), True),
        (ALGORITHMS.build("moon", {}), ({}, {"previous": PARAMS + 1}), False),
        (ALGORITHMS.build("moon", {"mu": 0.0}), ({}, {"previous": PARAMS + 1}), True),
        (ALGORITHMS.build(DISTILLATION, {}), (), True),
        (Shrinks(), (), False),
    ],
)
def test_it_is_where_nothing_is_added_to_it(rule, besides, plain):
    """At a client's first visit its previous model is the received one, and MOON pulls nothing away."""
    assert starts_plain(rule, besides, PARAMS) is plain
