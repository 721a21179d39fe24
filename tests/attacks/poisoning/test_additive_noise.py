"""Oracle: the moments of (sent - own), at five standard errors."""

import numpy as np
import pytest

from gauntlet.attacks.poisoning.additive_noise import AdditiveNoise

SIZE = 200_000


def test_noise_of_the_promised_size_lies_on_top_of_the_own_update(scene):
    own_rows = np.random.default_rng(0).normal(size=(2, SIZE))
    own, view = scene(np.zeros((1, SIZE)), own_rows)
    sent, _ = AdditiveNoise(std=0.3).corrupt(own, view, None)
    noise = sent.vectors.numpy() - own_rows
    np.testing.assert_allclose(noise.mean(axis=1), 0, atol=5 * 0.3 / SIZE**0.5)
    np.testing.assert_allclose(noise.std(axis=1), 0.3, atol=5 * 0.3 / (2 * SIZE) ** 0.5)
    assert abs(np.corrcoef(noise[0], own_rows[0])[0, 1]) < 5 / SIZE**0.5
    assert abs(np.corrcoef(noise)[0, 1]) < 5 / SIZE**0.5


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan")])
def test_no_noise_is_no_attack(std):
    with pytest.raises(ValueError, match="std must be finite and above 0, got"):
        AdditiveNoise(std)
