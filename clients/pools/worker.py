"""What a worker does with a block, however the block came: a kernel on one thread; and a scorer."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core import errors
from ...core.errors import GauntletError, WorkerError
from ..data.base import FederatedData
from ..placement.device import one_thread
from .base import Kernel

if TYPE_CHECKING:
    from ..exchange.messages import Broadcast
    from ..scoring.scorer import BuildScorer, ScoredExamples, Scorer

Array = np.ndarray[Any, Any]
BuildKernel = Callable[[FederatedData], Kernel]
"""Builds a worker's kernel from the shared data: a module's function, or a partial of one."""


class Actor:
    """A worker's process, for one run after another."""

    _worker: Worker

    def begin(self, *ingredients: Any) -> None:
        """Be the worker of a run; see ``Worker``."""
        self._worker = Worker(*ingredients)

    def rest(self) -> None:
        """Let go of a run's data and model."""
        del self._worker
        gc.collect()


class Worker:
    """A kernel, and a scorer once a model is to be scored."""

    def __init__(
        self,
        build: BuildKernel,
        data: FederatedData,
        build_scorer: BuildScorer | None = None,
        examples: ScoredExamples | None = None,
    ) -> None:
        self._kernel: Kernel | Exception
        self._data, self._build_scorer, self._examples = data, build_scorer, examples
        self._scorer: Scorer | None = None
        try:
            with one_thread():
                self._kernel = build(data)
        except Exception as error:  # told to whoever asks for a block
            self._kernel = error

    def do(self, method: str, received: Broadcast, ids: Array) -> tuple[str, list[Array]]:
        """Return a block's arrays after an empty text; or what was raised, as text, and no arrays.

        An error crosses to the server as its name and one line, never as an object. The caller
        sees to it that torch has one thread.
        """
        try:
            return "", getattr(self._doer(method), method)(received, ids).arrays()
        except Exception as error:
            own = isinstance(error, GauntletError)
            name, text = type(error).__name__, (str(error).splitlines() or [""])[0]
            return f"{name}\n{text}" if own else f"WorkerError\na worker raised {name}: {text}", []

    def _doer(self, method: str) -> Any:
        """Return who does what is asked; a scorer is built when it is first asked."""
        if isinstance(self._kernel, Exception):
            raise self._kernel
        if method != "score":
            return self._kernel
        if self._scorer is None:
            assert self._build_scorer is not None
            assert self._examples is not None
            self._scorer = self._build_scorer(self._data, self._examples)
        return self._scorer


def raised(told: str) -> GauntletError:
    """Return the error that ``Worker.do`` told of."""
    name, _, text = told.partition("\n")
    kind = getattr(errors, name, WorkerError)
    return (kind if isinstance(kind, type) and issubclass(kind, GauntletError) else WorkerError)(text)
