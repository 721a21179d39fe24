"""Oracle: a box filter and scipy's Gaussian filter on small images; shares by the law of large numbers."""

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.unreliable import Unreliable
from gauntlet.core.seeds import generator


def poison(attack, x, y, *ids):
    return attack.poison(x, y, generator(0, "poison", *ids))


def test_a_wide_blur_is_a_box_filter_with_reflected_edges():
    """By hand: the mean of nine pixels; left and above of the corner stand its right and lower neighbours."""
    image = torch.arange(16.0).reshape(1, 1, 4, 4) / 16
    attack = Unreliable(keep=1.0, spoil=1.0, kernel_size=3, blur_std=1e6)
    blurred = poison(attack, image, torch.tensor([3]))[0][0, 0]
    assert blurred[1, 1] == pytest.approx(5 / 16, abs=1e-6)
    assert blurred[0, 0] == pytest.approx((0 + 2 * 1 + 2 * 4 + 4 * 5) / 9 / 16, abs=1e-6)


def test_a_narrow_blur_is_scipys_gaussian_filter():
    from scipy.ndimage import gaussian_filter

    image = np.random.default_rng(0).random((2, 3, 9, 8), dtype=np.float32)
    attack = Unreliable(keep=1.0, spoil=1.0, kernel_size=5, blur_std=0.9)
    blurred = poison(attack, torch.from_numpy(image), torch.tensor([1, 2]))[0]
    expected = gaussian_filter(image, sigma=(0, 0, 0.9, 0.9), mode="mirror", radius=(0, 0, 2, 2))
    np.testing.assert_allclose(blurred.numpy(), expected, atol=1e-6)


def test_three_in_ten_examples_are_used_and_half_of_those_are_spoilt():
    """5 standard errors: 0.3 +- 0.023 of 10000, 0.5 +- 0.046 of 3000."""
    x = torch.rand(10000, 1, 8, 8)
    y = torch.arange(10000)
    kept_x, kept_y = poison(Unreliable(), x, y)
    assert len(kept_y) / 10000 == pytest.approx(0.3, abs=0.023)
    spoilt = (kept_x != x[kept_y]).flatten(1).any(dim=1)
    assert spoilt.double().mean() == pytest.approx(0.5, abs=0.046)


def test_other_examples_are_used_in_another_round():
    x, y = torch.rand(100, 1, 8, 8), torch.arange(100)
    assert not torch.equal(poison(Unreliable(), x, y, 0)[1], poison(Unreliable(), x, y, 1)[1])


def test_at_least_one_example_is_used():
    x, y = torch.rand(3, 1, 8, 8), torch.tensor([1, 2, 3])
    assert {len(poison(Unreliable(keep=1e-9), x, y, t)[1]) for t in range(20)} == {1}


def test_noise_has_the_drawn_standard_deviation_and_pixels_stay_pixels():
    """Uniform in [0, 0.2]: the mean variance of grey images is 0.2^2 / 3; features know no bounds."""
    attack = Unreliable(keep=1.0, spoil=1.0, kernel_size=1, max_noise_std=0.2)
    x, y = torch.full((2000, 1, 8, 8), 0.5), torch.zeros(2000, dtype=torch.int64)
    noisy = poison(attack, x, y)[0]
    assert ((noisy - 0.5) ** 2).mean() == pytest.approx(0.04 / 3, rel=0.05)
    assert 0 <= noisy.min() < noisy.max() <= 1
    features = poison(attack, torch.full((2000, 5), 40.0), y)[0]
    assert (features - 40).std() == pytest.approx((0.04 / 3) ** 0.5, rel=0.05)


def test_labels_are_never_touched():
    x, y = torch.rand(50, 1, 8, 8), torch.arange(50)
    kept_x, kept_y = poison(Unreliable(spoil=0.0), x, y)
    assert torch.equal(kept_x, x[kept_y])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keep": 0.0}, "keep must be above 0"),
        ({"spoil": 1.1}, "spoil must be between 0 and 1"),
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"blur_std": 0.0}, "blur_std must be finite and above 0"),
        ({"max_noise_std": -1.0}, "max_noise_std must be finite and at least 0"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Unreliable(**options)


@pytest.mark.parametrize("shape", [(4, 13), (4, 1, 3, 9)])
def test_what_cannot_be_blurred_is_refused(shape):
    with pytest.raises(ValueError, match=r"needs images .* larger than 3"):
        poison(Unreliable(keep=1.0, spoil=1.0), torch.rand(shape), torch.zeros(4, dtype=torch.int64))
