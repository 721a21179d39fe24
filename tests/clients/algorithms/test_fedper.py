"""FedPer's and FedBN's choice of what stays: by place in the model, and by a module's type."""

import pytest
from kept_models import Normed
from torch import nn

from gauntlet.clients.algorithms.fedbn import FedBN
from gauntlet.clients.algorithms.fedper import FedPer
from gauntlet.core.errors import PluginError

BN = ("2.weight", "2.bias", "2.running_mean", "2.running_var")
LAST = ("4.weight", "4.bias")


@pytest.mark.parametrize(("layers", "expected"), [(1, set(LAST)), (2, {*LAST, *BN})])
def test_the_last_layers_with_parameters_stay(layers, expected):
    """Activations have none and are no layers; a layer's running statistics stay with it."""
    assert set(FedPer(layers).keeps(Normed().build((4,), 3))) == expected


@pytest.mark.parametrize("layers", [3, 4])
def test_a_layer_must_be_left_to_be_sent(layers):
    with pytest.raises(PluginError, match=f"must leave a layer to be sent, got {layers} for a model of 3"):
        FedPer(layers).keeps(Normed().build((4,), 3))
    with pytest.raises(ValueError, match="num_personal_layers must be at least 1, got 0"):
        FedPer(0)


def test_batch_normalisation_is_told_by_its_type():
    """Group norm, and a module that is only called so, are none."""
    assert set(FedBN().keeps(Normed().build((4,), 3))) == set(BN)
    assert set(FedBN(stats_only=True).keeps(Normed().build((4,), 3))) == {"2.running_mean", "2.running_var"}
    named = nn.ModuleDict({"batchnorm": nn.Linear(3, 3), "inner": nn.Sequential(nn.GroupNorm(1, 4))})
    assert FedBN().keeps(named) == ()
    deep = nn.ModuleDict({"a": nn.Sequential(nn.BatchNorm2d(4)), "b": nn.BatchNorm1d(2, affine=False)})
    kept = {*(f"a.0.{name.partition('.')[2]}" for name in BN), "b.running_mean", "b.running_var"}
    assert set(FedBN().keeps(deep)) == kept
