"""Map-style data sets of torch, by hand."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import TensorDataset

import gauntlet
from gauntlet.clients.data import DATASETS, contract
from gauntlet.core.errors import DataError, PluginError, ScenarioError
from gauntlet.core.live import hold

OWN = '''
"""Numbers and whether they are odd, one owner for every ten."""

import torch


class Numbers:
    def __init__(self, size=40, first=0):
        self.size, self.first = size, first
        self.owner = [n // 10 for n in range(size)]

    def __len__(self):
        return self.size

    def __getitem__(self, n):
        if n >= self.size:
            raise IndexError(n)
        return torch.tensor([float(n + self.first), 1.0]), (n + self.first) % 2
'''


@pytest.fixture
def own(tmp_path):
    (tmp_path / "numbers_.py").write_text(OWN)
    return f"torch:{tmp_path}/numbers_.py:Numbers"


def test_examples_come_in_order_with_their_owners_and_a_test_set(own):
    options = {"args": {"size": 30}, "test": {"first": 5}, "client": "owner", "num_classes": 2}
    found = DATASETS.build(own, options).load()

    assert found.x[:, 0].tolist() == list(range(30))
    assert found.y.tolist() == [0, 1] * 15
    assert np.bincount(found.groups).tolist() == [10, 10, 10]
    assert found.test_x[:, 0].tolist() == list(range(5, 35))
    assert (found.name, found.fitted) == ("Numbers", ())


def test_it_owes_what_every_data_set_owes(own):
    for check in contract.DATASET_CHECKS:
        check(DATASETS.build(own, {"args": {"size": 100}}))


class Pictures(TorchDataset):
    """Coloured pictures of Pillow, all red of a shade."""

    def __len__(self):
        return 12

    def __getitem__(self, n):
        return Image.new("RGB", (4, 3), (n, 0, 0)), n % 3


def test_pictures_become_pixels_with_their_channels_first():
    found = DATASETS.build(f"torch:{hold(Pictures())}", {"num_classes": 3, "test_share": 0.25}).load()

    assert (found.x.dtype, found.x.shape[1:]) == (np.uint8, (3, 3, 4))
    assert (found.x[:, 0, 0, 0] % 3).tolist() == found.y.tolist()
    assert found.value_range == (0, 1)


def test_a_live_data_set_is_trained_on_serial_and_as_from_arrays(tmp_path):
    """TensorDataset in the scenario; the oracle is the same numbers by npz."""
    torch.manual_seed(0)
    x, y = torch.randn(60, 4), torch.arange(60) % 2
    tx, ty = torch.randn(20, 4), torch.arange(20) % 2
    np.savez(tmp_path / "a.npz", x=x.numpy(), y=y.numpy(), test_x=tx.numpy(), test_y=ty.numpy())
    tiny = {"rounds": 2, "num_clients": 3, "model": "logistic_regression", "runtime": {"pool": "serial"}}
    tiny |= {"training": {"local_steps": 1, "batch_size": 4, "lr": 0.1}}
    own = {"name": TensorDataset(x, y), "test": TensorDataset(tx, ty), "num_classes": 2}
    one = gauntlet.simulate(gauntlet.Scenario(data=own, **tiny), tmp_path / "one")
    arrays = {"name": "npz", "path": str(tmp_path / "a.npz"), "num_classes": 2}
    other = gauntlet.simulate(gauntlet.Scenario(data=arrays, **tiny), tmp_path / "other")

    assert one.manifest["live"]
    assert one.rounds.equals(other.rounds)


def test_a_scenarios_relative_file_is_found_beside_it(own, tmp_path, monkeypatch):
    (tmp_path / "s.toml").write_text(
        'rounds = 1\nnum_clients = 2\nmodel = "logistic_regression"\ndata = "torch:numbers_.py:Numbers"\n'
    )
    monkeypatch.chdir(tmp_path.parent)

    assert gauntlet.load_scenario(tmp_path / "s.toml").data.name == own


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("torch:numpy:memmap", {}, PluginError, "must be a class of torch.utils.data.Dataset"),
        ("torch:collections:OrderedDict", {}, PluginError, "standard library"),
        ("torch:nowhere_at_all:Data", {}, PluginError, "cannot be loaded"),
        ("{own}", {"args": {"sizes": 3}}, DataError, "cannot be made: TypeError"),
        ("{own}", {"args": {"size": 0}}, DataError, "has no example"),
        ("{own}", {"client": "who"}, DataError, "no attribute 'who'"),
        ("{own}", {"test": "live:No-0123456789abcdef"}, PluginError, "does not hold it"),
        ("{own}", {"test_share": 0.99}, PluginError, r"test_share must be in \[0.05, 0.95\]"),
    ],
)
def test_what_is_none_is_one_line(own, name, options, error, message):
    with pytest.raises(error, match=message) as caught:
        DATASETS.build(name.format(own=own), options).load()
    assert "\n" not in str(caught.value)


class Uneven(TorchDataset):
    def __len__(self):
        return 2

    def __getitem__(self, n):
        return torch.zeros(n + 1), 0


class Mixed(TorchDataset):
    def __len__(self):
        return 8

    def __getitem__(self, n):
        return torch.full((3,), 255, dtype=torch.uint8) if n % 2 else torch.ones(3), 0


def test_pixels_beside_other_numbers_are_refused():
    """Pixels up to 255 would stand beside numbers that are divided by it already."""
    with pytest.raises(DataError, match="inputs differ in type: float32, uint8"):
        DATASETS.build(f"torch:{hold(Mixed())}").load()


def test_examples_of_different_shapes_are_refused():
    with pytest.raises(DataError, match="examples differ in shape"):
        DATASETS.build(f"torch:{hold(Uneven())}").load()
    with pytest.raises((PluginError, ScenarioError)):
        gauntlet.simulate(gauntlet.Scenario(data=object(), rounds=1, num_clients=1, model="mlp"))
