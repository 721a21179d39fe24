"""What a run's bits come from beside its scenario: code from outside, versions, data. And what has changed.

The manifest keeps all three from the run's beginning. ``resume`` goes on where they are the same, or where it
is told to accept what has changed; then ``changes`` of the manifest says from which round on.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..clients.data.digest import digest
from ..clients.models.weights import frozen
from ..core.declarations import Mechanisms, declared
from ..core.errors import ResultsError, shown
from ..core.live import ABSENT, absent, live_names
from ..core.version import VERSION
from ..server.assembly.loading import make_model
from .outside_code import code_of, keep_copies
from .ownership import signature
from .scenario import Scenario

if TYPE_CHECKING:
    from ..server.simulation import Simulation

PACKAGES = (
    "torch",
    "ray",
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "scikit-learn",
    "dp-accounting",
    "flwr",
    "flwr-datasets",
)
_NO_BITS = frozenset({"ray", "pandas", "pyarrow"})  # they carry and write what others computed


@dataclass(frozen=True)
class Consent:
    """What somebody who resumes a run has agreed to.

    Attributes:
        allow_code: Code from outside the package may be loaded, and a cluster joined, although the result
            folder names them and is not the user's own.
        accept_changes: Code, versions and data may differ from those that the run was begun with.
        distrust: Why runs of a sweep that are not begun may load nothing from outside; None where they may.
    """

    allow_code: bool = False
    accept_changes: bool = False
    distrust: str | None = None


NO_CONSENT = Consent()


def versions() -> dict[str, str]:
    """Return the versions of Gauntlet, Python and whatever takes part in a run."""
    found = {"gauntlet": VERSION, "python": platform.python_version()}
    return found | {package: _version(package) for package in PACKAGES}


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def begun_with(scenario: Scenario, simulation: Simulation) -> dict[str, Any]:
    """Return what a new run's manifest holds of code, versions and data, and the user's signature."""
    kept = {"code": code_of(scenario.values()), "versions": versions(), "data": _data(simulation)}
    return {**kept, "signature": signature({"scenario": scenario.values(), **kept})}


def _data(simulation: Simulation) -> str:
    """Return a hash of the examples, and of the weights to begin with where they come from a file."""
    found = digest(simulation.data, noised=declared(simulation.plan.privacy, Mechanisms.perturb) is not None)
    return found if simulation.spec.init is None else f"{found}+{_weights(simulation)}"


def _weights(simulation: Simulation) -> str:
    """Return a hash of the weights to begin with, those that are not trained among them."""
    still = frozen(make_model(simulation.spec, simulation.data)).values()
    first = torch.cat(
        [simulation.first.params, simulation.first.buffers, *(value.reshape(-1).float() for value in still)]
    )
    return sha256(first.numpy().tobytes()).hexdigest()[:32]


def refuse_changed_weights(folder: Path, manifest: Mapping[str, Any], simulation: Simulation) -> None:
    """Raise ``ResultsError`` where the file of a run's frozen weights, which no checkpoint holds, changed."""
    if simulation.spec.init is None or "data" not in manifest:
        return
    begun = latest(manifest, "data", str).partition("+")[2]
    if begun not in ("", _weights(simulation)):
        raise ResultsError(
            f"{folder}: {simulation.spec.init} has changed since the run began, and its layers that are not "
            "trained are read from there; put it back"
        )


def changed_code(manifest: Mapping[str, Any], now: Mapping[str, str]) -> list[str]:
    """Return what differs from when a run or a sweep began, as far as that is told before anything is loaded.

    Args:
        manifest: The run's manifest, or the sweep's list.
        now: The hashes of the sources from outside, as they are now.
    """
    if "code" not in manifest:
        return []
    before = latest(manifest, "code", dict)
    code = [f"the code of {name}" for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    said, here = latest(manifest, "versions", dict), versions()
    differ = [name for name in here if name not in _NO_BITS and _cut(name, said) != _cut(name, here)]
    return code + [f"{name} {said.get(name, 'absent')} (now {here[name]})" for name in differ]


def changed_data(manifest: Mapping[str, Any], simulation: Simulation) -> list[str]:
    """Return what differs in the examples from when the run began."""
    same = "data" not in manifest or latest(manifest, "data", str) == _data(simulation)
    first = "" if simulation.spec.init is None else f", or {simulation.spec.init}"
    return [] if same else [f"the data of {simulation.spec.data.name}{first}"]


def refuse_absent(folder: Path, values: Mapping[str, Any]) -> None:
    """Raise ``ResultsError`` where a run names a live object that this process does not hold."""
    if missing := absent(values):
        raise ResultsError(f"{folder}: '{missing[0]}' {ABSENT}")


def with_live(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a manifest that say which live objects a run is made of, if any."""
    names = live_names(values)
    said = f"made of live objects, {', '.join(names)}: it goes on where Python is handed the same again"
    return {"live": names, "notes": [said]} if names else {}


def refuse_changes(folder: Path, changes: list[str], consent: Consent) -> None:
    """Raise ``ResultsError`` where something has changed that nobody accepted."""
    if changes and not consent.accept_changes:
        raise ResultsError(
            f"{folder}: changed since the run began: {', '.join(changes)}; put it back, or go on from here "
            "with --accept-changes"
        )


def accepted(
    manifest: Mapping[str, Any], scenario: Scenario, simulation: Simulation, changed: list[str], round_: int
) -> dict[str, Any]:
    """Return the keys of a manifest that say what changed from ``round_`` on; none where nothing did."""
    if not changed:
        return {}
    now = {"code": code_of(scenario.values()), "versions": versions(), "data": _data(simulation)}
    changes = [*manifest.get("changes", ()), {"round": round_, "changed": changed, **now}]
    signed = {**manifest, "changes": changes}
    return {"changes": changes, "signature": signature(signed)}


def notes(manifest: Mapping[str, Any], changed: list[str], round_: int) -> list[str]:
    """Return what somebody who resumes a run is told of its code, versions and data, in lines."""
    if "code" not in manifest:
        return ["begun by a version that kept no hashes of code and data: whether they changed is not known"]
    return [f"from round {round_} on with other than it was begun: {', '.join(changed)}"] if changed else []


def keep_code(scenario: Scenario, folder: Path) -> None:
    """Copy the sources of a scenario's outside code into a result folder."""
    keep_copies(scenario.values(), folder)


def latest(manifest: Mapping[str, Any], key: str, kind: type) -> Any:
    """Return what the manifest holds of code, versions or data, after the last accepted change.

    Raises:
        ResultsError: It holds something else there.
    """
    changes = manifest.get("changes", [])
    holder = changes[-1] if isinstance(changes, list) and changes else manifest
    value = holder.get(key) if isinstance(holder, dict) and isinstance(changes, list) else None
    if not isinstance(value, kind):
        came = shown(changes) if changes else shown(value)
        raise ResultsError(f"the manifest's '{key}' cannot be read: it is {came}, expected a {kind.__name__}")
    return value


def _cut(name: str, found: Mapping[str, str]) -> str:
    """Return the part of a version that decides bits: of Python's, all but the last number."""
    said = str(found.get(name, "absent"))
    return ".".join(said.split(".")[:2]) if name == "python" else said
