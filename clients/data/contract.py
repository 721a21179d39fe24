"""What every data set and every partition owes. Each check raises ``PluginError`` and says what is broken.

``DATASET_CHECKS`` take a plug-in of the family ``datasets``, ``PARTITION_CHECKS`` one of ``partitions``.
"""

from collections.abc import Callable
from typing import cast

import numpy as np
import torch

from ...core.declarations import Datasets, Partitions, declared
from ...core.errors import DataError
from ...core.registry import require
from ...core.seeds import generator
from ..tasks.fitted import facts_of, task_of
from .altering import check_inputs
from .base import Array, Dataset, FederatedData, Partition, Population, Source
from .federate import asked, check_rows, dealt

NUM_CLIENTS = 5


def small_labels() -> tuple[Array, Array]:
    """Return labels of 10 classes and 5 natural groups, of 1000 examples: what partitions are tried on."""
    y = np.arange(1000, dtype=np.int64) % 10
    groups = np.arange(1000) // 200
    for array in (y, groups):
        array.setflags(write=False)
    return y, groups


def small_inputs(num_examples: int) -> Array:
    """Return inputs of so many examples, of which no two are alike.  # [n, 1, 2, 2]"""
    x = generator(0, "contract inputs").random((num_examples, 1, 2, 2), dtype=np.float32)
    x.setflags(write=False)
    return x


# ---- data sets ------------------------------------------------------------------------------------------


def federated(plugin: Source | Population) -> FederatedData:
    """Return the data with a few clients: its own, or the training examples dealt out in turn."""
    if declared(plugin, Datasets.populate) is not None:
        return cast(Population, plugin).populate(NUM_CLIENTS, 0)
    require(
        declared(plugin, Datasets.load) is not None, "a dataset needs a method load or populate, got neither"
    )
    pile = cast(Source, plugin).load()
    require(isinstance(pile, Dataset), f"load must return a Dataset, got {type(pile).__name__}")
    return dealt(pile, [np.arange(i, len(pile.y), NUM_CLIENTS) for i in range(NUM_CLIENTS)])


def every_client_and_the_test_set_hold_examples(plugin: Source | Population) -> None:
    data = federated(plugin)
    require(data.num_clients == NUM_CLIENTS, f"asked for {NUM_CLIENTS} clients, got {data.num_clients}")
    for i in range(NUM_CLIENTS):
        x, y = data.client(i)
        sizes = {data.num_examples(i), len(x), len(y)}
        require(
            len(sizes) == 1 and min(sizes) >= 1, f"client {i}: sizes must be equal, at least 1, got {sizes}"
        )
    x, y = data.test()
    require(len(x) == len(y) >= 1, f"the test set needs as many inputs as labels, got {len(x)} and {len(y)}")


def inputs_and_labels_are_of_the_declared_kind_and_shape(plugin: Source | Population) -> None:
    """Inputs: float32, or tokens int64. Labels: int64 below the number of classes, or finite float32."""
    data = federated(plugin)
    facts = facts_of(data)
    for x, y in [data.test(), *(data.client(i) for i in range(NUM_CLIENTS))]:
        kind = torch.int64 if facts.num_tokens else torch.float32
        require(x.dtype == kind, f"inputs must be {str(kind).removeprefix('torch.')}, got {x.dtype}")
        require(
            tuple(x.shape[1:]) == data.input_shape, f"inputs are {list(x.shape[1:])}, not {data.input_shape}"
        )
        shape = (len(x), *facts.label_shape)
        if facts.targets is not None:
            fine = y.dtype == torch.float32 and tuple(y.shape) == shape and bool(y.isfinite().all())
            require(fine, f"targets must be finite float32 {shape}, got {y.dtype} {tuple(y.shape)}")
            require(bool((y >= facts.targets.least).all()), f"targets below {facts.targets.least}")
            continue
        fine = y.dtype == torch.int64 and tuple(y.shape) == shape
        require(fine, f"labels must be int64 {shape}, got {y.dtype} {tuple(y.shape)}")
        low, high = int(y.min()), int(y.max())
        require(0 <= low <= high < data.num_classes, f"labels in [{low}, {high}], {data.num_classes} classes")


def the_task_that_it_names_can_be_learnt_from_it(plugin: Source | Population) -> None:
    task_of(federated(plugin))


def inputs_stay_in_the_value_range(plugin: Source | Population) -> None:
    data = federated(plugin)
    low, high = data.value_range
    require(-np.inf < low < high < np.inf, f"value_range must be finite, got {data.value_range}")
    for x, _ in [data.test(), *(data.client(i) for i in range(NUM_CLIENTS))]:
        require(bool((x >= low).all() and (x <= high).all()), f"inputs leave the value range [{low}, {high}]")


def normalisation_has_one_value_a_channel_or_none(plugin: Source | Population) -> None:
    data = federated(plugin)
    fits = len(data.mean) == len(data.std) and len(data.mean) in (0, data.input_shape[0])
    require(fits, f"mean and std need {data.input_shape[0]} values or none, got {data.mean} and {data.std}")
    require(min(data.std, default=1) > 0, f"std must be above 0, got {data.std}")


def label_counts_count_the_clients_labels(plugin: Source | Population) -> None:
    data = federated(plugin)
    if facts_of(data).targets is not None:
        try:
            data.label_counts()
        except DataError:
            return
        require(False, "a regression has no labels: label_counts must raise DataError")
    counts = np.asarray(data.label_counts())
    by_hand = [
        np.bincount(data.client(i)[1].numpy().ravel(), minlength=data.num_classes) for i in range(NUM_CLIENTS)
    ]
    require(np.array_equal(counts, np.stack(by_hand)), "label_counts must count the labels that clients hold")


