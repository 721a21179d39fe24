"""Which models are given pictures that lie channels last."""

import pytest
import torch
from torch import Tensor, nn

from gauntlet.clients.tracing.channels_last import channels_last, takes_channels_last


class Net(nn.Module):
    """A convolution and a linear layer, with a code of one's own between them."""

    def __init__(self, between) -> None:
        super().__init__()
        self.convolution, self.linear = nn.Conv2d(3, 2, 3), nn.Linear(72, 5)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.between(self.convolution(x)))


def as_it_lies(x: Tensor) -> Tensor:
    return torch.as_strided(x, (len(x), 72), (72, 1))


class Uncopied(nn.Conv2d):
    """A model that cannot be copied, such as one that holds a lock."""

    def __deepcopy__(self, memo):
        raise TypeError("cannot pickle '_thread.lock' object")


@pytest.mark.parametrize(
    ("model", "takes"),
    [
        (nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Dropout(), nn.Linear(72, 5)), True),
        (nn.Sequential(nn.Conv2d(3, 2, 3), nn.Dropout(), nn.Flatten(), nn.Linear(72, 5)), False),
        (nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten()), True),
        (nn.Sequential(nn.Conv2d(3, 2, 3), nn.GroupNorm(1, 2), nn.Flatten()), False),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), False),
        (nn.Sequential(nn.Conv2d(3, 2, 3), Uncopied(2, 2, 3), nn.Flatten()), False),
        (Net(lambda x: x.reshape(len(x), -1)), True),
        (Net(lambda x: x.view(-1, 72)), False),
        (Net(as_it_lies), False),
    ],
    ids=[
        "dropout",
        "dropout of pictures",
        "batch norm",
        "group norm",
        "no copy",
        "no convolution",
        "reshape",
        "view",
        "as it lies",
    ],
)
def test_models_that_would_fail_err_or_lose_are_left_alone(model, takes):
    """Of ``view`` torch says that it fails; what reads memory as it lies would not say so."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    drawn = torch.random.get_rng_state()

    assert takes_channels_last(model, (3, 8, 8)) == takes
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_choice_of_pictures_that_lie_channels_last_lies_so_too():
    x = torch.randn(6, 3, 8, 8)
    batch = channels_last(x)[[4, 1]]

    assert batch.stride() == (192, 1, 24, 3)
    assert torch.equal(batch, x[[4, 1]])
