"""Change single values of a scenario by their dotted path, as ``--set`` and ``[sweep]`` do."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from ..core.errors import PluginError, ScenarioError
from .plain import plugin_table, read_toml

PLUGIN_SECTIONS = {
    "data": "datasets",
    "partition": "partitions",
    "model": "models",
    "task": "tasks",
    "algorithm": "algorithms",
    "codec": "codecs",
    "codec_down": "codecs",
    "defense": "defenses",
    "privacy": "privacy",
    "client_defense": "client_defenses",
    "audit": "audits",
    "sampler": "samplers",
    "network": "networks",
    "schedule": "schedules",
    "server": "servers",
    "server_optimizer": "server_optimizers",
    "track": "trackers",
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
        found = read_toml(f"value = {value}")
    except ValueError:
        return path.strip(), value.strip()
    return path.strip(), found["value"] if len(found) == 1 else value.strip()


def parse_list(text: str) -> list[Any]:
    """Return a list as a person types it: a TOML list, or values with commas between."""
    if text.strip().startswith("["):
        value = parse(f"list={text}")[1]
        return value if isinstance(value, list) else [value]
    return [parse(f"item={part}")[1] for part in text.split(",") if part.strip()]


def parse_over(texts: Iterable[str]) -> dict[str, list[Any]]:
    """Return values by key, as ``--over KEY=[VALUE, ...]`` gives them.

    Raises:
        ScenarioError: Something else than a list, or a key that stands twice.
    """
    found: dict[str, list[Any]] = {}
    for text in texts:
        key, values = parse(text, "--over")
        if not isinstance(values, list):
            raise ScenarioError(f"--over needs a list, KEY=[VALUE, ...], got '{text}'")
        if key in found:
            raise ScenarioError(f"--over names '{key}' twice; give all of its values in one list")
        found[key] = values
    return found


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
            numbers = f"allowed: 0 to {len(here) - 1}" if here else "the list is empty"
            raise ScenarioError(f"'{path}': '{so_far}' is not there; {numbers}")
        return here[int(key)]
    following = path[len(so_far) + 1 :].partition(".")[0]
    child = here.setdefault(key, [] if following.isdigit() else {})
    if isinstance(child, str):
        child = here[key] = plugin_table(child)
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


def check_swept(
    options: Iterable[str], sweep: Mapping[str, Sequence[Any]], over: Collection[str] = ()
) -> None:
    """Check that no ``--set`` is lost to a sweep that sets the same value in every run.

    Args:
        options: What ``--set`` was given: ``path=value``.
        sweep: The swept values, by their keys.
        over: Those of the keys that ``--over`` names; the others are of the scenario's ``[sweep]``.

    Raises:
        ScenarioError: One would be lost.
    """
    for option in options:
        path, value = parse(option)
        for key in (k for k, values in sweep.items() if _wins(k, values, path, value)):
            who, way = "the scenario's [sweep]", "--set 'sweep={}' runs it once, without its sweep"
            if key in over:
                who, way = "--over", "give one of the two"
            raise ScenarioError(f"--set {option} would be lost: {who} sets '{key}' in every run; {way}")


def _wins(key: str, values: Iterable[Any], path: str, value: Any) -> bool:
    """Return whether a sweep's ``key`` replaces what ``path=value`` changed."""
    if f"{path}.".startswith(f"{key}."):
        return True
    if key.startswith(f"{path}."):
        return _holds(value, key.removeprefix(f"{path}.").split("."))
    section, _, last = key.rpartition(".")
    option = path.removeprefix(f"{section}.").partition(".")[0]
    if last != "name" or section not in PLUGIN_SECTIONS or not path.startswith(f"{section}."):
        return False
    renamed = [change({section: {"name": "", option: value}}, key, name) for name in values]
    return all(option not in one[section] for one in renamed)


def _holds(value: Any, parts: Sequence[str]) -> bool:
    """Return whether a value has something at the path of these parts; a plug-in's name is a table."""
    for part in parts:
        table = plugin_table(value)
        if isinstance(table, list):
            table = {str(number): one for number, one in enumerate(table)}
        if not isinstance(table, dict) or part not in table:
            return False
        value = table[part]
    return True
