"""What virtual links do not go with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....core.declarations import Networks, declared
from ....core.errors import ScenarioError

if TYPE_CHECKING:
    from ..parts import Parts


def a_link_beside_a_deadline_that_is_not_known(parts: Parts) -> ScenarioError | None:
    """A network that loses messages and does not say when it gives one up: links may make it late."""
    known = declared(parts.network, Networks.gives_up_after) is not None
    if parts.link is None or known or declared(parts.network, Networks.complete):
        return None
    return ScenarioError(
        f"a [link] makes messages later, and network '{parts.spec.network.name}' does not say after how many "
        "seconds it counts one no more: let it declare gives_up_after, or leave [link] out"
    )
