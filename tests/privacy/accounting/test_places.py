"""Neighbours of whom one has a client less, where another one comes in its place."""

import math

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from gauntlet.core.contracts import Release, Sampling
from gauntlet.privacy.accounting import charging_rule
from gauntlet.privacy.accounting.curves import gaussian_epsilon


def test_a_client_that_is_not_there_gives_its_place_to_another():
    """By hand, seven of eight, z = 1: with client 0 (+C, the others -C) a sum of 7 is N(-5, 1) 7 times of 8
    and N(-7, 1) else, without it N(-7, 1). A shift by C is charged as 3.139; it would have to be 7.365.
    """

    def delta(epsilon):  # P[ratio > exp(epsilon)] of both worlds, P - exp(epsilon) Q
        at = brentq(lambda x: 7 / 8 * math.exp(2 * x - 2) + 1 / 8 - math.exp(epsilon), -50, 50)
        above = norm.sf(at)
        return 7 / 8 * norm.sf(at - 2) + 1 / 8 * above - math.exp(epsilon) * above

    assert gaussian_epsilon(1.0, 1e-3) == pytest.approx(3.139, abs=1e-3)
    assert delta(3.139) == pytest.approx(0.133, abs=1e-3)
    assert delta(7.365) == pytest.approx(1e-3, rel=1e-2)
    seven_of_eight = Sampling("fixed_size", 8, 7 / 8, 7.0)
    assert charging_rule(Release(1.0, "add_remove"), seven_of_eight) is None
    assert charging_rule(Release(1.0, "zero_out"), seven_of_eight) == "unamplified zero_out"
