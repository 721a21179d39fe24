"""What a client is made of: local rules and procedures, models."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from torch import Tensor, nn

from ..trees import State

Switch = Literal["auto", "on", "off"]
"""A way of training: where it can be, always, or never."""

Device = Literal["auto", "cpu", "cuda"]
"""Where clients train."""

_OPTIMIZERS = ("sgd", "adam")
_LOSSES = ("auto", "cross_entropy", "mse", "mae")


@dataclass(frozen=True)
class LocalTraining:
    """How a client trains on its own examples.

    Attributes:
        local_epochs: Passes over the client's data, at least 1. Ignored when ``local_steps`` is given.
        local_steps: Number of SGD steps instead, at least 1, or None.
        batch_size: Examples a step, at least 1; 0 takes all of the client's examples.
        lr: Step size, above 0.
        momentum: Heavy-ball momentum between 0 and 1 (1 excluded), fresh every round.
        weight_decay: L2 penalty added to the gradient, at least 0.
        optimizer: ``"sgd"``, or ``"adam"`` with torch's constants and moments that begin anew every round.
        loss: ``"cross_entropy"`` of labels; ``"mse"`` or ``"mae"`` of real-valued targets; ``"auto"`` is the
            first that goes with the data.
        shuffle: Whether every pass takes the examples in a fresh random order, or all in their own.
    """

    local_epochs: int = 1
    local_steps: int | None = None
    batch_size: int = 32
    lr: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    optimizer: Literal["sgd", "adam"] = "sgd"
    loss: Literal["auto", "cross_entropy", "mse", "mae"] = "auto"
    shuffle: bool = True

    def __post_init__(self) -> None:
        for name, least in (("local_epochs", 1), ("batch_size", 0), ("weight_decay", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.local_steps is not None and self.local_steps < 1:
            raise ValueError(f"local_steps must be at least 1, got {self.local_steps}")
        if self.lr <= 0:
            raise ValueError(f"lr must be above 0, got {self.lr}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")
        for name, allowed in (("optimizer", _OPTIMIZERS), ("loss", _LOSSES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}; got '{getattr(self, name)}'")
        if self.optimizer == "adam" and self.momentum:
            raise ValueError(f"momentum must be 0 with adam, which has its own, got {self.momentum}")


class LocalRule(Protocol):
    """What an algorithm changes about local SGD, as pure elementwise tensor functions.

    What it may declare: ``core.declarations.Algorithms``.
    """

    def schedule(self, training: LocalTraining) -> LocalTraining:
        """Return the training that this algorithm really runs."""

    def correct(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        """Return the direction of one local step; all [..., P], so that clients can be stacked."""


class Visit(Protocol):
    """One client in one round, as a procedure works there.

    Attributes:
        round: The round, from 0.
        client_id: Stable id.
        num_clients: N, the population.
        num_examples: Examples that the client holds, at least 1.
        received: The broadcast parameters, float32; in ``prepare`` the run's initial ones.  # [P]
        extra: What the server sent besides, float32; ``extras`` vectors.  # [E, P]
        memory: What ``prepare`` returned for this client; None in ``prepare`` itself.
    """

    @property
    def round(self) -> int: ...
    @property
    def client_id(self) -> int: ...
    @property
    def num_clients(self) -> int: ...
    @property
    def num_examples(self) -> int: ...
    @property
    def received(self) -> Tensor: ...
    @property
    def extra(self) -> Tensor: ...
    @property
    def memory(self) -> State: ...

    def gradient(self, params: Tensor, rows: np.ndarray[Any, Any] | None = None) -> tuple[Tensor, Tensor]:
        """Return the gradient [P] of the mean loss over examples (all by default), new, and that loss."""

    def example_gradients(self, params: Tensor, rows: np.ndarray[Any, Any]) -> Tensor:
        """Return each example's gradient, for as many rows as memory should hold.  # [B, P]"""

    def stream(self, purpose: str) -> np.random.Generator:
        """Return the client's own stream of this round."""

    def noise_stream(self, purpose: str) -> np.random.Generator:
        """Return the client's own stream of noise that protects its examples."""


class LocalProcedure(Protocol):
    """An algorithm that is more than a correction of local SGD: both of its halves, as one plug-in.

    It stands where a local rule stands, with ``work`` in place of ``correct``. ``init`` and ``step`` are the
    server's half, in the place of the server optimiser.

    What it may have and declare besides: ``core.declarations.Algorithms``.
    """

    def schedule(self, training: LocalTraining) -> LocalTraining:
        """Return the training that this algorithm really runs."""

    def work(self, visit: Visit) -> tuple[Tensor, Tensor]:
        """Return what the client sends [P], and its mean loss."""

    def init(self) -> State: ...

    def step(self, params: Tensor, aggregate: Tensor, state: State) -> tuple[Tensor, State]: ...


class ModelFactory(Protocol):
    """Build a model for inputs of a shape; a plain function will do."""

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module: ...
