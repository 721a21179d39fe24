"""What frozen models make of the batches of a stack's next steps, asked for together.

They do not change while clients train, so that a batch of several steps is one pass over their parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from ...core.contracts import Groups
    from ..tracing.stack_step import StackedStep
    from .shelf import Shelf


class FrozenAhead:
    """The frozen models of a stack of clients."""

    def __init__(
        self, step: StackedStep, begun: Sequence[Tensor], own: Sequence[Groups], shelf: Shelf, rows: Tensor
    ) -> None:
        """Take what asks for them, what makes them, and which examples each step takes.

        Args:
            step: The stack's, with an addition.
            begun: The received parameters, tensor by tensor.
            own: What the clients remember, likewise.  # [K, ...] each
            shelf: Where the examples lie.
            rows: The rows of the shelf of each client's steps.  # [S, K, B]
        """
        assert step.added is not None
        self._step, self._models, self._shelf, self._rows = step, step.added.models, shelf, rows
        self._begun, self._own = begun, own
        self._values: list[Tensor] = []  # [n, K, B, ...] each, of steps from ``_first`` on
        self._first = self._behind = 0

    def of(self, s: int, height: int) -> list[Tensor]:
        """Return what they make of step ``s``, for the first clients: steps ascend, ``height`` descends.

        As ``StackedStep.ahead`` returns it.  # [height, B, ...] each
        """
        if s >= self._behind:
            steps, _, size = self._rows.shape
            self._first, self._behind = s, min(steps, s + max(1, self._step.at_once // size))
            rows = self._rows[s : self._behind, :height].transpose(0, 1)  # [height, n, B]
            models = self._models(self._begun, self._own, height)
            found = self._step.ahead(models, self._shelf.take(rows.flatten(1)))
            each = rows.shape  # [height, n, B]
            apart = (value.reshape(*each, *value.shape[2:]).transpose(0, 1) for value in found)
            self._values = [value.contiguous() for value in apart]  # traces take what lies as they saw it
        return [value[s - self._first, :height] for value in self._values]
