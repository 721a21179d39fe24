import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.data.gaussian_shards import GaussianShards
from gauntlet.clients.models.gaussian_mean import GaussianMean


def test_points_have_unit_variance_around_means_of_their_own():
    """400 clients of 100 points: the means' variance is radius^2 / 3 = 12, and 1/100 of the points'."""
    data = GaussianShards(points_per_client=100).populate(400, 0)
    points = torch.stack([data.client(i)[0] for i in range(400)]).double()
    assert float(points.var(dim=1).mean()) == pytest.approx(1.0, rel=0.03)
    assert float(points.mean(dim=1).var(dim=0).mean()) == pytest.approx(12.0, rel=0.1)


def test_a_client_is_the_same_in_a_larger_population():
    few, many = (GaussianShards().populate(n, 3) for n in (2, 50))
    assert torch.equal(few.client(1)[0], many.client(1)[0])
    assert not torch.equal(few.client(0)[0], few.client(1)[0])


@pytest.mark.parametrize("num_classes", [2, 5])
def test_the_loss_is_the_negative_log_density_up_to_a_constant(num_classes):
    """|x - mean|^2 / 2 with label 0, and its gradient mean - x."""
    model = GaussianMean().build((3,), num_classes)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)) * 3
    with torch.no_grad():
        model.mean.copy_(torch.tensor([0.5, -1.0, 2.0]))
    loss = nn.functional.cross_entropy(model(x), torch.zeros(9, dtype=torch.int64))
    loss.backward()

    mean = model.mean.detach()
    assert float(loss.detach()) == pytest.approx(float((x - mean).square().sum(dim=1).mean()) / 2, rel=1e-5)
    assert model.mean.grad == pytest.approx(mean - x.mean(dim=0), abs=1e-5)


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="points_per_client must be at least 1"):
        GaussianShards(points_per_client=0)
