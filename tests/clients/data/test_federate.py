from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest

from gauntlet.clients.data import DATASETS, PARTITIONS, Dataset, federate
from gauntlet.core.errors import ForbiddenWrite, PluginError, ScenarioError
from gauntlet.core.guards import guard

PILE = Dataset(
    name="pile",
    x=np.zeros((10, 2), dtype=np.float32),
    y=np.arange(10) % 2,
    test_x=np.zeros((2, 2), dtype=np.float32),
    test_y=np.arange(2),
    num_classes=2,
)


@dataclass(frozen=True)
class Pile:
    pile: Dataset = PILE

    def load(self):
        return self.pile


@dataclass(frozen=True)
class Fixed:
    rows: list = field(default_factory=list)

    def split(self, y, groups, num_clients, seed):
        return [np.asarray(r) for r in self.rows]


@dataclass(frozen=True)
class Raises:
    error: Exception

    def split(self, y, groups, num_clients, seed):
        raise self.error


def test_equal_arguments_give_equal_data_and_other_seeds_other_data():
    digits, iid = DATASETS.build("digits"), PARTITIONS.build("iid")
    first, again, other = (federate(digits, iid, 7, seed) for seed in (3, 3, 4))
    assert np.array_equal(first.order, again.order)
    assert not np.array_equal(first.order, other.order)
    assert first.num_clients == 7
    assert sum(first.num_examples(i) for i in range(7)) == 1437


def test_a_population_makes_its_own_clients():
    data = federate(DATASETS.build("synthetic"), None, 1_000_000, 0)
    assert data.num_clients == 1_000_000


def test_a_guarded_plug_in_is_told_apart_like_a_bare_one():
    data = federate(guard(DATASETS.build("synthetic"), "synthetic"), None, 3, 0)
    assert data.num_clients == 3


@pytest.mark.parametrize(
    ("dataset", "partition", "num_clients", "message"),
    [
        (Pile(), Fixed(), 0, "num_clients must be at least 1, got 0"),
        (Pile(), None, 2, "needs a partition"),
        (DATASETS.build("synthetic"), PARTITIONS.build("iid"), 2, "leave the partition out"),
        (
            Pile(),
            PARTITIONS.build("iid"),
            11,
            "pile cannot be partitioned: 10 examples cannot give 11 clients",
        ),
        (Pile(), Fixed([np.arange(10), np.arange(0)]), 2, r"leaves 1 of 2 clients without any \(1\)"),
    ],
)
def test_what_cannot_be_dealt_out_is_the_scenarios_fault(dataset, partition, num_clients, message):
    with pytest.raises(ScenarioError, match=message):
        federate(dataset, partition, num_clients, 0)


@pytest.mark.parametrize(
    ("partition", "message"),
    [
        (Fixed([[0, 1]]), "one array for each of 2 clients, got 1"),
        (Fixed([[0, 1], [1, 2]]), "gave example 1 to more than one client"),
        (Fixed([[1, 0], [2]]), "ascending rows, client 0"),
        (Fixed([[0], [10]]), r"rows in \[0, 9\], got \[0, 10\]"),
        (Fixed([[-1], [0]]), r"rows in \[0, 9\], got \[-1, 0\]"),
        (Fixed([[0.0], [1.0]]), "int64 arrays"),
        (Raises(KeyError("label")), "partition Raises raised KeyError: 'label'"),
    ],
)
def test_a_partition_that_breaks_its_contract_is_named(partition, message):
    with pytest.raises(PluginError, match=message):
        federate(Pile(), partition, 2, 0)


@dataclass(frozen=True)
class ByHeight:
    """A partition by a feature: the lower half of the values, and the upper one."""

    label_free: ClassVar[bool] = True
    sees_inputs: ClassVar[bool] = True

    def split(self, y, groups, num_clients, seed, x):
        order = np.argsort(x[:, 0], kind="stable")
        return [np.sort(rows) for rows in np.array_split(order, num_clients)]


