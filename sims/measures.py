"""What tells how a model does on the test set: the columns of a run's rounds, and what they are called."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

_CALLED: Mapping[str, str] = {"rmse": "RMSE", "mae": "MAE"}


class _Kept(Protocol):
    @property
    def manifest(self) -> Mapping[str, Any]: ...


def called(column: str) -> str:
    """Return what a column that tells how a model does is called."""
    return _CALLED.get(column, column.replace("_", " "))


def measured(runs: Sequence[_Kept]) -> list[str]:
    """Return what the tasks of all these runs measure besides loss, accuracy and errors, by column."""
    named = [list(run.manifest.get("metrics", [])) for run in runs]
    return [name for name in named[0] if all(name in others for others in named)] if named else []
