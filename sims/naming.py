"""What runs and plug-ins are called in tables and pictures: what tells them apart, and nothing they share."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..core.live import class_of, is_live
from .plain import plugin_table
from .terminal import readable

APART = {"name", "seed", "description", "sweep", "matrix", "checkpoint", "evaluation", "probes"}
APART |= {"runtime", "track", "max_delta", "vectorize", "device", "compile"}  # where and how clients run
"""Keys of a scenario that tell no two runs apart in what they show."""


class Named(Protocol):
    """What a run's name is made of: its manifest, and the result folder that it was loaded from."""

    @property
    def origin(self) -> str: ...
    @property
    def manifest(self) -> Mapping[str, Any]: ...


def run_names(runs: Sequence[Named]) -> list[str]:
    """Return each run's name; runs of one name differ in their seed alone.

    A name is the run's label, or else its scenario's name. Where runs of several scenarios meet, the scenario
    stands before the label; where runs of one name were told different things, these stand behind it; where
    two are left with the same seed, their result folder stands in front. Parts that all names have are left
    out.
    """
    several = len({scenario_name(run) for run in runs}) > 1
    names = [_label(run, several) for run in runs]
    for name in dict.fromkeys(names):
        alike = [place for place, other in enumerate(names) if other == name]
        if len(alike) == 1:
            continue  # nothing to be told apart from
        told = _differences([settings(runs[place].manifest["scenario"]) for place in alike])
        for place, words in zip(alike, told, strict=True):
            names[place] = ", ".join([name, *words])
    if len({(n, run.manifest["seed"]) for n, run in zip(names, runs, strict=True)}) < len(runs):
        names = [f"{run.origin}: {n}" if run.origin else n for n, run in zip(names, runs, strict=True)]
    return [readable(name) for name in without_shared(names)]


def scenario_name(run: Named) -> str:
    """Return the name of a run's scenario."""
    return readable(run.manifest["scenario"].get("name") or "run")


def _label(run: Named, several: bool) -> str:
    label, scenario = str(run.manifest.get("label") or ""), scenario_name(run)
    return f"{scenario}: {label}" if several and label else label or scenario


def settings(scenario: Mapping[str, Any]) -> dict[str, str]:
    """Return everything that decides a run but its seed, by dotted path, in words."""
    flat: dict[str, str] = {}
    for key, value in completed(scenario).items():
        if key not in APART:
            flat |= _flat(value, key)
    return flat


def completed(scenario: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest's scenario; plain values that its version did not know yet are at their defaults."""
    from .scenario import Scenario

    defaults = {name: field.default for name, field in Scenario.model_fields.items()}
    return {k: v for k, v in defaults.items() if isinstance(v, str | int | float)} | dict(scenario)


def _flat(value: Any, path: str) -> dict[str, str]:
    """Return a value's parts by their dotted paths; a plug-in's name stands at the path itself."""
    if not isinstance(value, Mapping):
        return {path: _words(value)}
    parts: dict[str, str] = {path: ""} if not value else {}
    for key, one in value.items():
        parts |= _flat(one, path if key == "name" else f"{path}.{key}" if path else key)
    return parts


def _words(value: Any) -> str:
    """Return a value as a name says it: a plug-in by its own name and options."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_words, value))}]"
    if isinstance(value, Mapping):
        options = [f"{key}={_words(one)}" for key, one in value.items() if key != "name"]
        return " ".join([*([_words(value["name"])] if "name" in value else []), *options])
    return class_name(str(value))


def class_name(name: str) -> str:
    """Return of ``path/to/file.py:Class`` or a live object's name the class, of anything else all."""
    if is_live(name):
        return class_of(name)
    file, _, attribute = name.rpartition(":")
    return attribute if file.endswith(".py") else name


def means(typed: object, stored: object) -> bool:
    """Return whether what somebody typed names what is stored.

    A plug-in of a file is named by its class alone, or by the end of its path: ``file.py:Class``.
    """
    if not (isinstance(typed, str) and isinstance(stored, str)):
        return bool(typed == stored)
    short = class_name(stored)
    if typed in (stored, short):
        return True
    place, _, attribute = typed.rpartition(":")
    if not place.endswith(".py") or attribute != short:
        return False
    whole, ending = Path(stored.rpartition(":")[0]).parts, Path(place).parts
    return whole[-len(ending) :] == ending or not stored.rpartition(":")[0]


def _differences(told: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """Return of each table those ``key = value`` that are not in all of them."""
    keys = [
        key for key in dict.fromkeys(k for one in told for k in one) if len({t.get(key) for t in told}) > 1
    ]
    short = dict(zip(keys, short_keys(keys), strict=True))
    return [[f"{short[key]} = {one[key]}" for key in keys if key in one] for one in told]


def short_keys(keys: Sequence[str]) -> list[str]:
    """Return each key without ``.name``: its last part alone where no other key ends like it."""
    whole = [key.removesuffix(".name") for key in keys]
    last = [key.rpartition(".")[2] for key in whole]
    return [end if last.count(end) == 1 else key for key, end in zip(whole, last, strict=True)]


def plugin_label(value: Any, among: Sequence[Any]) -> str:
    """Return a value, or a plug-in's name and those options that tell it from its namesakes.

    One that wraps another stands behind it: ``topk + error_feedback``.

    Args:
        value: A plain value, a plug-in's name, or a table of its name and options.
        among: All values that it is to be told from, itself included.
    """
    if not isinstance(value, str | dict):
        return _words(value)
    plugins = [plugin_table(v) for v in among if isinstance(v, str | dict)]
    names = {plugin.get("name", "") for plugin in plugins}
    table = plugin_table(value)
    raw, own = str(table.get("name", "")), _flat(table, "")
    tables = [_flat(plugin, "") for plugin in plugins]
    alike = [t for t in tables if t.get("") == own.get("")]
    inner = _wrapped(table)
    differs = [k for k in own if k not in ("", *inner) and any(t.get(k) != own[k] for t in alike)]
    classes = [class_name(str(name)) for name in names]
    called = class_name(raw) if classes.count(class_name(raw)) == 1 else raw
    every = dict.fromkeys(key for t in alike for key in t if len({u.get(key) for u in alike}) > 1)
    short = dict(zip(every, short_keys(list(every)), strict=True))
    whole = " + ".join([*(own[key] for key in inner), called])
    return " ".join([whole, *(f"{short[key]}={own[key]}" for key in differs)])


def _wrapped(table: Mapping[str, Any]) -> list[str]:
    """Return those options that name the plug-in that this one is put around."""
    return [key for key in _AROUND if isinstance(plugin_table(table.get(key)), Mapping)]


_AROUND = ("codec",)
"""Options by which a wrapper (error feedback) names what it is put around."""


def without_shared(names: Sequence[str]) -> list[str]:
    """Return names without those parts, between commas, that all different names have.

    They stay as they are where one of them would be left without a part, or two would become one.
    """
    parts = {name: _parts(name) for name in names}
    shared = set.intersection(*(set(own) for own in parts.values())) if parts else set[str]()
    short = {name: ", ".join(part for part in own if part not in shared) for name, own in parts.items()}
    fine = len(parts) > 1 and all(short.values()) and len(set(short.values())) == len(parts)
    return [short[name] if fine else name for name in names]


def _parts(name: str) -> list[str]:
    """Return what stands between the commas of a name that are in no bracket."""
    parts, depth = [""], 0
    for letter in name:
        depth += (letter in "[({") - (letter in "])}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]
