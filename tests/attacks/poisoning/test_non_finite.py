"""Oracle: the definition."""

import pytest
import torch

from gauntlet.attacks.poisoning.non_finite import NonFinite


def test_every_coordinate_is_the_value(scene):
    own, view = scene([[0.0, 0.0]], [[1.0, 2.0], [3.0, 4.0]])
    for value, holds in (("nan", torch.isnan), ("inf", torch.isposinf), ("-inf", torch.isneginf)):
        sent, _ = NonFinite(value).corrupt(own, view, None)
        assert sent.vectors.shape == (2, 2)
        assert holds(sent.vectors).all()


def test_a_finite_value_is_refused():
    with pytest.raises(ValueError, match="value must be one of nan, inf, -inf, got '0'"):
        NonFinite("0")
