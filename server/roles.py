"""Hand out the attacks of a scenario to clients."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from ..attacks.poisoning import DATA_ATTACKS, UPDATE_ATTACKS, family_of
from ..core.declarations import DataAttacks, declared
from ..core.errors import ScenarioError
from ..core.guards import guard
from ..core.registry import Family
from ..core.replies import REPLIES
from ..core.roles import Role
from ..core.seeds import generator
from .spec import PluginSpec, RoleSpec

Cohorts = Callable[[int], Sequence[int]]
"""From a round to the clients that are sampled for it, ascending."""

Draw = Callable[[int], tuple[int, ...]]


def assign(
    specs: Sequence[RoleSpec], num_clients: int, seed: int, cohorts: Cohorts
) -> tuple[tuple[Role[Any], ...], tuple[Role[Any], ...]]:
    """Return (data attacks, update attacks), each with its clients.

    No client has two roles, unless one is said to run on the same clients as the other.

    A role with an attack on data and one on updates is one of each, with the same clients.

    Raises:
        ScenarioError: A client that does not exist or already attacks, or more attackers than clients, or
            two attacks of one family on the same clients.
    """
    free = set(range(num_clients))
    clients = [_named(spec, free, num_clients) for spec in specs]  # first those that are named
    for number, spec in enumerate(specs):
        if spec.clients is None:
            clients[number] = _drawn(spec, free, seed, number)
    draws = _anew(specs, free, seed, cohorts)
    data_roles: list[Role[Any]] = []
    update_roles: list[Role[Any]] = []
    for spec, who, draw in zip(specs, clients, draws, strict=True):
        name = spec.plugin.name + (f"+{spec.update.name}" if spec.update else "")
        for family, attack in _attacks(spec):
            kind = "unreliable" if declared(attack, DataAttacks.honest) else name
            role = Role(
                kind,
                attack,
                who,
                start_round=spec.start_round,
                stop_round=spec.stop_round,
                every=spec.every,
                on_rounds=spec.on_rounds,
                off_rounds=spec.off_rounds,
                sampled=draw,
            )
            (data_roles if family is DATA_ATTACKS else update_roles).append(role)
    return tuple(data_roles), tuple(update_roles)


def _attacks(spec: RoleSpec) -> list[tuple[Family[Any], Any]]:
    """Return a role's attacks, each with its family."""
    family = family_of(spec.plugin.name)
    found = [(family, _build(family, spec.plugin))]
    if spec.update is None:
        return found
    if family is not DATA_ATTACKS or family_of(spec.update.name) is not UPDATE_ATTACKS:
        raise ScenarioError(
            f"attack '{spec.plugin.name}': update needs an attack on data that it follows and names one on "
            f"updates, got '{spec.plugin.name}' and '{spec.update.name}'"
        )
    return [*found, (UPDATE_ATTACKS, _build(UPDATE_ATTACKS, spec.update))]


def _build(family: Family[Any], plugin: PluginSpec) -> Any:
    built = family.build(plugin.name, plugin.options)
    return guard(built, f"attack '{plugin.name}'", REPLIES.get(family.name))


def _drawn(spec: RoleSpec, free: set[int], seed: int, number: int) -> tuple[int, ...]:
    """Draw clients from those that are still free, and take them out."""
    if spec.count > len(free):
        name = spec.plugin.name
        raise ScenarioError(f"attack '{name}' needs {spec.count} honest clients, {len(free)} are left")
    drawn = generator(seed, "roles", number).choice(sorted(free), spec.count, replace=False)
    free -= set(drawn.tolist())
    return tuple(sorted(int(c) for c in drawn))


def _named(spec: RoleSpec, free: set[int], num_clients: int) -> tuple[int, ...]:
    """Return the clients that a spec names, and take them out of those that are free."""
    if spec.clients is None:
        return ()
    name = spec.plugin.name
    if outside := [c for c in spec.clients if not 0 <= c < num_clients]:
        raise ScenarioError(
            f"attack '{name}': client {outside[0]} does not exist; allowed: 0 to {num_clients - 1}"
        )
    if taken := [c for c in spec.clients if c not in free]:
        raise ScenarioError(f"attack '{name}': client {taken[0]} already has another role")
    free -= set(spec.clients)
    return tuple(sorted(set(spec.clients)))


def _anew(specs: Sequence[RoleSpec], free: set[int], seed: int, cohorts: Cohorts) -> list[Draw | None]:
    """Return, for each spec that draws its clients anew in every round, how it does."""
    if (total := sum(spec.sampled or 0.0 for spec in specs)) > 1 + 1e-9:
        raise ScenarioError(f"the attacks' sampled shares of a cohort sum to {total:g}, allowed: up to 1")
    draws: list[Draw | None] = []
    for number, spec in enumerate(specs):
        earlier = [draw for draw in draws if draw is not None]
        draws.append(_draw(spec.sampled, number, free, earlier, seed, cohorts) if spec.sampled else None)
    return draws


def _draw(
    share: float, number: int, free: set[int], earlier: list[Draw], seed: int, cohorts: Cohorts
) -> Draw:
    @lru_cache(maxsize=1)
    def draw(round_: int) -> tuple[int, ...]:
        """Draw ``share`` of the cohort, rounded down, from its clients without a role."""
        cohort = cohorts(round_)
        taken = {client for other in earlier for client in other(round_)}
        left = [int(c) for c in cohort if int(c) in free and int(c) not in taken]
        count = min(int(share * len(cohort) + 1e-9), len(left))
        drawn = generator(seed, "sampled roles", number, round_).choice(left, count, replace=False)
        return tuple(sorted(int(c) for c in drawn))

    return draw