def test_a_partition_may_deal_by_the_inputs_that_are_left_for_clients():
    """By hand: of the heights 0 ... 9 in a drawn order one is the server's, the others are cut in two."""
    heights = np.random.default_rng(0).permutation(10).astype(np.float32)
    pile = replace(PILE, x=np.stack([heights, np.zeros(10, np.float32)], axis=1))
    data = federate(Pile(pile), ByHeight(), 2, 0, root_examples=1)
    kept = sorted(set(range(10)) - set(data.root.client(2)[0][:, 0].tolist()))

    assert sorted(data.client(0)[0][:, 0].tolist()) == kept[:5]
    assert sorted(data.client(1)[0][:, 0].tolist()) == kept[5:]


@dataclass(frozen=True)
class Writes:
    """A partition that writes into what it is handed."""

    into: str
    sees_inputs: ClassVar[bool] = True

    def split(self, y, groups, num_clients, seed, x):
        {"y": y, "groups": groups, "x": x}[self.into][:] += 1
        return np.array_split(np.arange(len(y)), num_clients)


@pytest.mark.parametrize("into", ["y", "groups", "x"])
def test_a_partition_that_writes_into_the_data_is_refused_by_its_name(into):
    pile = replace(PILE, x=PILE.x.copy(), y=np.zeros(10, np.int64), groups=np.arange(10))
    with pytest.raises(ForbiddenWrite, match="partition Writes wrote into"):
        federate(Pile(pile), Writes(into), 2, 0)


def test_a_dataset_without_a_verb_is_refused():
    with pytest.raises(PluginError, match="a method load or populate, got neither"):
        federate(object(), Fixed(), 2, 0)


def test_arrays_are_made_contiguous_so_that_they_can_be_shared():
    strided = replace(PILE, x=np.zeros((20, 2), dtype=np.float32)[::2])
    data = federate(Pile(strided), PARTITIONS.build("iid"), 2, 0)
    assert data.x.flags.c_contiguous


def rows_of(x):
    return sorted(map(tuple, np.asarray(x).tolist()))


def test_the_servers_own_examples_lie_with_no_client():
    """Ten different examples: three for the server, seven for the clients, none twice, none lost."""
    pile = replace(PILE, x=np.arange(20, dtype=np.float32).reshape(10, 2))
    data = federate(Pile(pile), PARTITIONS.build("iid"), 3, seed=5, root_examples=3)
    server, _ = data.root.client(3)
    clients = np.concatenate([data.client(i)[0] for i in range(3)])

    assert (len(server), len(clients)) == (3, 7)
    assert rows_of([*server.tolist(), *clients.tolist()]) == rows_of(pile.x)
    assert data.label_counts().sum() == 7


def test_the_servers_own_examples_follow_from_the_seed():
    digits, iid = DATASETS.build("digits"), PARTITIONS.build("iid")
    first, again, other = (federate(digits, iid, 4, seed, 50).root.client(4)[0] for seed in (1, 1, 2))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_natural_clients_keep_what_the_server_does_not_take():
    """By hand: three hospitals with 2, 3 and 5 patients lose the two that the server drew."""
    pile = replace(
        PILE,
        x=np.arange(20, dtype=np.float32).reshape(10, 2),
        groups=np.array(list("aabbbccccc")),
    )
    data = federate(Pile(pile), PARTITIONS.build("natural"), 3, seed=0, root_examples=2)
    drawn = data.root.client(3)[0][:, 0].numpy() / 2
    left = [sum(i not in drawn for i in group) for group in (range(2), range(2, 5), range(5, 10))]

    assert [data.num_examples(i) for i in range(3)] == left


@pytest.mark.parametrize(
    ("dataset", "partition", "count", "message"),
    [
        (Pile(), PARTITIONS.build("iid"), 10, r"root_examples must be in \[0, 9\].*pile keep some, got 10"),
        (Pile(), PARTITIONS.build("iid"), -1, r"root_examples must be in \[0, 9\]"),
        (DATASETS.build("synthetic"), None, 5, "root_examples must be 0 for a dataset that makes its own"),
    ],
)
def test_examples_that_the_server_cannot_have_are_refused(dataset, partition, count, message):
    with pytest.raises(ScenarioError, match=message):
        federate(dataset, partition, 2, 0, root_examples=count)
