"""An example of use for every plug-in: a whole scenario, small enough to run at once.

What a plug-in needs besides its defaults stands in ``NEEDS``: options of its own that have no default, and
other keys of the scenario. Of a plug-in from outside nothing is known but its fields: those without a default
are written down with a place for the value.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from .example_needs import NEEDS

_BASE: Mapping[str, Any] = {
    "rounds": 2,
    "num_clients": 10,
    "data": "digits",
    "model": "logistic_regression",
    "training": {"local_steps": 1, "batch_size": 8, "lr": 0.1},
}
_KEYS = {
    "datasets": "data",
    "partitions": "partition",
    "models": "model",
    "algorithms": "algorithm",
    "client_defenses": "client_defense",
    "tasks": "task",
    "codecs": "codec",
    "servers": "server",
    "defenses": "defense",
    "privacy": "privacy",
    "audits": "audit",
    "samplers": "sampler",
    "schedules": "schedule",
    "networks": "network",
    "server_optimizers": "server_optimizer",
    "trackers": "track",
}
_GAUSSIAN = {"name": "gaussian", "clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-3}
_SAMPLED: Mapping[str, Any] = {
    "sampler": {"name": "poisson", "sample_rate": 0.5},
    "defense": {"name": "mean", "weighting": "fixed"},
}
_AROUND: Mapping[str, Mapping[str, Any]] = {
    "privacy": _SAMPLED,
    "clippings": _SAMPLED,
    "audits": {"privacy": _GAUSSIAN, "defense": {"name": "mean", "weighting": "fixed"}},
    "leakage_attacks": {"rounds": 1},
    "inference_attacks": {"rounds": 1},
}


def example_of(family: str, name: str, factory: Any) -> str:
    """Return a scenario file that uses a plug-in; it runs as it stands where the plug-in is built in.

    Args:
        family: The plug-in's family.
        name: Its name, as a scenario has it.
        factory: Its class or function.
    """
    needs = NEEDS.get(f"{family}/{name}", {})
    own = {"name": name, **needs.get("options", {})}
    missing = [one for one in required(factory) if one not in own]
    values = {**_BASE, **_AROUND.get(family, {}), **needs.get("beside", {})}
    section = _placed(family, own, values)
    return _written(values, section, [f"{one} = ...  # required" for one in missing])


def required(factory: Any) -> list[str]:
    """Return a plug-in's options without a default."""
    if not is_dataclass(factory):
        return []
    alone = (f for f in fields(factory) if f.init and f.default is MISSING and f.default_factory is MISSING)
    return [f.name for f in alone]


def _placed(family: str, own: Mapping[str, Any], values: dict[str, Any]) -> str:
    """Put a plug-in's section last into the values of a scenario; return its head."""
    if family in ("data_attacks", "update_attacks"):
        values["attacks"] = [{**own, "count": 2}]
        return "[[attacks]]"
    if family in ("leakage_attacks", "inference_attacks"):
        values["probes"] = [{**own, **values.pop("probe", {})}]
        return "[[probes]]"
    if family == "pre_aggregations":
        values["pre_aggregations"] = [own]
        return "[[pre_aggregations]]"
    if family == "clippings":
        values["privacy"] = {**_GAUSSIAN, "clipping": own}
        return "[privacy]"
    values.pop(_KEYS[family], None)
    values[_KEYS[family]] = own
    return f"[{_KEYS[family]}]"


def _written(values: Mapping[str, Any], section: str, missing: list[str]) -> str:
    """Return values as TOML: one line a key, and the plug-in's own section last."""
    last = list(values)[-1]
    own = values[last]
    head = [f"{key} = {toml(value)}" for key, value in values.items() if key != last]
    table = own[0] if isinstance(own, list) else own
    body = [f"{key} = {toml(value)}" for key, value in table.items()]
    return "\n".join([*head, "", section, *body, *missing])


def toml(value: Any) -> str:
    """Return a plain value as TOML has it in one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() else json.dumps(name)


def files_of(family: str, name: str) -> Mapping[str, str]:
    """Return the files that an example needs beside its scenario, by name."""
    return NEEDS.get(f"{family}/{name}", {}).get("files", {})
