"""Partitions that give clients other inputs besides: noisier ones, or those of another domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...core.declarations import Partitions, declared, name_of
from ...core.errors import PluginError, ScenarioError, named_faults
from ...core.seeds import generator
from .base import inputs

if TYPE_CHECKING:
    from .base import Array, Dataset


def altered(partition: object, pile: Dataset, rows: Sequence[Array], seed: int) -> Dataset:
    """Return the data set in which each client's inputs are as its partition makes them.

    Test inputs stay, but that pixels become float32; the value range grows to what there is.

    Args:
        partition: Itself where it alters nothing.
        pile: What was dealt out.
        rows: Which examples each client holds.
        seed: The run's seed.

    Raises:
        ScenarioError: Inputs are tokens.
        PluginError: It raised, or returned something of another shape or type, or not finite.
    """
    alter = declared(partition, Partitions.alter)
    if alter is None:
        return pile
    if pile.num_tokens:
        raise ScenarioError(
            f"partition {name_of(partition)} changes inputs that are numbers, and those of {pile.name} are "
            "tokens"
        )
    x, test_x = inputs(pile.x).numpy(), inputs(pile.test_x).numpy()
    for client, own in enumerate(rows):
        stream = generator(seed, "partition inputs", client)
        with named_faults(f"partition {name_of(partition)} cannot alter inputs"):
            found = alter(x[own], client, len(rows), stream)
        try:
            check_inputs(found, x[own])
        except PluginError as error:
            raise PluginError(f"partition {name_of(partition)}: {error}") from error
        x[own] = found
    least, most = min(pile.value_range[0], float(x.min())), max(pile.value_range[1], float(x.max()))
    return replace(pile, x=x, test_x=test_x, value_range=(least, most))


def check_inputs(found: object, before: Array) -> None:
    """Raise ``PluginError`` unless ``found`` is what ``Partitions.alter`` owes of these inputs."""
    fits = isinstance(found, np.ndarray) and found.dtype == np.float32 and found.shape == before.shape
    if not (fits and bool(np.isfinite(found).all())):  # type: ignore[call-overload]
        came = f"{found.dtype} {list(found.shape)}" if isinstance(found, np.ndarray) else type(found).__name__
        raise PluginError(f"alter must return finite inputs, float32 {list(before.shape)}, got {came}")
