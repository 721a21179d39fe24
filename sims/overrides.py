"""Change single values of a scenario by their dotted path, as ``--set`` and ``[sweep]`` do."""

import tomllib
from copy import deepcopy
from typing import Any

from ..core.errors import PluginError, ScenarioError

PLUGIN_SECTIONS = {
    "data": "datasets",
    "partition": "partitions",
    "model": "models",
    "algorithm": "algorithms",
    "codec": "codecs",
    "defense": "defenses",
    "privacy": "privacy",
    "audit": "audits",
    "sampler": "samplers",
    "network": "networks",
    "server_optimizer": "server_optimizers",
}


def parse(text: str, option: str = "--set") -> tuple[str, Any]:
    """Return (path, value) of ``path=value``; the value is TOML, or else a plain string.

    Raises:
        ScenarioError: There is no ``=``.
    """
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise ScenarioError(f"{option} needs key=value, got '{text}'")
    try:
        return path.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return path.strip(), value.strip()


def parse_list(text: str) -> list[Any]:
    """Return a list as a person types it: a TOML list, or values with commas between."""
    if text.strip().startswith("["):
        value = parse(f"list={text}")[1]
        return value if isinstance(value, list) else [value]
    return [parse(f"item={part}")[1] for part in text.split(",") if part.strip()]


def change(scenario: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy with ``value`` at ``path``, such as ``rounds``, ``defense.name`` or ``attacks.0.count``.

    Another plug-in under ``<section>.name`` keeps those options that it has too; the others go.

    Raises:
        ScenarioError: The path leads through something that has no parts.
    """
    changed = deepcopy(scenario)
    *parents, last = path.split(".")
    here: Any = changed
    for at, key in enumerate(parents):
        here = _descend(here, key, ".".join(parents[: at + 1]), path)
    if isinstance(here, list):
        _descend(here, last, path, path)
        here[int(last)] = value
        return changed
    if last == "name" and len(parents) == 1 and parents[0] in PLUGIN_SECTIONS:
        _rename(here, PLUGIN_SECTIONS[parents[0]], value)
    here[last] = value
    return changed


def _descend(here: Any, key: str, so_far: str, path: str) -> Any:
    if isinstance(here, list):
        if not key.isdigit() or int(key) >= len(here):
            raise ScenarioError(f"'{path}': '{so_far}' is not there; allowed: 0 to {len(here) - 1}")
        return here[int(key)]
    child = here.setdefault(key, {})
    if isinstance(child, str):
        child = here[key] = {"name": child}
    if not isinstance(child, (dict, list)):
        raise ScenarioError(f"'{path}': '{so_far}' is a value ({child!r}) and has no parts")
    return child


def _rename(section: dict[str, Any], family_name: str, name: Any) -> None:
    from ..core.registry import option_names
    from .families import family

    if not isinstance(name, str) or section.get("name") == name:
        return
    try:
        known = option_names(family(family_name).find(name))
    except PluginError:
        return  # the scenario's own check will say it better
    for option in [o for o in section if o != "name"]:
        if known is not None and option not in known:
            del section[option]
