"""The axes of a matrix: attacks, defenses and shares by their labels, all or those that are asked for."""

from collections.abc import Iterable
from typing import Any

from ..core.errors import ScenarioError
from .matrix_file import conditions, taken
from .matrix_table import NO_ATTACK
from .naming import plugin_label
from .plain import plugin_table
from .scenario import Scenario

Members = dict[str, list[dict[str, Any]]]
"""From the label of an axis's member to its plug-ins, in their order."""

WHO = frozenset({"clients", "count", "sampled", "share"})  # keys of an attack, not of a field


def axes_of(scenario: Scenario, only: Iterable[str] = ()) -> tuple[Members, Members, list[float]]:
    """Return (attacks, defenses) by their labels, and the shares, after a look at every axis.

    Args:
        scenario: What has the axes.
        only: Conditions ``axis=value`` on defense, attack and share; those on one axis allow each other. A
            plug-in is named by its label, and keeps the one that it has in the whole matrix.

    Raises:
        ScenarioError: An axis is empty, two members have one label, an attack is more than one on data and
            one on updates or says itself who attacks, or a condition that nothing meets.
    """
    axes = scenario.matrix
    for name in ("attacks", "defenses", "shares"):
        if not getattr(axes, name):
            raise ScenarioError(f"'{scenario.name}' has no {name} to cross: name them with --{name}")
    attacks, defenses = _labelled(axes.attacks, "attack"), _labelled(axes.defenses, "defense")
    for label, parts in attacks.items():
        if said := sorted(WHO & parts[0].keys()):
            raise ScenarioError(
                f"the attack '{label}' says who attacks ({said[0]}); a matrix takes that from its shares"
            )
        if (count := len(parts) + sum("update" in part for part in parts)) > 2:
            raise ScenarioError(
                f"the attack '{label}' is {count} attacks on the same clients; allowed: one attack, or a "
                "list of one on data and one on updates"
            )
    if len(set(axes.shares)) < len(axes.shares) or len(set(axes.seeds)) < len(axes.seeds):
        raise ScenarioError(f"a value stands twice: shares {axes.shares}, seeds {axes.seeds}")
    for share in axes.shares:
        if clients_of(share, scenario) == 0:
            raise ScenarioError(f"a share of {share} of {scenario.num_clients} clients is nobody")
    wanted = conditions(only, {"defense": list(defenses), "attack": list(attacks), "share": axes.shares})
    return (
        {label: parts for label, parts in attacks.items() if taken(wanted, "attack", label)},
        {label: parts for label, parts in defenses.items() if taken(wanted, "defense", label)},
        [share for share in axes.shares if taken(wanted, "share", share)],
    )


def clients_of(share: float, scenario: Scenario) -> int:
    """Return how many clients a share of a scenario's is, rounded down."""
    return int(share * scenario.run_spec().num_clients + 1e-9)


def _labelled(members: Iterable[Any], noun: str) -> dict[str, list[dict[str, Any]]]:
    """Return the members of an axis, each a list of plug-ins, by their labels."""
    whole = [[plugin_table(part) for part in (m if isinstance(m, list) else [m])] for m in members]
    among = [part for parts in whole for part in parts]
    found: dict[str, list[dict[str, Any]]] = {}
    for parts in whole:
        label = " + ".join(plugin_label(part, among) for part in parts)
        if not parts or label in found or label == NO_ATTACK:
            raise ScenarioError(f"the {noun} '{label}' stands twice in the matrix, or is none")
        found[label] = parts
    return found
