"""What a data set is before and after it is spread over clients."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ...core.errors import DataError
from .column import Array as Array
from .column import Column
from .targets import Targets as Targets

NO_GROUPS = (
    "natural needs a dataset with natural clients (heart_disease, or csv with client), this one has none"
)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled examples on one pile, with a held-out test set.

    Attributes:
        name: As scenarios call it.
        x: Pixels uint8, channels first, or features (or pixels) float32, or tokens int64.  # [n, ...]
        y: Labels from 0, int64: a class each [n], or several [n, ...]; or with ``targets`` real numbers,
            float32.  # [n, D]
        test_x: Like ``x``.  # [m, ...]
        test_y: Like ``y``.  # [m, ...]
        num_classes: C; labels are below it. 0 with ``targets``.
        mean: Mean of each channel in units of ``inputs``, for the model to subtract; empty for none.
        std: Standard deviation of each channel likewise, above 0.
        value_range: The least and the largest value that ``inputs`` can take.
        groups: The natural client of each training example (a hospital, a speaker), or None.  # [n]
        targets: What the outputs are, where labels are real numbers; None where they are classes.
        num_tokens: Inputs are tokens from 0 to below it; 0 where they are pixels or features.
        task: The name of the task that they are made for; by default a classification, or with ``targets``
            a regression.
        fitted: What of the inputs and labels was learnt from training examples, in words ("the scale of
            age"). Nothing protects that, so that no epsilon holds; empty where all of it is public.
        columns: How a table's columns became the inputs; empty for what is no table.
        notes: What a reader should know of the inputs, a line each.
        framing: Tokens that are no words: what fills up, begins and ends a sentence; nobody scores them.

    Raises:
        DataError: Arrays that do not fit together.
    """

    name: str
    x: Array
    y: Array
    test_x: Array
    test_y: Array
    num_classes: int
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    value_range: tuple[float, float] = (0.0, 1.0)
    groups: Array | None = None
    targets: Targets | None = None
    num_tokens: int = 0
    task: str = ""
    fitted: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    notes: tuple[str, ...] = ()
    framing: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for what, x, y in (("training", self.x, self.y), ("test", self.test_x, self.test_y)):
            if len(x) == 0 or len(x) != len(y):
                raise DataError(
                    f"{self.name}: {len(x)} {what} inputs with {len(y)} labels; both must be equal, above 0"
                )
            if self.targets is not None:
                self._check_targets(what, y, len(self.targets.names))
            elif y.dtype != np.int64 or y.min() < 0 or y.max() >= self.num_classes:
                raise DataError(
                    f"{self.name}: {what} labels must be int64 in [0, {self.num_classes - 1}], "
                    f"got {y.dtype} in [{y.min()}, {y.max()}]"
                )
            if self.num_tokens:
                self._check_tokens(what, x)
            elif x.dtype not in (np.uint8, np.float32):
                raise DataError(
                    f"{self.name}: {what} inputs must be uint8 or float32, got {x.dtype}; tokens, "
                    "int64, go with num_tokens"
                )
            if x.dtype == np.float32 and not np.isfinite(x).all():
                raise DataError(f"{self.name}: {what} inputs hold NaN or infinity")
        if self.x.shape[1:] != self.test_x.shape[1:]:
            raise DataError(
                f"{self.name}: training inputs are {self.x.shape[1:]}, test inputs {self.test_x.shape[1:]}"
            )
        if self.y.shape[1:] != self.test_y.shape[1:]:
            raise DataError(
                f"{self.name}: training labels are {self.y.shape[1:]}, test labels {self.test_y.shape[1:]}"
            )
        if len(self.mean) != len(self.std) or len(self.mean) not in (0, self.x.shape[1]):
            raise DataError(
                f"{self.name}: mean and std need one value for each of {self.x.shape[1]} channels or none, "
                f"got {len(self.mean)} and {len(self.std)}"
            )
        if self.groups is not None and len(self.groups) != len(self.y):
            raise DataError(f"{self.name}: {len(self.groups)} groups for {len(self.y)} training examples")

    def _check_tokens(self, what: str, x: Array) -> None:
        if x.dtype != np.int64 or x.min() < 0 or x.max() >= self.num_tokens or self.mean:
            raise DataError(
                f"{self.name}: {what} inputs must be tokens, int64 in [0, {self.num_tokens - 1}], without a "
                f"mean; got {x.dtype} in [{x.min()}, {x.max()}]"
            )

    def _check_targets(self, what: str, y: Array, outputs: int) -> None:
        if y.dtype != np.float32 or y.shape[1:] != (outputs,) or not outputs or not np.isfinite(y).all():
            raise DataError(
                f"{self.name}: {what} targets must be finite float32 [n, {outputs}] of at least one output, "
                f"got {y.dtype} {list(y.shape)}"
            )
        if self.num_classes != 0:
            raise DataError(f"{self.name}: num_classes must be 0 with targets, got {self.num_classes}")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example, without the batch."""
        return tuple(self.x.shape[1:])


def inputs(x: Array) -> Tensor:
    """Return what a model is given, always a copy.  # [n, ...]

    Tokens int64; else float32, uint8 pixels divided by 255.
    """
    if x.dtype == np.int64:
        return torch.from_numpy(x.copy())
    values = torch.from_numpy(x.astype(np.float32))
    return values.div_(255) if x.dtype == np.uint8 else values


Perturb = Callable[[Array], Array]
"""From records as they were collected to what is published of them: the same shape and type."""


class Source(Protocol):
    """A data set by name: what a scenario's ``dataset`` table builds.

    May have ``load_perturbed(perturb) -> Dataset``: as ``load``, but its training examples are cut from
    ``perturb(records)``; the test set is left as it is.
    """

    def load(self) -> Dataset: ...


class Partition(Protocol):
    """A rule by which examples are dealt out.

    What it may declare: ``core.declarations.Partitions``.
    """

    def split(self, y: Array, groups: Array | None, num_clients: int, seed: int) -> list[Array]:
        """Return each client's rows: ascending, int64, disjoint.

        Args:
            y: Labels of all training examples.  # [n]
            groups: Their natural clients, if the data have any.  # [n]
            num_clients: N, at least 1.
            seed: The run's seed.

        Raises:
            ValueError: No such split of these examples.
        """


class LookingPartition(Protocol):
    """A partition that declares ``sees_inputs``."""

    def split(self, y: Array, groups: Array | None, num_clients: int, seed: int, x: Array) -> list[Array]:
        """As ``Partition.split``, also handed the inputs as the data set has them: uint8 pixels, float32
        values or int64 tokens.  # x: [n, ...]
        """


class FederatedData(Protocol):
    """Examples that already lie with their clients.

    Inputs come as ``inputs`` gives them: pixels in [0, 1], or tokens. Normalising is the model's first layer.

    What they may declare: ``core.declarations.ClientData``.
    """

    @property
    def name(self) -> str: ...
    @property
    def num_clients(self) -> int: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def input_shape(self) -> tuple[int, ...]: ...
    @property
    def mean(self) -> tuple[float, ...]: ...
    @property
    def std(self) -> tuple[float, ...]: ...
    @property
    def value_range(self) -> tuple[float, float]: ...

    def num_examples(self, client_id: int) -> int:
        """Return how many examples client ``client_id`` holds, at least 1."""

    def client(self, client_id: int) -> tuple[Tensor, Tensor]:
        """Return new tensors: x float32 [n, ...] (int64 with ``num_tokens``), y int64 [n, ...].

        With ``targets`` y is float32 [n, D].
        """

    def test(self) -> tuple[Tensor, Tensor]:
        """Return new tensors, like ``client``.  # [m, ...]"""

    def label_counts(self) -> Array:
        """Return how many labels of each class each client holds, int64.  # [N, C]

        Raises:
            DataError: The population is too large to be counted, or has no labels.
        """


