"""Oracles: leakage specification, section 10; closed forms of PSNR and SSIM; brute force for the matching."""

from itertools import permutations

import numpy as np
import pytest
import torch

from gauntlet.attacks.leakage.parts.metrics import label_accuracy, match, mse, psnr, score, ssim
from gauntlet.core.observation import Reconstruction, Truth
from gauntlet.core.seeds import generator


def rebuilt(x, y):
    return Reconstruction(x, y, 0.0, (), "closed_form", {})


def images(number, *shape):
    return torch.from_numpy(generator(0, "images", number).random(shape)).float()


def test_a_mean_squared_error_of_a_hundredth_is_20_db():
    """Specification: "Oracle: MSE .01 -> 20 dB"; per image, then averaged by the caller."""
    truth = torch.full((2, 1, 8, 8), 0.5)
    found = truth + torch.tensor([0.1, 0.01]).reshape(2, 1, 1, 1)

    torch.testing.assert_close(mse(found, truth), torch.tensor([1e-2, 1e-4]))
    torch.testing.assert_close(psnr(found, truth), torch.tensor([20.0, 40.0]), rtol=1e-4, atol=0)


def test_identical_images_reach_120_db_and_a_similarity_of_1():
    truth = images(0, 2, 3, 32, 32)

    scores = score(rebuilt(truth, torch.tensor([1, 2])), Truth(truth, torch.tensor([1, 2])))

    assert scores.psnr.tolist() == [120.0, 120.0]
    torch.testing.assert_close(scores.ssim, torch.ones(2))
    assert scores.order.tolist() == [0, 1]


@pytest.mark.parametrize("side", [3, 7, 8, 10, 11, 32])
def test_the_similarity_of_two_flat_images_has_a_closed_form(side):
    """Wang et al. 2004, Equation 6: without variance, (2ab + C1) / (a^2 + b^2 + C1) is left."""
    a, b, c1 = 0.2, 0.7, 0.01**2
    flat = torch.ones(1, 1, side, side)

    assert ssim(a * flat, b * flat).item() == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1), abs=1e-4)


@pytest.mark.parametrize(("side", "window"), [(32, 11), (8, 7)])
def test_the_similarity_is_that_of_the_formula_under_a_gaussian_window(side, window):
    """Wang et al. 2004, Equation 13, written out pixel by pixel in float64; the window shrinks on 8 x 8."""
    a, b = (images(i, side, side).double().numpy() for i in (0, 1))
    half, sigma = window // 2, 1.5 * window / 11
    weights = np.exp(-((np.arange(window) - half) ** 2) / (2 * sigma**2))
    weights = np.outer(weights, weights) / weights.sum() ** 2
    padded = [np.pad(image, half, mode="reflect") for image in (a, b)]
    values = []
    for i in range(side):
        for j in range(side):
            p, q = (image[i : i + window, j : j + window] for image in padded)
            mp, mq = (weights * p).sum(), (weights * q).sum()
            vp, vq = (weights * (p - mp) ** 2).sum(), (weights * (q - mq) ** 2).sum()
            cov = (weights * (p - mp) * (q - mq)).sum()
            values.append(
                (2 * mp * mq + 1e-4) * (2 * cov + 9e-4) / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4))
            )

    found = ssim(*(torch.from_numpy(image).float()[None, None] for image in (a, b)))

    assert found.item() == pytest.approx(float(np.mean(values)), abs=1e-4)


def test_features_have_no_similarity_but_an_error():
    truth = images(0, 2, 13)

    scores = score(
        rebuilt(truth + 0.1, torch.tensor([0, 1])), Truth(truth, torch.tensor([0, 1])), (-5.0, 5.0)
    )

    assert scores.ssim.isnan().all()
    torch.testing.assert_close(scores.mse, torch.full((2,), 1e-4), rtol=1e-3, atol=0)


def test_matching_finds_the_cheapest_of_all_permutations():
    """Brute force over all 24 orders."""
    truth, found = images(0, 4, 1, 3, 3), images(1, 4, 1, 3, 3)
    cheapest = min(permutations(range(4)), key=lambda order: float(mse(found[list(order)], truth).sum()))

    assert tuple(match(found, truth).tolist()) == cheapest


def test_a_shuffled_batch_scores_the_same_for_each_image():
    """Specification, section 12, defect 3: a permuted batch changes nothing per image."""
    truth = Truth(images(0, 4, 1, 8, 8), torch.tensor([3, 1, 4, 1]))
    found = truth.x + 0.02 * images(1, 4, 1, 8, 8)
    shuffle = torch.tensor([2, 0, 3, 1])

    straight = score(rebuilt(found, truth.y), truth)
    shuffled = score(rebuilt(found[shuffle], truth.y[shuffle]), truth)

    torch.testing.assert_close(straight.psnr, shuffled.psnr)
    torch.testing.assert_close(straight.ssim, shuffled.ssim)
    assert shuffle[shuffled.order].tolist() == [0, 1, 2, 3]


def test_labels_are_compared_as_bags():
    """Of {0, 1, 1, 2} the bag {1, 1, 1, 2} holds 1, 1 and 2: three quarters."""
    assert label_accuracy(torch.tensor([1, 1, 1, 2]), torch.tensor([2, 1, 0, 1])) == 0.75


@pytest.mark.parametrize(("value", "expected"), [(9.0, 0.75**2), (0.5, 0.5**2), (float("nan"), 0.25**2)])
def test_values_are_brought_to_the_unit_range_and_clamped(value, expected):
    """In [-1, 1], the truth -0.5 stands for 0.25, 9 for 1, 0.5 for 0.75, and NaN for 0."""
    truth = Truth(torch.full((1, 1, 4, 4), -0.5), torch.tensor([0]))
    found = rebuilt(torch.full((1, 1, 4, 4), value), torch.tensor([0]))

    assert score(found, truth, (-1.0, 1.0)).mse.tolist() == [expected]


def test_another_shape_is_refused():
    truth = Truth(torch.zeros(2, 1, 4, 4), torch.tensor([0, 0]))

    with pytest.raises(ValueError, match=r"shape \[2, 1, 4, 4\], got \[1, 1, 4, 4\]"):
        score(rebuilt(torch.zeros(1, 1, 4, 4), torch.tensor([0])), truth)
