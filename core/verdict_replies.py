"""What a defense hands back, looked at where it comes in and where ``check-plugin`` tries it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .contracts import Verdict
from .errors import PluginError, shown
from .updates import Updates
from .wanted import is_float, is_plain, is_word, kind_of, pair, vector, want


def judged(came: Any, updates: Updates, *_: object) -> None:
    """Look at what ``aggregate`` returned.

    Raises:
        PluginError: It is no pair (Verdict, state), or the verdict holds what cannot be applied or recorded.
    """
    found = pair(came, "Verdict")
    want(isinstance(found, Verdict), "a pair (Verdict, state)", came)
    vector(found.aggregate, updates.vectors.shape[1], "an aggregate")
    w = found.weights
    fine = w is None or (is_plain(w) and w.shape == (len(updates),) and not w.is_complex())
    want(fine, f"weights as None or a tensor [{len(updates)}]", w)
    _by_client(found.flags, "flags", "a word", is_word)
    _by_client(found.scores, "scores", "a number", is_float)
    _by_client(found.details, "details", "a table of numbers by name", _is_table)
    want(is_word(found.fallback), "fallback as a word, empty where there is none", found.fallback)


def _by_client(came: Any, name: str, what: str, fits: Callable[[object], bool]) -> None:
    want(isinstance(came, Mapping), f"{name} as a table by client id", came)
    for client, value in came.items():
        if not (isinstance(client, int | np.integer) and fits(value)):
            raise PluginError(
                f"must return {name} as {what} by client id, got {kind_of(value)} for {shown(client)}"
            )


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping) and all(is_word(k) and is_float(v) for k, v in value.items())
