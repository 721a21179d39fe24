"""Zeroth-order steps in whole runs: what a byte a slope costs in accuracy."""

import pytest
from whole_runs import rounds

from gauntlet.server.spec import PluginSpec


@pytest.fixture
def softmax(small):
    """Softmax regression on digits, 10 clients of 10 slopes each, from zero; keywords replace fields."""
    return lambda **changes: small(
        **{
            "num_clients": 10,
            "model": PluginSpec("logistic_regression", {"zero_init": True}),
            "algorithm": PluginSpec("mezo", {"lr": 1.0}),
            "rows": False,
            **changes,
        }
    )


ONE_BYTE = PluginSpec("one_byte", {"unit": 0.1})


def test_the_first_steps_go_the_way_of_float32_slopes(softmax):
    """The same directions, and slopes that are 6.5 % off at most: so is every step of the first round."""
    floats, byte = (
        rounds(softmax(rounds=1, codec=codec))[1][0].state.params
        for codec in (PluginSpec("identity"), ONE_BYTE)
    )
    assert 0 < float((floats - byte).norm()) < 0.065 * float(floats.norm()) * 1.5


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_byte_a_slope_costs_no_accuracy(softmax, seed):
    """200 rounds: 0.95 with floats and with bytes (the specification: 0.946), paired by seed."""
    floats, byte = (
        rounds(softmax(rounds=200, seed=seed, codec=codec))[1][-1].score.accuracy
        for codec in (PluginSpec("identity"), ONE_BYTE)
    )
    assert floats > 0.935
    assert abs(floats - byte) < 0.012
