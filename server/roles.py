"""Hand out the attacks of a scenario to clients."""

from collections.abc import Sequence
from typing import Any

from ..attacks.poisoning import DATA_ATTACKS, family_of
from ..core.contracts import declared
from ..core.errors import ScenarioError
from ..core.registry import guard
from ..core.roles import Role
from ..core.seeds import generator
from .spec import RoleSpec


def assign(
    specs: Sequence[RoleSpec], num_clients: int, seed: int
) -> tuple[tuple[Role[Any], ...], tuple[Role[Any], ...]]:
    """Return (data attacks, update attacks), each with its clients.

    No client has two roles, unless one is said to run on the same clients as the other.

    Raises:
        ScenarioError: A client that does not exist or already attacks, or more attackers than clients, or
            two attacks of one family on the same clients.
    """
    free = set(range(num_clients))
    clients = [_named(spec, free, num_clients) for spec in specs]  # first those that are named
    data_roles: list[Role[Any]] = []
    update_roles: list[Role[Any]] = []
    for number, spec in enumerate(specs):
        family = family_of(spec.plugin.name)
        if spec.same_clients_as is not None:
            who = _shared(spec, update_roles if family is DATA_ATTACKS else data_roles)
        else:
            who = clients[number] if spec.clients is not None else _drawn(spec, free, seed, number)
        attack = guard(family.build(spec.plugin.name, spec.plugin.options), f"attack '{spec.plugin.name}'")
        kind = "unreliable" if declared(attack, "honest", False) else spec.plugin.name
        role = Role(kind, attack, who, spec.start_round, spec.stop_round, spec.every)
        (data_roles if family is DATA_ATTACKS else update_roles).append(role)
    return tuple(data_roles), tuple(update_roles)


def _shared(spec: RoleSpec, others: Sequence[Role[Any]]) -> tuple[int, ...]:
    """Return the clients of the earlier attack, of the other family, that a spec joins."""
    found = [role for role in others if role.kind == spec.same_clients_as]
    if found:
        return found[0].clients
    raise ScenarioError(
        f"attack '{spec.plugin.name}' has no clients: same_clients_as must name an earlier attack, one on "
        f"data for one on updates or the other way round, got '{spec.same_clients_as}'; "
        f"allowed here: {', '.join(role.kind for role in others) or 'none'}"
    )


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
