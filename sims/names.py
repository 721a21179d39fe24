"""The names of plug-ins, scenarios and plots, found without loading any: for overviews and the shell.

A family's table of built-ins is read as text: importing it would load torch, which takes seconds.
"""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ..core.installed import installed as offered_by_packages
from .places import PLACES

GROUPS = {
    "attacks": ("data_attacks", "update_attacks", "leakage_attacks", "inference_attacks", "servers"),
}
"""Names for several families."""

_TABLE = re.compile(r'Family\(\s*"(\w+)",(.*?)^    \}', re.DOTALL | re.MULTILINE)
_ENTRY = re.compile(r'^ {8}"([\w-]+)": "gauntlet\.[\w.]+:\w+",$', re.MULTILINE)


def plugin_names(family: str) -> list[str]:
    """Return every name of a family that needs no colon, as ``Family.names``."""
    built_in = _tables(PLACES[family].partition(":")[0])[family]
    outside = sorted(offered_by_packages(family))
    return [*built_in, *(name for name in outside if name not in built_in)]


@cache
def _tables(module: str) -> dict[str, list[str]]:
    """Return the built-ins of each family whose table stands in a package's ``__init__``."""
    root = Path(__file__).parents[1]
    text = root.joinpath(*module.split(".")[1:], "__init__.py").read_text(encoding="utf-8")
    return {name: _ENTRY.findall(body.partition("schemes=")[0]) for name, body in _TABLE.findall(text)}


def every_plugin() -> list[str]:
    """Return the names of all plug-ins, each once."""
    return list(dict.fromkeys(name for family in PLACES for name in plugin_names(family)))


def installed(package: str) -> bool:
    """Return whether there is a package, without importing it.

    A folder of its name without code is none: W&B leaves such a one where it ran.
    """
    found = find_spec(package)
    return found is not None and found.loader is not None
