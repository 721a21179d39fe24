"""Algorithms with a procedure of their own, and what a client is in their hands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from torch import Tensor, nn

if TYPE_CHECKING:
    from ..directions import Directions
    from ..layout import Layout
    from ..trees import State
    from .clients import LocalTraining


class Visit(Protocol):
    """One client in one round, as a procedure works there.

    Attributes:
        round: The round, from 0.
        client_id: Stable id.
        num_clients: N, the population.
        num_examples: Examples that the client holds, at least 1.
        received: The broadcast parameters, float32; in ``prepare`` the run's initial ones.  # [P]
        extra: What the server sent besides, float32: ``extras`` vectors, or all of ``shared`` in one row;
            zeros in ``prepare``.  # [E, P]
        shared: The same by tensor, of a procedure that declares ``down``.
        own: What the client remembers, by tensor, of one that declares ``memory``; empty in ``prepare``.
        memory: What ``prepare`` returned for this client; None in ``prepare`` itself.
        training: How clients train, as the procedure schedules it.
        layout: How the parameters lie in a vector.
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
    def shared(self) -> Mapping[str, Tensor]: ...
    @property
    def own(self) -> Mapping[str, Tensor]: ...
    @property
    def memory(self) -> State: ...
    @property
    def training(self) -> LocalTraining: ...
    @property
    def layout(self) -> Layout: ...

    def of(self, client_id: int) -> Visit:
        """Return the same visit to the examples of a client that this one has ``replicas`` of.

        In a block of clients each gradient of them is taken once, whoever asks for it.

        Raises:
            ValueError: It has none of that client's.
        """

    def gradient(self, params: Tensor, rows: np.ndarray[Any, Any] | None = None) -> tuple[Tensor, Tensor]:
        """Return the gradient [P] of the mean loss over examples (all by default), new, and that loss."""

    def example_gradients(
        self, params: Tensor, rows: np.ndarray[Any, Any], targets: Tensor | None = None
    ) -> Tensor:
        """Return each example's gradient, for as many rows as memory should hold.  # [B, P]

        With ``targets`` [B, ...] as if the examples had these labels.
        """

    def outputs(self, params: Tensor, rows: np.ndarray[Any, Any]) -> Tensor:
        """Return what the model makes of examples, without gradient.  # [B, ...]"""

    def losses(self, params: Tensor, rows: np.ndarray[Any, Any] | None = None) -> Tensor:
        """Return the mean loss of each of some parameters [L, P] over examples, all by default.  # [L]"""

    def slope(
        self, params: Tensor, direction: Tensor, rows: np.ndarray[Any, Any] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the derivative of the mean loss along a direction [P], in forward mode, and that loss."""

    def batches(self) -> list[np.ndarray[Any, Any]]:
        """Return the rows of each local step: those that local SGD would take in this round."""

    def examples(self, rows: np.ndarray[Any, Any]) -> tuple[Tensor, Tensor]:
        """Return the inputs and the labels or targets of some rows."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss that ``training`` names.  # []"""

    def differentiated(
        self, params: Tensor, value: Callable[[nn.Module], tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """Return the gradient of a number made of the model at some parameters, and what comes with it.

        The gradient [P] is new, and 0 where the number does not depend on a parameter.

        Args:
            params: Where.  # [P]
            value: Given the model, in evaluation mode, returns the number that is differentiated, [], and
                what is returned as it is, such as the loss. It must leave the model as it was.
        """

    def directions(self, count: int, pool: int | None = None) -> Directions:
        """Return random directions that whoever decodes the client's message of this round draws, too."""

    def stream(self, purpose: str) -> np.random.Generator:
        """Return the client's own stream of this round."""

    def noise_stream(self, purpose: str) -> np.random.Generator:
        """Return the client's own stream of noise that protects its examples."""


@dataclass(frozen=True)
class Worked:
    """What a client's visit comes to.

    Attributes:
        message: What it sends, float32.  # [M]
        loss: Its mean loss.  # []
        memory: What it will remember if its message is counted, float32; None of a procedure that declares
            no ``memory``.  # [S]
        facts: What it states beside the message, by the names of the procedure's ``facts``.
        examples: How many examples it worked on, at least 1, as its message claims and the network's clock
            counts; None: those that it was dealt.
    """

    message: Tensor
    loss: Tensor
    memory: Tensor | None = None
    facts: Mapping[str, float | Tensor] = field(default_factory=dict)
    examples: int | None = None


class LocalProcedure(Protocol):
    """An algorithm that is more than a correction of local SGD: both of its halves, as one plug-in.

    It stands where a local rule stands, with ``work`` in place of ``correct``. ``init`` and ``step`` are the
    server's half, in the place of the server optimiser.

    It may declare ``up``, ``down`` and ``memory`` as an ``ExchangingRule`` does, with tensors of any shapes;
    in ``down`` the parameters come first, as the group ``params``. Then ``extra(params, state)`` returns what
    stands behind them in one vector, ``start(params)`` returns the first memory [S], and ``step`` is also
    given its ``share``.

    What it may have and declare besides: ``core.declarations.Algorithms``.
    """

    def schedule(self, training: LocalTraining) -> LocalTraining:
        """Return the training that this algorithm really runs."""

    def work(self, visit: Visit) -> tuple[Tensor, Tensor] | Worked:
        """Return what the client sends [M], and its mean loss."""

    def init(self) -> State: ...

    def step(self, params: Tensor, aggregate: Tensor, state: State) -> tuple[Tensor, State]: ...
