"""Whether what a client defense is worth is shown beside the attack that knows of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..attacks.leakage import LEAKAGE_ATTACKS, infers
from ..clients.client_defenses import CLIENT_DEFENSES
from ..core.declarations import ClientDefenses, declared

if TYPE_CHECKING:
    from ..server.spec import RunSpec
    from .sections import Probe


def unadapted(spec: RunSpec, probes: Sequence[Probe]) -> str | None:
    """Return a warning, in one line, where probes rebuild examples and none of them knows of the defense.

    The attack that does is the one that the defense declares as ``adaptive``, with these options at least.
    """
    named = spec.client_defense
    adaptive = dict(declared(CLIENT_DEFENSES.build(named.name, named.options), ClientDefenses.adaptive))
    rebuild = [probe for probe in probes if not infers(probe.name)]
    if not adaptive or not rebuild or any(_is(adaptive, probe) for probe in rebuild):
        return None
    table = ", ".join(f"{key} = {json.dumps(value, default=str)}" for key, value in adaptive.items())
    return (
        f"warning: client defense '{named.name}' must be shown beside an attack that knows of it, and no "
        f"probe is one: add [[probes]] with {table}, or attack what was recorded with --with '{{{table}}}'"
    )


def _is(adaptive: dict[str, object], probe: Probe) -> bool:
    """Return whether a probe is this attack, with these options at least, its defaults counted."""
    if probe.name != adaptive["name"]:
        return False
    attack = LEAKAGE_ATTACKS.build(probe.name, probe.spec().options)
    wanted = {key: value for key, value in adaptive.items() if key != "name"}
    return all(_plain(getattr(attack, key, None)) == _plain(value) for key, value in wanted.items())


def _plain(value: object) -> object:
    """Return a value as a scenario has it: a tuple is a list there."""
    return list(value) if isinstance(value, tuple) else value
