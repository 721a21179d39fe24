"""Replicas of other clients' examples that a client has, where a procedure says so (``replicas``).

Many clients of a block look at the same examples, at the same parameters: each gradient is taken once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from torch import Tensor

from ...core.declarations import Algorithms, declared

if TYPE_CHECKING:
    from ...core.contracts import LocalProcedure
    from .procedure import ClientVisit

Array = np.ndarray[Any, Any]
V = TypeVar("V")
_NUMBERS = 2**24  # of gradients that are kept at most, if these are not fewer than _GRADIENTS
_GRADIENTS = 64


class ReplicatedExamples:
    """What the clients of one block in one round see of each other's examples."""

    def __init__(self, procedure: LocalProcedure, num_clients: int, num_parameters: int) -> None:
        self._replicas = declared(procedure, Algorithms.replicas)
        self._num_clients = num_clients
        self._most = max(_GRADIENTS, _NUMBERS // max(1, num_parameters))
        self._asked: dict[int, Sequence[int]] = {}
        self._last: tuple[Tensor | None, int, bytes] = (None, 0, b"")
        self._visits: OrderedDict[int, ClientVisit] = OrderedDict()
        self._gradients: OrderedDict[tuple[int, bytes, bytes], tuple[Tensor, Tensor]] = OrderedDict()

    def of(self, visit: ClientVisit, client_id: int) -> ClientVisit:
        """Return a client's visit to the examples of another one, or to its own.

        Raises:
            ValueError: It has no replicas of these.
        """
        has = self._had_by(visit.client_id)
        if client_id not in has:
            raise ValueError(
                f"client {visit.client_id} has no replicas of client {client_id}'s examples; allowed: "
                f"{', '.join(map(str, has)) or 'none, since the algorithm declares no replicas'}"
            )

        def seen() -> ClientVisit:
            x, y = visit.visits.examples_of(client_id, visit.round)
            return replace(visit, client_id=client_id, x=x, y=y, memory=None, own={}, known=self)

        return _kept(self._visits, client_id, seen, 2 * len(has))

    def _had_by(self, client_id: int) -> Sequence[int]:
        if client_id not in self._asked:
            found = () if self._replicas is None else self._replicas(client_id, self._num_clients)
            self._asked[client_id] = found
        return self._asked[client_id]

    def gradient(
        self, client_id: int, params: Tensor, rows: Array | None, take: Callable[[], tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """Return a gradient at some of a client's examples and the loss there, taken anew or as before."""
        which = b"" if rows is None else np.asarray(rows).tobytes()
        gradient, loss = _kept(self._gradients, (client_id, self._digest(params), which), take, self._most)
        return gradient.clone(), loss.clone()

    def _digest(self, params: Tensor) -> bytes:
        """Return what tells parameters from others; not anew of a tensor that nobody wrote to since."""
        last, version, digest = self._last
        if params is not last or params._version != version:
            digest = blake2b(params.numpy(force=True).tobytes(), digest_size=16).digest()
            self._last = params, params._version, digest
        return digest


def _kept(known: OrderedDict[Any, V], key: object, make: Callable[[], V], most: int) -> V:
    """Return what is known by a key, or make it; what was not asked for the longest is forgotten."""
    if key not in known:
        known[key] = make()
    known.move_to_end(key)
    while len(known) > most:
        known.popitem(last=False)
    return known[key]
