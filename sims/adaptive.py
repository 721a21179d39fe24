"""Whether what a client defense is worth is shown beside the attack that knows of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from ..attacks.leakage import LEAKAGE_ATTACKS, infers
from ..clients.client_defenses import CLIENT_DEFENSES
from ..core.declarations import ClientDefenses, attackers, declared

if TYPE_CHECKING:
    from ..server.spec import RunSpec
    from .sections import Probe


def unadapted(spec: RunSpec, probes: Sequence[Probe]) -> str | None:
    """Return a warning, in one line, where probes rebuild examples and none of them knows of the defense.

    Those that do are the ones that the defense declares as ``adaptive``, with these options at least; of an
    ``unanswered`` one there is none.
    """
    named = spec.client_defense
    defense = CLIENT_DEFENSES.build(named.name, named.options)
    named_by = attackers(defense)
    rebuild = [probe for probe in probes if not infers(probe.name)]
    unanswered: bool = declared(defense, ClientDefenses.unanswered)
    if rebuild and unanswered:
        return (
            f"warning: no leakage attack of this package knows of client defense '{named.name}': what is "
            "rebuilt is the least that leaks, and says nothing of what the defense is worth"
        )
    if not named_by or not rebuild or any(knows(named_by, p.name, p.spec().options) for p in rebuild):
        return None
    return (
        f"warning: client defense '{named.name}' must be shown beside an attack that knows of it, and no "
        f"probe is one: add [[probes]] with {' or with '.join(map(_table, named_by))}, or attack what was "
        f"recorded with {asked(named_by)}"
    )


def asked(named_by: Sequence[Mapping[str, object]]) -> str:
    """Return how ``gauntlet attack`` is asked for one of some attacks."""
    return " or ".join(f"--with '{{{_table(one)}}}'" for one in named_by)


def _table(named: Mapping[str, object]) -> str:
    return ", ".join(f"{key} = {json.dumps(value, default=str)}" for key, value in named.items())


def knows(named_by: Sequence[Mapping[str, object]], name: str, settings: Mapping[str, Any]) -> bool:
    """Return whether an attack is one of these, with its options at least, the attack's defaults counted."""
    return any(_is(one, name, settings) for one in named_by)


def _is(named: Mapping[str, object], name: str, settings: Mapping[str, Any]) -> bool:
    if name != named["name"]:
        return False
    found: Any = LEAKAGE_ATTACKS.find(name)
    known = {field.name for field in fields(found)} if is_dataclass(found) else set(settings)
    attack = LEAKAGE_ATTACKS.build(name, {k: v for k, v in settings.items() if k in known})
    wanted = {key: value for key, value in named.items() if key != "name"}
    return all(_plain(getattr(attack, key, None)) == _plain(value) for key, value in wanted.items())


def _plain(value: object) -> object:
    """Return a value as a scenario has it: a tuple is a list there."""
    return list(value) if isinstance(value, tuple) else value
