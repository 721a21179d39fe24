"""The model that a malicious server gives its clients in the place of the scenario's."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import torch

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
    from collections.abc import Mapping

    import numpy as np
    from torch import Tensor, nn

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
    deviates = declared(server, Servers.deviates)
    free = deviates in ("weights", "model")
    shown = model if free else deepcopy(model)
    before = Layout.of(shown), {name: value.clone() for name, value in shown.state_dict().items()}
    with seeded_torch(stream):
        made, secret = server.rebuild(shown)
    kept = made is shown and Layout.of(made) == before[0] and _holds(made, before[1], not free)
    if deviates != "model" and not kept:
        raise PluginError(
            f"server {name_of(server)} declares deviates = '{deviates}', and rebuilt the model; "
            "allowed: 'model'"
        )
    if deviates == "nothing" and secret:
        raise PluginError(f"server {name_of(server)} declares deviates = 'nothing', and has a secret")
    if not free:
        made = model  # whatever was done to the other one
    if free and (why := misfit_of(made, data, outputs or task_of(data).outputs)):
        raise PluginError(
            f"server {name_of(server)} rebuilt the model so that it does not fit {data.name}: {why}"
        )
    return made.train(), secret


def _holds(model: nn.Module, tensors: Mapping[str, Tensor], equal: bool) -> bool:
    """Return whether a model holds tensors of these names and shapes alone, or just these."""
    now = model.state_dict()
    if now.keys() != tensors.keys() or any(now[name].shape != tensors[name].shape for name in now):
        return False
    return not equal or all(torch.equal(now[name], tensors[name]) for name in now)
