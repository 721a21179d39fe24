"""Oracle: the moments and the independence of the definition, at five standard errors."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.gaussian import Gaussian
from gauntlet.core.seeds import generator

SIZE = 200_000


def test_the_rows_have_the_promised_moments_and_nothing_of_the_update(scene):
    own, view = scene(np.zeros((1, SIZE)), np.full((2, SIZE), 100.0))
    sent, _ = Gaussian(mean=0.5, std=2.0).corrupt(own, view, None)
    rows = sent.vectors.numpy()
    np.testing.assert_allclose(rows.mean(axis=1), 0.5, atol=5 * 2 / SIZE**0.5)
    np.testing.assert_allclose(rows.std(axis=1), 2.0, atol=5 * 2 / (2 * SIZE) ** 0.5)
    assert abs(np.corrcoef(rows)[0, 1]) < 5 / SIZE**0.5


def test_another_stream_gives_other_noise(scene):
    own, view = scene([[0.0] * 8], [[1.0] * 8])
    first, _ = Gaussian().corrupt(own, view, None)
    second, _ = Gaussian().corrupt(own, replace(view, generator=generator(1, "attack", 2)), None)
    assert not torch.equal(first.vectors, second.vectors)


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"std must be finite and above 0, got 0\.0"):
        Gaussian(std=0.0)
    with pytest.raises(ValueError, match="mean must be finite, got inf"):
        Gaussian(mean=float("inf"))
