"""The model that a malicious server gives its clients in the place of the scenario's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...attacks.servers import SERVERS
from ...clients.models.build import misfit_of
from ...clients.tasks.fitted import task_of
from ...core.declarations import Servers, declared, name_of
from ...core.errors import PluginError
from ...core.guards import guard
from ...core.layout import Layout
from ...core.replies import REPLIES
from ...core.seeds import seeded_torch
from ..spec import PluginSpec

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from ...clients.models.build import Inputs
    from ...core.contracts import MaliciousServer, Secret


def rebuilt(
    server: MaliciousServer | PluginSpec,
    model: nn.Module,
    data: Inputs,
    stream: np.random.Generator,
    outputs: tuple[int, ...] | None = None,
) -> tuple[nn.Module, Secret]:
    """Return what a server makes of a model that is its to change, and what it knows of that.

    Args:
        server: The server, behind a guard, or how it is built.
        model: The model, in training mode.
        data: What the model will see.
        stream: What initial weights are drawn from.
        outputs: The shape of what the model puts out for one example; by default what the data are made for.

    Raises:
        PluginError: The server does not exist, or raises, or declares that it rebuilds nothing, or what it
            returns is no model for these data.
    """
    if isinstance(server, PluginSpec):
        built = SERVERS.build(server.name, server.options)
        server = guard(built, f"server '{server.name}'", REPLIES[SERVERS.name])
    before = Layout.of(model)
    with seeded_torch(stream):
        made, secret = server.rebuild(model)
    deviates = declared(server, Servers.deviates)
    if deviates != "model" and not (made is model and Layout.of(made) == before):
        raise PluginError(
            f"server {name_of(server)} declares deviates = '{deviates}', and rebuilt the model; "
            "allowed: 'model'"
        )
    if deviates == "model" and (why := misfit_of(made, data, outputs or task_of(data).outputs)):
        raise PluginError(
            f"server {name_of(server)} rebuilt the model so that it does not fit {data.name}: {why}"
        )
    return made.train(), secret
