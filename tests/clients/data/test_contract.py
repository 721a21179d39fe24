"""What every data set and every partition owes, and that each check can fail."""

from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pytest

from gauntlet.clients.data import DATASETS, PARTITIONS, Dataset
from gauntlet.clients.data import contract as owed
from gauntlet.clients.data.base import Targets
from gauntlet.clients.data.contract import DATASET_CHECKS, PARTITION_CHECKS
from gauntlet.clients.data.dirichlet import Dirichlet
from gauntlet.clients.data.synthetic import SyntheticClients, SyntheticPopulation
from gauntlet.core.errors import PluginError

ON_DISK = (
    "mnist",
    "fashion_mnist",
    "cifar10",
    "heart_disease",
    "mobility",
    "adult",
    "cola",
    "sst2",
    "rotten_tomatoes",
)
OPTIONS = {"cifar10": {"num_batches": 1}, "sst2": {"phrases": False}}
SLOW = {"adult", "cifar10", "fashion_mnist", "rotten_tomatoes", "sst2"}
OWN = {"csv", "npz", "leaf", "emnist", "cifar100", "svhn"}  # files of the user's: see their own tests


@pytest.fixture(scope="module")
def needed(real_data):
    """Skip the test where a data set's files are missing; they are read once."""

    @cache
    def load(name):
        real_data(name, **OPTIONS.get(name, {}))

    return load


@pytest.mark.parametrize("check", DATASET_CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in sorted(set(DATASETS.table) - OWN)],
)
def test_every_dataset(name, check, needed):
    if name in ON_DISK:
        needed(name)
    check(DATASETS.build(name, OPTIONS.get(name)))


