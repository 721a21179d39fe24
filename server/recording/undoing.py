"""How a recording says which client defense altered the examples, for attackers that undo it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ...clients.client_defenses import CLIENT_DEFENSES
from ...core.declarations import ClientDefenses, declared
from ...core.guards import guard
from ...core.replies import REPLIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from ...core.leakage_knowledge import LeakageKnowledge
    from ..spec import PluginSpec


def undone_by(defense: PluginSpec, knowledge: LeakageKnowledge) -> dict[str, Any]:
    """Return what a recording holds of a client defense that says how to undo it; nothing of another.

    Nothing either where the attacker is not told what clients do.
    """
    if knowledge.client_defense is None or undo_of(defense) is None:
        return {}
    return {"undone_by": asdict(defense)}


def undo_of(defense: PluginSpec | None) -> Callable[..., tuple[Tensor, float]] | None:
    """Return what a client defense says of how its altered examples are undone, or None.

    Raises:
        PluginError: There is no such defense, or it does not take the options.
    """
    if defense is None:
        return None
    who = f"{CLIENT_DEFENSES.noun} '{defense.name}'"
    plugin = guard(
        CLIENT_DEFENSES.build(defense.name, defense.options), who, REPLIES.get(CLIENT_DEFENSES.name)
    )
    return declared(plugin, ClientDefenses.undo)
