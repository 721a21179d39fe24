"""Run one of flwr-datasets' partitioners on row numbers.

Source: Flower Labs. Flower Datasets, ``flwr_datasets.partitioner``. https://flower.ai/docs/datasets

The partitioner sees a table of labels and row numbers in memory, never the examples themselves.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ...core.seeds import generator
from .base import Array


def flower_rows(
    make: Callable[[Any], Any], y: Array, seed: int | None = None, groups: Array | None = None
) -> list[Array]:
    """Return each client's ascending rows, int64, as a partitioner of flwr-datasets deals them.

    Args:
        make: From the module ``flwr_datasets.partitioner`` to a partitioner.
        y: Labels; the table's column ``label``. Of a regression's targets only the number counts.  # [n]
        seed: Shuffles the rows first, by a stream of our own; None keeps them in order.
        groups: Natural clients; the table's column ``group``, if given.  # [n]

    Raises:
        ValueError: The partitioner cannot do it.
    """
    from datasets import Dataset as Table
    from flwr_datasets import partitioner as flower
    from pyarrow import table

    order = np.arange(len(y)) if seed is None else generator(seed, "partition rows").permutation(len(y))
    labels = y[order] if y.ndim == 1 else order  # a regression has none
    columns = {"label": labels, "row": order} | ({} if groups is None else {"group": groups[order]})
    partitioner = make(flower)
    with warnings.catch_warnings():
        # About its own dependencies, and about classes that stay unused; both are ours to say.
        warnings.simplefilter("ignore")
        partitioner.dataset = Table(table(columns))
        parts = [
            partitioner.load_partition(i).with_format("numpy") for i in range(partitioner.num_partitions)
        ]
        return [np.sort(np.asarray(part[:]["row"], dtype=np.int64)) for part in parts]


def flower_seed(seed: int) -> int:
    """Return the run's seed as NumPy's seeding takes it: not negative. Seeds from 0 stay as they are."""
    return seed if seed >= 0 else 2**63 - seed
