"""Every family of plug-ins under one roof, for listing, checking and scaffolding."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from ..core.errors import PluginError, unknown
from ..core.registry import Family

_FAMILIES = {
    "datasets": "gauntlet.clients.data:DATASETS",
    "partitions": "gauntlet.clients.data:PARTITIONS",
    "models": "gauntlet.clients.models:MODELS",
    "algorithms": "gauntlet.clients.algorithms:ALGORITHMS",
    "codecs": "gauntlet.clients.codecs:CODECS",
    "data_attacks": "gauntlet.attacks.poisoning:DATA_ATTACKS",
    "update_attacks": "gauntlet.attacks.poisoning:UPDATE_ATTACKS",
    "leakage_attacks": "gauntlet.attacks.leakage:LEAKAGE_ATTACKS",
    "inference_attacks": "gauntlet.attacks.leakage:INFERENCE_ATTACKS",
    "defenses": "gauntlet.defenses:DEFENSES",
    "pre_aggregations": "gauntlet.defenses:PRE_AGGREGATIONS",
    "privacy": "gauntlet.privacy:PRIVACY",
    "clippings": "gauntlet.privacy:CLIPPINGS",
    "audits": "gauntlet.privacy:AUDITS",
    "samplers": "gauntlet.server.samplers:SAMPLERS",
    "networks": "gauntlet.server.networks:NETWORKS",
    "server_optimizers": "gauntlet.server.optimizers:SERVER_OPTIMIZERS",
}


def family_names() -> list[str]:
    """Return the names of all families."""
    return list(_FAMILIES)


def family(name: str) -> Family[Any]:
    """Return a family by its name.

    Raises:
        PluginError: There is no such family.
    """
    if name not in _FAMILIES:
        raise PluginError(unknown("family", name, _FAMILIES))
    place, _, attribute = _FAMILIES[name].partition(":")
    found: Family[Any] = getattr(import_module(place), attribute)
    return found


def checks(name: str) -> Sequence[Callable[[Any], None]]:
    """Return what every member of a family owes: functions that raise ``PluginError``."""
    place = _FAMILIES[name].partition(":")[0]
    contract = import_module(f"{place}.contract")
    noun = family(name).noun.upper().replace(" ", "_").replace("-", "_")
    own = f"{noun}_CHECKS"  # a folder with several families has one tuple for each
    found: Sequence[Callable[[Any], None]] = getattr(contract, own if hasattr(contract, own) else "CHECKS")
    return found


def families_of(plugin: str) -> list[str]:
    """Return the families that a plug-in belongs to: by its name, or for ``place:Class`` by its verbs.

    Raises:
        PluginError: No family knows the name, or the class has no family's verbs.
    """
    if ":" not in plugin:
        found = [n for n in _FAMILIES if plugin in family(n).names()]
        if not found:
            every = {name for n in _FAMILIES for name in family(n).names()}
            raise PluginError(unknown("plug-in", plugin, every))
        return found
    if schemes := [n for n in _FAMILIES if plugin.partition(":")[0] in family(n).schemes]:
        return schemes
    from ..core.registry import Family as AnyFamily

    loaded: Any = AnyFamily("any", "plug-in", (), {}).find(plugin)
    verbs = {n: family(n).verbs for n in _FAMILIES}
    found = [n for n, v in verbs.items() if v and all(callable(getattr(loaded, verb, None)) for verb in v)]
    if not found:
        wanted = "; ".join(f"{n}: {', '.join(v)}" for n, v in verbs.items() if v)
        raise PluginError(f"plug-in '{plugin}' has no family's methods. A member needs: {wanted}")
    return found
