"""Arrays and DataFrames as the data of a scenario: as if ``npz`` or ``csv`` read them from a file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..clients.data.column import in_words
from ..clients.data.held import NEEDED, OPTIONAL, Arrays, Frame
from ..core.errors import ScenarioError, shown
from ..core.live import hold


def described_data(value: Any) -> Any:
    """Return the plain table of data that are arrays or a DataFrame; anything else as it is.

    Args:
        value: ``(x, y)``, or a table with arrays or a DataFrame in the place of ``name`` or ``path``, or with
            arrays under the names that ``npz`` knows.

    Raises:
        ScenarioError: A pair or a list that is none of arrays, or a DataFrame without its label.
    """
    if _is_frame(value):
        raise ScenarioError(
            "a DataFrame needs its label: data={'name': frame, 'label': 'a column'}; more options as of csv"
        )
    if isinstance(value, tuple | list):
        return _of_pair(value)
    if not isinstance(value, Mapping):
        return value
    told, named = dict(value), value.get("name")
    if isinstance(named, tuple | list):
        told |= _of_pair(named)
    elif _is_frame(named):
        told |= {"name": "csv", "path": named}
    arrays = {key: told.pop(key) for key in (*NEEDED, *OPTIONAL) if _is_array(told.get(key))}
    if arrays:
        if told.setdefault("name", "npz") != "npz" or "path" in told:
            raise ScenarioError(f"data: arrays ({', '.join(arrays)}) go with 'npz', and without a path")
        told["path"] = _held_arrays(arrays)
    frames = {key: _held_frame(told[key]) for key in ("path", "test_path") if _is_frame(told.get(key))}
    return {**told, **frames}


def hold_again(thing: Any) -> bool:
    """Hold arrays or a DataFrame again for a run that was made of them; return whether it is such a thing.

    Args:
        thing: As ``data`` takes it; of a DataFrame itself.
    """
    if _is_frame(thing):
        _held_frame(thing)
    elif isinstance(thing, tuple) and _is_pair(thing):
        _of_pair(thing)
    elif isinstance(thing, Mapping) and any(_is_array(one) or _is_frame(one) for one in thing.values()):
        described_data(thing)
    else:
        return False
    return True


def _of_pair(pair: Any) -> dict[str, Any]:
    if not _is_pair(pair):
        raise ScenarioError(
            "data must be a name, a table of a name and options, a data set, or arrays (x, y), got "
            f"{shown(type(pair).__name__)} of {', '.join(type(one).__name__ for one in pair) or 'nothing'}"
        )
    return {"name": "npz", "path": _held_arrays(dict(zip(NEEDED, pair, strict=True)))}


def _held_arrays(arrays: Mapping[str, Any]) -> str:
    return hold(Arrays({name: _plain_array(value) for name, value in arrays.items()}))


def _plain_array(value: Any) -> Any:
    """Return an array of numpy's own, which no later change of what was handed over reaches."""
    return np.array(value.detach().cpu().numpy() if hasattr(value, "detach") else value)


def _held_frame(frame: Any) -> str:
    names = [str(name).strip() for name in frame.columns]
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise ScenarioError(f"data: column {twice[0]!r} stands there twice in the DataFrame")
    return hold(Frame({name: in_words(frame.iloc[:, n]) for n, name in enumerate(names)}))


def _is_pair(value: Any) -> bool:
    return len(value) == 2 and all(_is_array(one) or _is_frame(one) for one in value)


def _is_array(value: Any) -> bool:
    return getattr(value, "shape", ()) != () and hasattr(value, "__array__") and not _is_frame(value)


def _is_frame(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)
