"""Attackers that a population does not have, or that cannot do what they are said to do."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from ....attacks.poisoning import DATA_ATTACKS, UPDATE_ATTACKS
from ....core.declarations import Algorithms, DataAttacks, UpdateAttacks, declared
from ....core.errors import ScenarioError

if TYPE_CHECKING:
    from ..parts import Parts


def a_share_of_nobody(parts: Parts) -> ScenarioError | None:
    """An attack by a share of every cohort that is less than one client of the largest."""
    sampling, num_clients = parts.sampling, parts.spec.num_clients
    largest = sampling.expected_size if sampling.scheme in ("full", "fixed_size") else num_clients
    for role in parts.spec.roles:
        if role.sampled and int(role.sampled * largest + 1e-9) == 0:
            return ScenarioError(
                f"attack '{role.plugin.name}': {role.sampled:g} of a cohort of {largest:g} is nobody; "
                f"allowed: at least {1 / largest:.3g}"
            )
    return None


def an_attacker_that_is_no_client(parts: Parts) -> ScenarioError | None:
    """An attack by a client that the population does not have."""
    for role in parts.spec.roles:
        if outside := [c for c in role.clients or () if not 0 <= c < parts.spec.num_clients]:
            return ScenarioError(
                f"attack '{role.plugin.name}': client {outside[0]} does not exist; allowed: 0 to "
                f"{parts.spec.num_clients - 1}"
            )
    return None


def an_attacker_with_two_roles(parts: Parts) -> ScenarioError | None:
    """An attack by a client that has another role already."""
    taken: set[int] = set()
    for role in parts.spec.roles:
        if again := [c for c in role.clients or () if c in taken]:
            return ScenarioError(f"attack '{role.plugin.name}': client {again[0]} already has another role")
        taken |= set(role.clients or ())
    return None


def more_attackers_than_clients(parts: Parts) -> ScenarioError | None:
    """An attack by more clients than are left for it."""
    roles = parts.spec.roles
    named = len({c for role in roles for c in role.clients or ()})
    drawn = [role for role in roles if role.clients is None]
    for role, total in zip(drawn, accumulate(role.count for role in drawn), strict=True):
        if named + total > parts.spec.num_clients:
            left = parts.spec.num_clients - named - total + role.count
            return ScenarioError(
                f"attack '{role.plugin.name}' needs {role.count} honest clients, {left} are left"
            )
    return None


def shares_above_a_cohort(parts: Parts) -> ScenarioError | None:
    """Attacks by shares of every cohort that are more than the cohort together."""
    total = sum(role.sampled or 0.0 for role in parts.spec.roles)
    if total <= 1 + 1e-9:
        return None
    return ScenarioError(f"the attacks' sampled shares of a cohort sum to {total:g}, allowed: up to 1")


def an_update_that_follows_no_data(parts: Parts) -> ScenarioError | None:
    """An attack on updates that is to follow one on data, and one of the two is not."""
    for role, built in zip(parts.spec.roles, parts.attacks, strict=True):
        if role.update is not None and [family for family, _ in built] != [DATA_ATTACKS, UPDATE_ATTACKS]:
            return ScenarioError(
                f"attack '{role.plugin.name}': update needs an attack on data that it follows and names one "
                f"on updates, got '{role.plugin.name}' and '{role.update.name}'"
            )
    return None


def an_attack_that_sees_no_model(parts: Parts) -> ScenarioError | None:
    """An attack on examples that looks at the model, with an algorithm that works in a way of its own."""
    looks = [role for role in parts.roles[0] if declared(role.attack, DataAttacks.sees_model)]
    if not looks or not parts.brings(Algorithms.work):
        return None
    return ScenarioError(
        f"attack '{looks[0].kind}' makes its examples from the model that is sent before local SGD, and "
        f"algorithm '{parts.spec.algorithm.name}' works in a way of its own"
    )


def an_attack_that_steers_what_has_no_steps(parts: Parts) -> ScenarioError | None:
    """An attack that twists gradients, with an algorithm that works in a way of its own."""
    steers = [role for role in parts.roles[1] if declared(role.attack, UpdateAttacks.steer) is not None]
    if not steers or not parts.brings(Algorithms.work):
        return None
    return ScenarioError(
        f"attack '{steers[0].kind}' twists the gradients of local SGD, and algorithm "
        f"'{parts.spec.algorithm.name}' works in a way of its own"
    )
