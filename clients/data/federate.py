"""From a data set and a partition to clients that hold their examples."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from ...core.declarations import Datasets, Partitions, declared
from ...core.errors import GauntletError, PluginError, ScenarioError, said, shown
from ...core.guards import guard
from ...core.registry import require
from ...core.seeds import generator
from ...core.untouched import untouched
from .altering import altered
from .base import (
    NO_GROUPS,
    Array,
    Dataset,
    FederatedData,
    LookingPartition,
    Partition,
    PartitionedData,
    Perturb,
    Population,
)

_OF_DATA = ("name", "num_clients", "input_shape", "num_examples", "client", "test")


def federate(
    dataset: object,
    partition: object | None,
    num_clients: int,
    seed: int,
    root_examples: int = 0,
    perturb: Perturb | None = None,
    held_out: float = 0.0,
) -> FederatedData:
    """Return the clients' data. Equal arguments give equal data.

    Args:
        dataset: A plug-in with ``load()`` (then ``partition`` spreads it) or ``populate(num_clients, seed)``.
        partition: A plug-in with ``split``, or None for a data set that makes its own clients.
        num_clients: N, at least 1.
        seed: The run's seed.
        root_examples: Training examples that the server keeps for itself, drawn before the others are
            spread, so that no client holds them; at least 0.
        perturb: From the training records as they were collected to what is published of them, where
            everything that trains on them shall see only that.
        held_out: The share of its examples that each client keeps out of training, for its own scores,
            rounded down: at least 0, below 1. Drawn by client, so that the rest is as it would be without.

    Raises:
        ScenarioError: The two do not go together, or some client would be left without examples.
        PluginError: A plug-in broke its contract.
    """
    if num_clients < 1:
        raise ScenarioError(f"num_clients must be at least 1, got {num_clients}")
    if perturb is not None and declared(dataset, Datasets.load_perturbed) is None:
        raise ScenarioError(
            f"this privacy mechanism noises the records that training examples are cut from, and "
            f"{_label(dataset)} has none; it goes with mobility"
        )
    if declared(dataset, Datasets.populate) is not None:
        if partition is not None:
            raise ScenarioError("this dataset makes its own clients: leave the partition out")
        if root_examples:
            raise ScenarioError(
                f"root_examples must be 0 for a dataset that makes its own clients (no example is left for "
                f"the server), got {root_examples}"
            )
        if held_out:
            raise ScenarioError(
                f"held_out must be 0 for a dataset that makes its own clients (it says itself what they hold "
                f"out), got {held_out:g}"
            )
        return _born(dataset, num_clients, seed)
    if declared(dataset, Datasets.load) is None:
        raise PluginError("a dataset needs a method load or populate, got neither")
    if not callable(getattr(partition, "split", None)):
        raise ScenarioError("this dataset needs a partition that spreads it over the clients, got none")
    source = guard(cast(Any, dataset), _label(dataset))
    pile: Dataset = source.load() if perturb is None else source.load_perturbed(perturb)
    if not isinstance(pile, Dataset):
        raise PluginError(f"{_label(dataset)}: load must return a Dataset, got {shown(pile)}")
    pile, root = _set_apart(pile, root_examples, seed)
    rows = _split(cast(Partition, partition), pile, num_clients, seed)
    try:
        check_rows(rows, len(pile.y), num_clients)
    except PluginError as error:
        raise PluginError(f"partition {_label(partition)}: {error}") from error
    _check_nobody_is_empty(rows, len(pile.y))
    pile = altered(partition, pile, rows, seed)
    data = dealt(pile, rows) if held_out == 0 else _with_held_out(pile, rows, held_out, seed)
    if root is None:
        return data
    nobody = np.zeros(0, dtype=np.int64)
    return replace(data, root=dealt(root, [nobody] * num_clients + [np.arange(root_examples)]))


def natural_clients(dataset: object, partition: object | None, seed: int, root_examples: int = 0) -> int:
    """Return how many clients the natural partition of a data set has; arguments as of ``federate``.

    Raises:
        ScenarioError: The data set has no natural clients, or the partition is another one.
    """
    if partition is None or not declared(partition, Partitions.natural):
        named = "the data set makes its own clients" if partition is None else f"it is {_label(partition)}"
        raise ScenarioError(
            f"num_clients = 'natural' goes with partition = 'natural', and {named}: give a number"
        )
    pile: Dataset = guard(cast(Any, dataset), _label(dataset)).load()
    groups = _set_apart(pile, root_examples, seed)[0].groups
    if groups is None:
        raise ScenarioError(f"{pile.name} cannot be partitioned: {NO_GROUPS}")
    return len(np.unique(groups))


def _set_apart(pile: Dataset, count: int, seed: int) -> tuple[Dataset, Dataset | None]:
    """Return (what is left for the clients, the server's own ``count`` examples)."""
    if not 0 <= count < len(pile.y):
        raise ScenarioError(
            f"root_examples must be in [0, {len(pile.y) - 1}], so that the clients of {pile.name} keep some, "
            f"got {count}"
        )
    if count == 0:
        return pile, None
    drawn = np.zeros(len(pile.y), dtype=bool)
    drawn[generator(seed, "root examples").choice(len(pile.y), count, replace=False)] = True
    return _only(pile, ~drawn), _only(pile, drawn)


def _with_held_out(pile: Dataset, rows: Sequence[Array], share: float, seed: int) -> PartitionedData:
    """Return the data of clients that keep a share of their examples out of training."""
    drawn = []
    for client, own in enumerate(rows):
        out = np.zeros(len(own), dtype=bool)
        count = min(int(share * len(own) + 1e-9), len(own) - 1)
        out[generator(seed, "held out", client).permutation(len(own))[:count]] = True
        drawn.append(out)
    data = dealt(pile, [own[~out] for own, out in zip(rows, drawn, strict=True)])
    kept = dealt(pile, [own[out] for own, out in zip(rows, drawn, strict=True)])
    return replace(data, held_out=replace(kept, x=data.x, y=data.y, test_x=data.test_x, test_y=data.test_y))


def _only(pile: Dataset, rows: Array) -> Dataset:
    groups = None if pile.groups is None else pile.groups[rows]
    return replace(pile, x=pile.x[rows], y=pile.y[rows], groups=groups)


def _born(dataset: object, num_clients: int, seed: int) -> FederatedData:
    data = guard(cast(Population, dataset), _label(dataset)).populate(num_clients, seed)
    lacks = [name for name in _OF_DATA if not hasattr(data, name)]
    if lacks:
        raise PluginError(f"{_label(dataset)}: populate made {shown(data)}, which has no {', '.join(lacks)}")
    require(
        data.num_clients == num_clients,
        f"{_label(dataset)}: populate must make {num_clients} clients, made {data.num_clients}",
    )
    return data


def _split(partition: Partition, pile: Dataset, num_clients: int, seed: int) -> list[Array]:
    """Return the split; that there is none of these examples is the scenario's fault, not the plug-in's."""
    if (pile.targets is not None or pile.y.ndim > 1) and not declared(partition, Partitions.label_free):
        what = "real-valued targets" if pile.targets is not None else "several labels an example"
        raise ScenarioError(
            f"{pile.name} has {what}, and partition {_label(partition)} deals by labels; "
            "use iid, quantity or natural"
        )
    try:
        with untouched(f"partition {_label(partition)}", pile.x, pile.y, pile.groups):
            return asked(partition, pile.x, pile.y, pile.groups, num_clients, seed)
    except GauntletError:
        raise
    except ValueError as error:
        raise ScenarioError(f"{pile.name} cannot be partitioned: {said(error, named=False)}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(f"partition {_label(partition)} raised {said(error)}") from error


def asked(
    partition: Partition, x: Array, y: Array, groups: Array | None, num_clients: int, seed: int
) -> list[Array]:
    """Return what a partition's ``split`` says, handed the inputs where it declares that it looks at them."""
    if not declared(partition, Partitions.sees_inputs):
        return partition.split(y, groups, num_clients, seed)
    looking = cast(LookingPartition, partition)
    return looking.split(y, groups, num_clients, seed, x)


def _label(plugin: object) -> str:
    return type(getattr(plugin, "__wrapped__", plugin)).__name__


def dealt(pile: Dataset, rows: Sequence[Array]) -> PartitionedData:
    """Return ``pile`` with client i holding the examples ``rows[i]``."""
    return PartitionedData(
        name=pile.name,
        x=np.ascontiguousarray(pile.x),
        y=np.ascontiguousarray(pile.y),
        test_x=np.ascontiguousarray(pile.test_x),
        test_y=np.ascontiguousarray(pile.test_y),
        order=np.concatenate(rows),
        offsets=np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64),
        num_classes=pile.num_classes,
        mean=pile.mean,
        std=pile.std,
        value_range=pile.value_range,
        targets=pile.targets,
        num_tokens=pile.num_tokens,
        task=pile.task,
        fitted=pile.fitted,
        columns=pile.columns,
        notes=pile.notes,
        framing=pile.framing,
    )


def check_rows(rows: Sequence[Array], num_examples: int, num_clients: int) -> None:
    """Raise ``PluginError`` unless ``rows`` is what ``Partition.split`` owes."""
    if not isinstance(rows, list | tuple):
        raise PluginError(f"split must return a list of arrays, got {shown(rows)}")
    require(
        len(rows) == num_clients,
        f"split must return one array for each of {num_clients} clients, got {len(rows)}",
    )
    for i, r in enumerate(rows):
        fine = isinstance(r, np.ndarray) and r.ndim == 1 and r.dtype == np.int64
        require(
            fine,
            f"split must return int64 arrays [n], got {getattr(r, 'dtype', type(r).__name__)} for client {i}",
        )
        require(
            bool((np.diff(r) > 0).all()), f"split must return strictly ascending rows, client {i} has others"
        )
    everything = np.concatenate(rows)
    if not len(everything):
        return
    require(
        everything.min() >= 0 and everything.max() < num_examples,
        f"split must return rows in [0, {num_examples - 1}], got [{everything.min()}, {everything.max()}]",
    )
    twice = np.flatnonzero(np.bincount(everything) > 1)
    require(not len(twice), f"split gave example {twice[0] if len(twice) else 0} to more than one client")


def _check_nobody_is_empty(rows: Sequence[Array], num_examples: int) -> None:
    empty = [i for i, r in enumerate(rows) if not len(r)]
    if empty:
        shown = ", ".join(map(str, empty[:5])) + (", ..." if len(empty) > 5 else "")
        raise ScenarioError(
            f"the partition of {num_examples} examples leaves {len(empty)} of {len(rows)} clients without "
            f"any ({shown}); take fewer clients or a milder partition"
        )