@pytest.mark.parametrize("check", PARTITION_CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", PARTITIONS.table)
def test_every_partition(name, check):
    check(PARTITIONS.build(name))


# ---- broken on purpose ----------------------------------------------------------------------------------


PILE = Dataset(
    name="pile",
    x=np.linspace(0, 1, 40, dtype=np.float32).reshape(20, 2),
    y=np.arange(20) % 2,
    test_x=np.zeros((2, 2), dtype=np.float32),
    test_y=np.arange(2),
    num_classes=2,
)


@dataclass(frozen=True)
class Pile:
    """Loads what it is given."""

    pile: Dataset = PILE

    def load(self):
        return self.pile


@dataclass(frozen=True, eq=False)
class BrokenClients(SyntheticClients):
    """A synthetic population with one fault."""

    fault: str = ""

    @property
    def mean(self):
        return (0.0,) * 3 if self.fault == "mean" else ()

    def client(self, client_id):
        x, y = super().client(client_id)
        broken = {
            "sizes": (x[1:], y[1:]),
            "dtype": (x.double(), y),
            "labels": (x, y + 10),
            "shape": (x[:, 1:], y),
        }
        return broken.get(self.fault, (x, y))

    def test(self):
        x, y = super().test()
        return (x, y[1:]) if self.fault == "test" else (x, y)

    def label_counts(self):
        return super().label_counts() + (self.fault == "counts")


@dataclass(frozen=True)
class Broken:
    fault: str

    def populate(self, num_clients, seed):
        good = SyntheticPopulation().populate(num_clients + (self.fault == "number"), seed)
        return BrokenClients(good.population, good.num_clients, good.seed, good.means, self.fault)


@dataclass(frozen=True)
class Forgetful:
    """Makes other data every time."""

    calls: list = field(default_factory=list)

    def populate(self, num_clients, seed):
        self.calls.append(seed)
        return SyntheticPopulation().populate(num_clients, len(self.calls))


LINE = replace(
    PILE,
    y=np.zeros((20, 1), dtype=np.float32),
    test_y=np.zeros((2, 1), dtype=np.float32),
    num_classes=0,
    targets=Targets(("y",)),
)


@dataclass(frozen=True)
class Records:
    """Twenty records, each an example."""

    fault: str = ""

    def load(self):
        return self.load_perturbed(lambda records: records)

    def load_perturbed(self, perturb):
        x = PILE.x if self.fault == "deaf" else perturb(PILE.x)
        test_x = perturb(PILE.test_x) if self.fault == "test" else PILE.test_x
        return replace(LINE, x=x, test_x=test_x)


@pytest.mark.parametrize(
    ("check", "plugin", "message"),
    [
        (owed.every_client_and_the_test_set_hold_examples, object(), "load or populate, got neither"),
        (owed.every_client_and_the_test_set_hold_examples, Broken("number"), "asked for 5 clients, got 6"),
        (owed.every_client_and_the_test_set_hold_examples, Broken("sizes"), "sizes must be equal"),
        (owed.every_client_and_the_test_set_hold_examples, Broken("test"), "the test set needs"),
        (DATASET_CHECKS[1], Broken("dtype"), "inputs must be float32, got torch.float64"),
        (DATASET_CHECKS[1], Broken("shape"), r"inputs are \[19\], not \(20,\)"),
        (DATASET_CHECKS[1], Broken("labels"), r"labels in \[1., 1.\], 10 classes"),
        (
            owed.inputs_stay_in_the_value_range,
            Pile(replace(PILE, value_range=(0.0, 0.5))),
            r"leave the value range \[0.0, 0.5\]",
        ),
        (
            owed.inputs_stay_in_the_value_range,
            Pile(replace(PILE, value_range=(0.0, float("inf")))),
            "value_range must be finite",
        ),
        (owed.normalisation_has_one_value_a_channel_or_none, Broken("mean"), "mean and std need 20 values"),
        (
            owed.normalisation_has_one_value_a_channel_or_none,
            Pile(replace(PILE, mean=(0.0, 0.0), std=(1.0, 0.0))),
            "std must be above 0",
        ),
        (owed.label_counts_count_the_clients_labels, Broken("counts"), "label_counts must count"),
        (owed.data_are_the_same_every_time_and_hand_out_copies, Forgetful(), "loading twice"),
        (DATASET_CHECKS[1], Pile(replace(LINE, targets=Targets(("y",), 1.0))), "targets below 1.0"),
        (owed.only_training_examples_follow_the_perturbed_records, Records("deaf"), "must follow their rec"),
        (owed.only_training_examples_follow_the_perturbed_records, Records("test"), "as they were collected"),
    ],
)
def test_a_broken_dataset_fails_its_check(check, plugin, message):
    with pytest.raises(PluginError, match=message):
        check(plugin)


def test_every_dataset_check_passes_on_the_plug_ins_that_were_then_broken():
    for check in DATASET_CHECKS:
        check(Pile())
        check(Broken("nothing"))
        check(Pile(LINE))
        check(Records())


@dataclass(frozen=True)
class Scattered:
    """Examples in turn, shifted by the seed."""

    complete: bool = False
    seeded: bool = True
    fault: str = ""

    def split(self, y, groups, num_clients, seed):
        if len(y) < num_clients and self.fault != "greedy":
            raise ValueError("too few")
        rows = [np.arange((i + seed) % num_clients, len(y), num_clients) for i in range(num_clients)]
        if self.fault == "twice":
            rows[0] = rows[1]
        return [r[1:] for r in rows] if self.fault == "lossy" else rows


@dataclass(frozen=True)
class ByLabel:
    """Examples in turn, in the order of their labels."""

    label_free: bool = True
    natural: bool = False

    def split(self, y, groups, num_clients, seed):
        order = np.argsort(y if y.ndim == 1 else y[:, 0], kind="stable")
        return [np.sort(order[i::num_clients]) for i in range(num_clients)]


@pytest.mark.parametrize(
    ("check", "plugin", "message"),
    [
        (owed.clients_hold_ascending_disjoint_rows, Scattered(fault="twice"), "more than one client"),
        (
            owed.nothing_is_left_over_where_completeness_is_declared,
            Scattered(complete=True, fault="lossy"),
            "5 of 1000 examples went to nobody",
        ),
        (
            owed.natural_groups_are_clients_where_that_is_declared,
            ByLabel(natural=True),
            "declared natural, but a client has the examples of groups",
        ),
        (owed.the_split_follows_its_seed, Scattered(seeded=False), "declared seeded = False"),
        (
            owed.labels_do_not_matter_where_that_is_declared,
            ByLabel(),
            "declared label_free, but other labels",
        ),
        (owed.more_clients_than_examples_are_refused, Scattered(fault="greedy"), "must raise ValueError"),
    ],
)
def test_a_broken_partition_fails_its_check(check, plugin, message):
    with pytest.raises(PluginError, match=message):
        check(plugin)


def test_a_partition_that_ignores_its_seed_or_draws_from_elsewhere_fails():
    @dataclass(frozen=True)
    class Deaf:
        def split(self, y, groups, num_clients, seed):
            return Dirichlet().split(y, groups, num_clients, 0)

    @dataclass(frozen=True)
    class Moody:
        calls: list = field(default_factory=list)

        def split(self, y, groups, num_clients, seed):
            self.calls.append(seed)
            return Dirichlet().split(y, groups, num_clients, len(self.calls))

    with pytest.raises(PluginError, match="declared seeded = True"):
        owed.the_split_follows_its_seed(Deaf())
    with pytest.raises(PluginError, match="the same seed must give the same split"):
        owed.the_split_follows_its_seed(Moody())


def test_every_partition_check_passes_on_the_plug_in_that_was_then_broken():
    for check in PARTITION_CHECKS:
        check(Scattered(complete=True))


def test_a_partition_that_looks_at_the_inputs_is_handed_as_many_as_there_are_labels():
    @dataclass(frozen=True)
    class BySum:
        complete: bool = True
        label_free: bool = True
        seeded: bool = False
        sees_inputs: bool = True

        def split(self, y, groups, num_clients, seed, x):
            if len(y) < num_clients:
                raise ValueError("too few")
            order = np.argsort(x.sum(axis=(1, 2, 3)), kind="stable")
            return [np.sort(rows) for rows in np.array_split(order, num_clients)]

    for check in PARTITION_CHECKS:
        check(BySum())
