"""Gauntlet: a federated-learning simulator in which every client update runs the gauntlet."""

from typing import Any

_PUBLIC = {
    "simulate": "gauntlet.sims.api:simulate",
    "sweep": "gauntlet.sims.api:sweep",
    "matrix": "gauntlet.sims.api:matrix",
    "attack": "gauntlet.sims.api:attack",
    "resume": "gauntlet.sims.api:resume",
    "plot": "gauntlet.sims.api:plot",
    "load_scenario": "gauntlet.sims.scenario:load_scenario",
    "load_run": "gauntlet.sims.results:load_run",
    "load_sweep": "gauntlet.sims.api:load_sweep",
    "Run": "gauntlet.sims.results:Run",
    "Scenario": "gauntlet.sims.scenario:Scenario",
    "GauntletError": "gauntlet.core.errors:GauntletError",
    "__version__": "gauntlet.core.version:VERSION",
}


def __getattr__(name: str) -> Any:
    """Load a public name on its first use, so that ``import gauntlet`` stays instant."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'gauntlet' has no attribute {name!r}; known: {', '.join(_PUBLIC)}")
    from importlib import import_module

    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(_PUBLIC)
