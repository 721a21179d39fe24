"""Hand out the attacks of a scenario to clients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ...attacks.poisoning import DATA_ATTACKS, family_of
from ...core.declarations import DataAttacks, UpdateAttacks, declared
from ...core.errors import PluginError
from ...core.guards import guard
from ...core.registry import Family
from ...core.replies import REPLIES
from ...core.roles import Role
from ...core.seeds import generator

if TYPE_CHECKING:
    from ..spec import PluginSpec, RoleSpec

Cohorts = Callable[[int], Sequence[int]]
"""From a round to the clients that are sampled for it, ascending."""

Attack = tuple[Family[Any], Any]
"""An attack, behind a guard, after its family."""

Draw = Callable[[int], tuple[int, ...]]


def assign(
    specs: Sequence[RoleSpec],
    num_clients: int,
    seed: int,
    cohorts: Cohorts,
    attacks: Sequence[Sequence[Attack]] | None = None,
) -> tuple[tuple[Role[Any], ...], tuple[Role[Any], ...]]:
    """Return (data attacks, update attacks), each with its clients.

    No client has two roles, unless one is said to run on the same clients as the other.

    A role with an attack on data and one on updates is one of each, with the same clients.

    What cannot be handed out is refused before, by ``assembly.refusals.roles``.

    Args:
        specs: The roles.
        num_clients: N.
        seed: The run's seed.
        cohorts: Whom the sampler draws.
        attacks: ``build_attacks`` of each role, where somebody has them already.
    """
    free = set(range(num_clients))
    clients = [_named(spec, free) for spec in specs]  # first those that are named
    for number, spec in enumerate(specs):
        if spec.clients is None:
            clients[number] = _drawn(spec, free, seed, number)
    draws = _anew(specs, free, seed, cohorts)
    data_roles: list[Role[Any]] = []
    update_roles: list[Role[Any]] = []
    built = map(build_attacks, specs) if attacks is None else attacks
    for spec, who, draw, mine in zip(specs, clients, draws, built, strict=True):
        name = spec.plugin.name + (f"+{spec.update.name}" if spec.update else "")
        for family, attack in mine:
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


def build_attacks(spec: RoleSpec) -> tuple[Attack, ...]:
    """Return a role's attacks, each with its family.

    Raises:
        PluginError: An attack that does not exist or takes other options.
    """
    family = family_of(spec.plugin.name)
    found = (family, _build(family, spec.plugin))
    if spec.update is None:
        return (found,)
    follows = family_of(spec.update.name)
    return found, (follows, _build(follows, spec.update))


def _build(family: Family[Any], plugin: PluginSpec) -> Any:
    built = family.build(plugin.name, plugin.options)
    if family is not DATA_ATTACKS and declared(built, UpdateAttacks.knowledge) is None:
        raise PluginError(
            f"attack '{plugin.name}' does not say what it sees: knowledge must be a member of "
            "core.contracts.UpdateKnowledge (OWN, COLLUDERS or OMNISCIENT)"
        )
    return guard(built, f"attack '{plugin.name}'", REPLIES.get(family.name))


def _drawn(spec: RoleSpec, free: set[int], seed: int, number: int) -> tuple[int, ...]:
    """Draw clients from those that are still free, and take them out."""
    drawn = generator(seed, "roles", number).choice(sorted(free), spec.count, replace=False)
    free -= set(drawn.tolist())
    return tuple(sorted(int(c) for c in drawn))


def _named(spec: RoleSpec, free: set[int]) -> tuple[int, ...]:
    """Return the clients that a spec names, and take them out of those that are free."""
    free -= set(spec.clients or ())
    return tuple(sorted(set(spec.clients or ())))


def _anew(specs: Sequence[RoleSpec], free: set[int], seed: int, cohorts: Cohorts) -> list[Draw | None]:
    """Return, for each spec that draws its clients anew in every round, how it does."""
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
