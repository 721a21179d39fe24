"""``gauntlet.attack``: what later attacks made of recorded messages, as one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ScenarioError
from ..server.spec import PluginSpec
from .attack_table import attack_named
from .live_values import plain_values
from .plain import check_plain, plugin_table, read_json
from .probes import submit_later, submit_to_ray
from .reattack import Finding, attack_again
from .reconstruct import NAME, make_attack
from .recorded import recorded
from .scenario import absolute
from .spread import spread

if TYPE_CHECKING:
    import pandas as pd

_SCORES = {"psnr": "psnr", "token_accuracy": "tokens"}  # from a report's key to the columns' beginning


def specs_of(attacks: Sequence[Any]) -> list[PluginSpec]:
    """Return attacks by name and options, each of which exists and takes them.

    Raises:
        ScenarioError: One is neither a name, nor a table with one, nor a live object.
        PluginError: There is no such attack, or it takes other options.
    """
    found = []
    for one in attacks:
        value = absolute(plain_values(one), Path())
        check_plain(value, "attack")
        table = plugin_table(value)
        if not (isinstance(table, dict) and isinstance(table.get("name"), str)):
            raise ScenarioError(f"an attack needs a name, or a table with one, got {one!r:.60}")
        spec = PluginSpec(table["name"], {k: v for k, v in table.items() if k != "name"})
        make_attack(spec)
        found.append(spec)
    return found


def attacked_table(
    folders: Sequence[str], attacks: Sequence[PluginSpec], pool: str, allow_code: bool
) -> pd.DataFrame:
    """Attack every recorded message, and return one row a message and attack; see ``api.attack``."""
    import pandas as pd

    if pool not in ("serial", "ray"):
        raise ScenarioError(f"pool must be 'serial' or 'ray', got {pool!r}")
    if pool == "ray":
        from ..clients.pools.ray import start_ray

        start_ray()
    submit = submit_to_ray if pool == "ray" else submit_later
    return pd.DataFrame([_row(one) for one in attack_again(recorded(folders, allow_code), attacks, submit)])


def _row(one: Finding) -> dict[str, Any]:
    parts = [part for place in one.places if (part := NAME.fullmatch(place.name))]
    row: dict[str, Any] = {
        "run": str(one.run.folder),
        "rounds": [int(part[1]) for part in parts],
        "client": int(parts[0][2]) if parts else None,
        "attack": attack_named(one.attack),
        "told": one.letter,
        "refused": one.refusal,
    }
    return row if one.result is None else row | _scores(one.result) | {"result": str(one.result)}


def _scores(result: Path) -> dict[str, float | None]:
    """Return what is measured of a result."""
    path = result / "reconstruction.json" if result.is_dir() else result
    report: dict[str, Any] = read_json(path.read_text(encoding="utf-8"))
    found: dict[str, float | None] = {}
    for key, name in _SCORES.items():
        if report.get(key):
            found |= {f"{name}_{word}": value for word, value in spread(report[key], key).items()}
    return found | {key: report[key] for key in ("label_accuracy", "auc") if report.get(key) is not None}