def data_are_the_same_every_time_and_hand_out_copies(plugin: Source | Population) -> None:
    first, second = federated(plugin), federated(plugin)
    first.client(0)[0].fill_(-1)
    first.test()[0].fill_(-1)
    for (x, y), (x2, y2) in ((first.client(0), second.client(0)), (first.test(), second.test())):
        require(torch.equal(x, x2) and torch.equal(y, y2), "loading twice must give equal, independent data")


def only_training_examples_follow_the_perturbed_records(plugin: Source | Population) -> None:
    """Where a data set lets its records be perturbed: not at all, by 0, and by something."""
    load = declared(plugin, Datasets.load_perturbed)
    if load is None:
        return
    plain, same, other = cast(Source, plugin).load(), load(lambda r: r.copy()), load(lambda r: r + 1)
    for pile, equal in ((same, True), (other, False)):
        moved = not (np.array_equal(plain.x, pile.x) and np.array_equal(plain.y, pile.y))
        require(moved != equal, f"training examples must follow their records, moved: {moved}")
        kept = np.array_equal(plain.test_x, pile.test_x) and np.array_equal(plain.test_y, pile.test_y)
        require(kept, "test examples must be cut from the records as they were collected")


DATASET_CHECKS: tuple[Callable[[Source | Population], None], ...] = (
    every_client_and_the_test_set_hold_examples,
    inputs_and_labels_are_of_the_declared_kind_and_shape,
    the_task_that_it_names_can_be_learnt_from_it,
    inputs_stay_in_the_value_range,
    normalisation_has_one_value_a_channel_or_none,
    label_counts_count_the_clients_labels,
    data_are_the_same_every_time_and_hand_out_copies,
    only_training_examples_follow_the_perturbed_records,
)


# ---- partitions -----------------------------------------------------------------------------------------


def clients_hold_ascending_disjoint_rows(plugin: Partition) -> None:
    y, groups = small_labels()
    check_rows(_split(plugin, y, groups), len(y), NUM_CLIENTS)


def nothing_is_left_over_where_completeness_is_declared(plugin: Partition) -> None:
    y, groups = small_labels()
    dealt_out = sum(len(rows) for rows in _split(plugin, y, groups))
    complete = not declared(plugin, Partitions.complete) or dealt_out == len(y)
    require(complete, f"declared complete, but {len(y) - dealt_out} of {len(y)} examples went to nobody")


def natural_groups_are_clients_where_that_is_declared(plugin: Partition) -> None:
    if not declared(plugin, Partitions.natural):
        return
    y, groups = small_labels()
    count = len(np.unique(groups))
    for rows in _split(plugin, y, groups, count):
        found = np.unique(groups[rows]).tolist()
        require(len(found) == 1, f"declared natural, but a client has the examples of groups {found}")


def the_split_follows_its_seed(plugin: Partition) -> None:
    y, groups = small_labels()
    first, again, other = (_split(plugin, y, groups, seed=seed) for seed in (0, 0, 1))
    require(_same(first, again), "the same seed must give the same split")
    seeded = declared(plugin, Partitions.seeded)
    differs = not _same(first, other)
    require(differs == seeded, f"declared seeded = {seeded}, but seeds 0 and 1 differ: {differs}")


def labels_do_not_matter_where_that_is_declared(plugin: Partition) -> None:
    if not declared(plugin, Partitions.label_free):
        return
    y, groups = small_labels()
    targets = generator(0, "contract").standard_normal((len(y), 2)).astype(np.float32)
    plain, regression = (_split(plugin, some, groups) for some in (y, targets))
    require(_same(plain, regression), "declared label_free, but other labels are dealt out otherwise")


def more_clients_than_examples_are_refused(plugin: Partition) -> None:
    y, groups = small_labels()
    try:
        _split(plugin, y[:3], groups[:3])
    except ValueError:
        return
    require(False, f"3 examples for {NUM_CLIENTS} clients must raise ValueError, nothing was raised")


def altered_inputs_are_as_many_of_the_same_kind(plugin: Partition) -> None:
    """For every client, from its stream alone, and what it was handed is left as it was."""
    alter = declared(plugin, Partitions.alter)
    if alter is None:
        return
    x = small_inputs(12)
    for client in range(NUM_CLIENTS):
        handed = x.copy()
        found, again = (alter(handed, client, NUM_CLIENTS, generator(0, "alter", client)) for _ in range(2))
        check_inputs(found, x)
        require(np.array_equal(handed, x), "alter must not change its arguments in place")
        require(np.array_equal(found, again), "alter must follow from what it is given alone")


def _split(
    plugin: Partition, y: Array, groups: Array, count: int = NUM_CLIENTS, seed: int = 0
) -> list[Array]:
    return asked(plugin, small_inputs(len(y)), y, groups, count, seed)


def _same(a: list[Array], b: list[Array]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


PARTITION_CHECKS: tuple[Callable[[Partition], None], ...] = (
    clients_hold_ascending_disjoint_rows,
    nothing_is_left_over_where_completeness_is_declared,
    natural_groups_are_clients_where_that_is_declared,
    the_split_follows_its_seed,
    labels_do_not_matter_where_that_is_declared,
    more_clients_than_examples_are_refused,
    altered_inputs_are_as_many_of_the_same_kind,
)