class Population(Protocol):
    """A data set whose examples are born with their clients, however many there are."""

    def populate(self, num_clients: int, seed: int) -> FederatedData: ...


def check_client(client_id: int, num_clients: int) -> None:
    """Raise ``ValueError`` unless there is such a client: a negative id must not count from the end."""
    if not 0 <= client_id < num_clients:
        raise ValueError(f"client_id must be in [0, {num_clients - 1}], got {client_id}")


@dataclass(frozen=True, eq=False)
class PartitionedData:
    """A data set dealt out to clients.

    It holds nothing but NumPy arrays and plain values, so that processes can share one copy of it, read-only
    (pickle protocol 5). Whatever is handed out is a copy.

    Attributes:
        name: As scenarios call the data set.
        x: All training inputs as the data set has them.  # [n, ...]
        y: Their labels, or targets [n, D].  # [n, ...]
        test_x: Test inputs.  # [m, ...]
        test_y: Test labels, or targets [m, D].  # [m, ...]
        order: Rows of the training data, client after client, int64.  # [at most n]
        offsets: Client i holds ``order[offsets[i]:offsets[i + 1]]``, int64.  # [N + 1]
        num_classes: C.
        mean, std, value_range, targets, num_tokens, task, fitted, columns, notes, framing: As in ``Dataset``.
        root: The examples that the server keeps for itself, as data whose client N (no client's number)
            holds them all; None where it keeps none.
        held_out: What clients keep for their own scores, as data of the same clients, of whom some may hold
            none; None where nobody keeps any.
    """

    name: str
    x: Array
    y: Array
    test_x: Array
    test_y: Array
    order: Array
    offsets: Array
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    value_range: tuple[float, float]
    root: "PartitionedData | None" = None
    targets: Targets | None = None
    held_out: "PartitionedData | None" = None
    num_tokens: int = 0
    task: str = ""
    fitted: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    notes: tuple[str, ...] = ()
    framing: tuple[int, ...] = ()

    @property
    def num_clients(self) -> int:
        return len(self.offsets) - 1

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    @property
    def label_shape(self) -> tuple[int, ...]:
        return tuple(self.y.shape[1:])

    def num_examples(self, client_id: int) -> int:
        check_client(client_id, self.num_clients)
        return int(self.offsets[client_id + 1] - self.offsets[client_id])

    def client(self, client_id: int) -> tuple[Tensor, Tensor]:
        return self.at(self.rows(client_id))

    def at(self, rows: Array) -> tuple[Tensor, Tensor]:
        """Return new tensors of these rows of the training data, like ``client``."""
        return inputs(self.x[rows]), torch.from_numpy(self.y[rows])

    def rows(self, client_id: int) -> Array:
        """Return where the client's examples stand in ``x`` and ``y``, in the order of ``client``.  # [n]"""
        check_client(client_id, self.num_clients)
        return self.order[self.offsets[client_id] : self.offsets[client_id + 1]]

    def test(self) -> tuple[Tensor, Tensor]:
        return inputs(self.test_x), torch.from_numpy(self.test_y.copy())

    def label_counts(self) -> Array:
        if self.targets is not None:
            raise DataError(f"{self.name} has real-valued targets and no labels to count")
        owner = np.repeat(np.arange(self.num_clients), np.diff(self.offsets))  # [at most n]
        held = self.y[self.order].reshape(len(owner), -1)  # [at most n, labels an example]
        cells = (owner[:, None] * self.num_classes + held).ravel()
        counts = np.bincount(cells, minlength=self.num_clients * self.num_classes)
        return counts.reshape(self.num_clients, self.num_classes)
