"""The scenarios that ship with the package, found without reading any."""

from pathlib import Path

_SHELVES = ("scenarios", "papers")


def scenario_names() -> dict[str, Path]:
    """Return the scenarios that ship with the package, by name."""
    here = Path(__file__).parent
    return {p.stem: p for shelf in _SHELVES for p in sorted((here / shelf).glob("*.toml"))}
