"""Whether a run's epsilon covers the observer whose attack stands beside it.

An epsilon covers who sees what the mechanism releases. Central noise comes to the aggregate on the server:
who listens before that, at one client's message or at the sum of them, sees what no noise covers. Of
distributed noise each message holds a share alone: the sum is covered, one message is not. Local noise is in
every message.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .plain import plugin_table
from .spent import spent_so_far

if TYPE_CHECKING:
    import pandas as pd

_COVERED = {
    "central": "whoever sees the aggregate after the server's noise",
    "distributed": "whoever sees the sum of the clients' messages",
}
_WHY = {
    "central": "which central noise does not cover",
    "distributed": "which holds no more than its own share of the noise",
}


class OfRun(Protocol):
    """What a run says of its guarantee."""

    @property
    def manifest(self) -> Mapping[str, Any]: ...
    @property
    def rounds(self) -> "pd.DataFrame": ...


def covered(run: OfRun, item: object) -> bool:
    """Return whether the run's trust model leaves nobody out who saw what an attack worked on.

    Args:
        run: The run; of one without a mechanism there is nobody to be left out.
        item: A ``Rebuilt`` or an ``Inferred``; with ``contributors`` where it is of a sum of messages.
    """
    trust, sum_alone = _trust(run), getattr(item, "contributors", None) is not None
    return trust not in _COVERED or (trust == "distributed" and sum_alone)


def uncovered(run: OfRun, items: "list[Any]") -> str | None:
    """Return in one line whom a run's epsilon does not cover of those who attacked; None where it covers all.

    Args:
        run: The run; without an epsilon nothing is promised to anybody, and nothing is to be said.
        items: What was rebuilt and inferred.
    """
    if spent_so_far(run.manifest, run.rounds)["value"] is None:
        return None
    trust, bare = _trust(run), [item for item in items if not covered(run, item)]
    if not bare:
        return None
    attacks = ", ".join(dict.fromkeys(str(item.attack).rpartition(":")[2] for item in bare))
    sums = {getattr(item, "contributors", None) is not None for item in bare}
    seen = {True: "the sum of the clients' messages", False: "one client's message"}
    sees = " or ".join(seen[one] for one in sorted(sums))
    mechanism = plugin_table(run.manifest["scenario"].get("privacy", "none"))["name"]
    return (
        f"the epsilon of {mechanism} covers {_COVERED[trust]}; the observer of {attacks} sees {sees}, "
        f"{_WHY[trust]}"
    )


def _trust(run: OfRun) -> str:
    said = run.manifest.get("guarantee")
    if isinstance(said, Mapping) and isinstance(said.get("trust_model"), str):
        return str(said["trust_model"])
    told = run.rounds["trust_model"].iloc[-1] if "trust_model" in run.rounds and len(run.rounds) else None
    return told if isinstance(told, str) else "none"
