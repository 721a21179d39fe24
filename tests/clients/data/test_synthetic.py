import pickle
import time
from math import erf, sqrt

import numpy as np
import pytest
import torch

from gauntlet.clients.data.synthetic import SyntheticPopulation
from gauntlet.core.errors import DataError


def test_a_million_clients_cost_no_more_than_three():
    started = time.perf_counter()
    data = SyntheticPopulation().populate(1_000_000, 0)
    x, y = data.client(999_999)
    assert time.perf_counter() - started < 1
    assert (x.shape, y.shape) == ((50, 20), (50,))
    assert abs(len(pickle.dumps(data)) - len(pickle.dumps(SyntheticPopulation().populate(3, 0)))) < 10


def test_a_client_is_the_same_in_any_population_and_in_any_order():
    small, large = (SyntheticPopulation(size_sigma=1).populate(n, 5) for n in (4, 1000))
    large.client(7)
    for a, b in zip(small.client(3), large.client(3), strict=True):
        assert torch.equal(a, b)
    assert small.num_examples(3) == len(large.client(3)[1])
    assert not torch.equal(small.client(3)[0], SyntheticPopulation(size_sigma=1).populate(4, 6).client(3)[0])


def test_two_classes_are_as_hard_to_tell_apart_as_gaussians_are():
    """Closed form: the best rule for two unit Gaussians at distance d is right with chance Phi(d / 2)."""
    data = SyntheticPopulation(num_features=5, num_classes=2, separation=1.0, num_test=40_000).populate(1, 0)
    x, y = data.test()
    distance = torch.cdist(x.double(), torch.from_numpy(data.means))
    d = float(np.linalg.norm(data.means[0] - data.means[1]))
    right = float((distance.argmin(dim=1) == y).double().mean())
    assert right == pytest.approx((1 + erf(d / 2 / sqrt(2))) / 2, abs=0.01)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
def test_the_mixes_of_classes_vary_as_dirichlet_draws_do(alpha):
    """Closed form: a share under Dir(alpha) over C classes has variance (1/C) (1 - 1/C) / (C alpha + 1)."""
    options = SyntheticPopulation(num_features=1, num_classes=4, examples_per_client=2000, alpha=alpha)
    counts = options.populate(2000, 0).label_counts()
    variance = 1 / 4 * 3 / 4 / (4 * alpha + 1)
    sampling = (1 / 4 * 3 / 4 - variance) / 2000  # of a share among 2000 examples
    assert (counts / 2000).var(axis=0).mean() == pytest.approx(variance + sampling, rel=0.1)


def test_sizes_are_log_normal_and_shifts_move_whole_clients():
    data = SyntheticPopulation(size_sigma=0.5, shift_std=2.0, num_features=50, separation=0).populate(2000, 0)
    sizes = np.array([data.num_examples(i) for i in range(2000)])
    assert np.log(sizes).std() == pytest.approx(0.5, abs=0.03)
    assert np.median(sizes) == pytest.approx(50, abs=3)
    means = torch.stack([data.client(i)[0].mean(dim=0) for i in range(100)])
    assert float(means.std()) == pytest.approx(sqrt(2**2 + 1 / 50), rel=0.05)  # shift, and noise of a mean


def test_labels_of_a_huge_population_are_not_counted():
    with pytest.raises(DataError, match="labels of 10001 clients are not counted, at most 10000 are"):
        SyntheticPopulation().populate(10_001, 0).label_counts()


@pytest.mark.parametrize("client_id", [-1, 3])
def test_a_client_that_does_not_exist_is_refused(client_id):
    with pytest.raises(ValueError, match=r"client_id must be in \[0, 2\]"):
        SyntheticPopulation().populate(3, 0).client(client_id)


@pytest.mark.parametrize(
    ("option", "value"),
    [("num_features", 0), ("num_classes", 1), ("alpha", 0.0), ("shift_std", -1.0), ("size_sigma", 4.0)],
)
def test_an_option_out_of_range_is_refused(option, value):
    with pytest.raises(ValueError, match=f"{option} must be"):
        SyntheticPopulation(**{option: value})
