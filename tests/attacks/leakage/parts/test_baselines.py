"""Oracles: the variance of the batch, E (u - x)^2 for uniform u, and permutations counted by hand."""

import pytest
import torch

from gauntlet.attacks.leakage.parts.baselines import baselines, displaced
from gauntlet.core.observation import Truth
from gauntlet.core.seeds import generator


def images(number, *shape):
    return torch.from_numpy(generator(0, "images", number).random(shape)).float()


def test_the_constant_baseline_errs_by_the_variance_and_noise_by_a_twelfth_more():
    """E (u - x)^2 = (x - 1/2)^2 + 1/12 for u uniform on [0, 1]."""
    truth = Truth(images(0, 2, 3, 32, 32), torch.tensor([0, 1]))

    scores = baselines(truth, generator(0, "baselines"))

    expected = truth.x.var(dim=(0, 2, 3), correction=0).mean()
    torch.testing.assert_close(scores["constant"].mse.mean(), expected)
    noise = ((truth.x - 0.5) ** 2).mean() + 1 / 12
    torch.testing.assert_close(scores["noise"].mse.mean(), noise, rtol=0.05, atol=0)
    assert scores["constant"].label_accuracy != scores["constant"].label_accuracy


@pytest.mark.parametrize("labels", [[0, 0], [0, 1], [0, 0, 1], [0, 0, 1, 2, 1, 3], [5] * 7, [0, 1, 2]])
def test_a_displaced_batch_leaves_no_example_in_its_place(labels):
    y = torch.tensor(labels)
    for seed in range(20):
        order = displaced(y, generator(seed, "order"))

        assert bool((order != torch.arange(len(y))).all())
        several = y.bincount()[y] > 1
        assert torch.equal(y[order][several], y[several])  # of its own class where there is another one


def test_the_permuted_baseline_compares_each_image_with_another_of_the_batch():
    """Two images change places: both are as far from what they stand beside, and no matching undoes it."""
    truth = Truth(images(0, 2, 1, 8, 8), torch.tensor([3, 3]))

    scores = baselines(truth, generator(0, "baselines"))["permuted"]

    apart = (truth.x[0] - truth.x[1]).square().mean()
    torch.testing.assert_close(scores.mse, apart.expand(2))
    assert scores.order.tolist() == [1, 0]
    assert "permuted" not in baselines(Truth(truth.x[:1], truth.y[:1]), generator(0, "baselines"))


def test_labels_of_several_numbers_are_classes_where_they_are_equal():
    y = torch.tensor([[1, 2], [1, 2], [3, 4], [3, 5]])

    assert displaced(y, generator(0, "order")).tolist() == [1, 0, 3, 2]
