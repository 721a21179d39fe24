"""Probes whose attacker has records of its own: what does not go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..attacks.leakage.parts.requirements import name_of, named_by
from ..core.declarations import shows_sums_alone
from ..core.errors import PluginError, ScenarioError

if TYPE_CHECKING:
    from ..server.simulation import Simulation
    from .sections import Probe


def refuse_records(probe: Probe, attack: object, simulation: Simulation) -> None:
    """Refuse records for an attack that looks at none, and such as there are not.

    Raises:
        PluginError: The attack names no such records.
        ScenarioError: More auxiliary records than the test set can give, or candidates for several sums.
    """
    named = named_by(attack)
    given = {"candidates": probe.candidates != "none", "auxiliary": probe.auxiliary > 0}
    for item in given:
        if given[item] and item not in named:
            raise PluginError(
                f"probe '{probe.name}': {item} gives it records, and {name_of(attack)} looks at none (it "
                f"names {item} in neither requires nor uses); leave it out"
            )
    if not any(given.values()):
        return
    there = len(simulation.data.test()[1])
    most = there - given["candidates"]
    if probe.auxiliary > most:
        raise ScenarioError(
            f"probe '{probe.name}': auxiliary must be at most {most} of the {there} test examples"
            f"{', of which candidates need some' * given['candidates']}; got {probe.auxiliary}"
        )
    if given["candidates"] and len(set(probe.rounds)) > 1 and shows_sums_alone(simulation.plan.privacy):
        raise ScenarioError(
            f"probe '{probe.name}': candidates of several rounds are of one client, and under this privacy "
            "mechanism a round shows a sum over clients; watch one round"
        )
