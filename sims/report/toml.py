"""A scenario's plain values as TOML, and the command that runs it again."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import PureWindowsPath
from typing import Any

from ...core.errors import GauntletError
from ..scenario import load_scenario
from ..shelves import scenario_names

_PLACE = ("runtime",)  # never changes a result
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_of(values: Mapping[str, Any]) -> str:
    """Return plain values as TOML, tables in one line each; None and what is empty are left out."""
    kept = {key: value for key, value in values.items() if value not in (None, [], {})}
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in kept.items())


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _word(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None)
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return _word(value) if isinstance(value, str) else repr(value)


def _word(word: str) -> str:
    """Return a basic string: TOML escapes as JSON does, and the letter DEL besides."""
    return json.dumps(word, ensure_ascii=False).replace("\x7f", "\\u007f")


def command_of(values: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the shell command that runs a scenario again, and whether it needs the scenario as a file.

    A scenario that ships with the package is run by its name, with what differs as ``--set``: whole sections,
    so that no plug-in that is named is loaded to find that out. It is tried: where the command would not give
    the same values, it runs a file.
    """
    name = str(values.get("name", ""))
    if name in scenario_names():
        try:
            base = load_scenario(name).values()
            changes = {k: v for k, v in values.items() if k not in _PLACE and v != base.get(k)}
            if (
                _decides(load_scenario(name, changes).values()) == _decides(values)
                and None not in changes.values()
            ):
                words = [w for k, v in changes.items() for w in ("--set", f"{k}={_value(brief(v))}")]
                return shlex.join(["gauntlet", "run", name, *words]), False
        except (GauntletError, AttributeError):
            pass
    safe = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "scenario"
    return shlex.join(["gauntlet", "run", f"{safe}.toml"]), True


def brief(value: Any) -> Any:
    """Return plain values in which plug-ins of files are named without the folders above the file.

    What a page shows is read by others, who have other folders: they put the file beside the scenario.
    """
    if isinstance(value, Mapping):
        return {key: brief(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [brief(one) for one in value]
    place, colon, attribute = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not (colon and place.endswith(".py") and attribute.isidentifier()):
        return value
    return f"{PureWindowsPath(place).name}:{attribute}"  # which parts paths at both kinds of slashes


def _decides(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in _PLACE}
