"""Oracles: the definitions; moments at five standard errors."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.free_rider import FreeRider

SIZE = 100_000


def test_zero_is_the_received_model_as_it_is(scene):
    own, view = scene([[1.0, 1.0]], [[2.0, 3.0]])
    assert FreeRider().corrupt(own, view, None)[0].vectors.tolist() == [[0.0, 0.0]]


def test_the_previous_move_is_sent_a_round(scene):
    """By hand: the model moved by (2, -4) over the two rounds since the riders saw it last."""
    own, view = scene([[9.0, 9.0]], [[7.0, 7.0], [8.0, 8.0]])
    attack = FreeRider("previous")
    sent, state = attack.corrupt(own, replace(view, round=1), attack.init())
    assert sent.vectors.tolist() == [[0.0, 0.0]] * 2

    later = replace(view, round=3, params=view.params + torch.tensor([2.0, -4.0]))
    assert attack.corrupt(own, later, state)[0].vectors.tolist() == [[1.0, -2.0]] * 2


def test_noise_has_the_promised_size_and_nothing_of_the_training(scene):
    own, view = scene(np.zeros((1, SIZE)), np.full((2, SIZE), 50.0))
    uniform = FreeRider("random", scale=0.2).corrupt(own, view, None)[0].vectors.numpy()
    assert np.abs(uniform).max() <= 0.2
    assert np.abs(uniform).max() > 0.199
    normal = FreeRider("gaussian", scale=0.2).corrupt(own, view, None)[0].vectors.numpy()
    for rows, std in ((uniform, 0.2 / 3**0.5), (normal, 0.2)):
        np.testing.assert_allclose(rows.std(axis=1), std, atol=5 * std / (2 * SIZE) ** 0.5)
        np.testing.assert_allclose(rows.mean(axis=1), 0.0, atol=5 * std / SIZE**0.5)
        assert abs(np.corrcoef(rows)[0, 1]) < 5 / SIZE**0.5


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="mode must be one of zero, previous, random, gaussian, got 'lazy'"):
        FreeRider("lazy")
    with pytest.raises(ValueError, match="scale must be finite and above 0, got 0"):
        FreeRider("random", scale=0.0)
