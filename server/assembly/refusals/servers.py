"""What a malicious server does not go with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....core.declarations import Algorithms, Servers, declared
from ....core.errors import ScenarioError

if TYPE_CHECKING:
    from ..parts import Parts


def a_server_that_an_algorithm_does_not_expect(parts: Parts) -> ScenarioError | None:
    """A server that deviates, with an algorithm whose own server half counts on what clients hold."""
    if declared(parts.server, Servers.deviates) == "nothing" or not parts.brings(Algorithms.step):
        return None
    return ScenarioError(
        f"algorithm '{parts.spec.algorithm.name}' counts on clients that hold the server's own parameters, "
        f"and server '{parts.spec.server.name}' plants others; use one without a server half, such as fedavg"
    )
