"""What an epsilon must be read with: its delta, the unit, whom it trusts, what neighbours differ in."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

TERMS: Mapping[str, str] = {
    "delta": "delta",
    "unit": "unit",
    "trust_model": "trust model",
    "relation": "relation",
}
"""From a key of a manifest's ``guarantee`` to what it is called."""


class _Kept(Protocol):
    @property
    def manifest(self) -> Mapping[str, Any]: ...


def terms_of(runs: Sequence[_Kept]) -> dict[str, str | None]:
    """Return each term of runs of one name in words; several, where they differ, with " or " between."""
    found: dict[str, str | None] = {}
    for key in TERMS:
        told = [(run.manifest.get("guarantee") or {}).get(key) for run in runs]
        words = [format(v, ".3g") if isinstance(v, int | float) else str(v) for v in told if v is not None]
        found[key] = " or ".join(dict.fromkeys(words)) or None
    return found


def terms_in_words(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what goes with the epsilons of a table; nothing without one.

    Args:
        rows: As ``summary.summary_rows`` gives them.
    """
    parts = []
    for key, word in TERMS.items():
        holders: dict[str, list[str]] = {}
        for row in rows:
            if row["epsilon"] is not None and row[key]:
                holders.setdefault(row[key], []).append(row["run"])
        several = len(holders) > 1
        told = [f"{value} ({', '.join(runs)})" if several else value for value, runs in holders.items()]
        parts += [f"{word} {', '.join(told)}"] if told else []
    return f"epsilon with {'; '.join(parts)}" if parts else ""
