"""The data and the model of a run, from its parts."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from torch import nn

from ...clients.algorithms import ALGORITHMS
from ...clients.data import federate
from ...clients.models import build_model
from ...clients.models.build import settles
from ...clients.models.kept import keep_back, kept_names
from ...clients.models.weights import begin_with, frozen
from ...clients.tasks.fitted import FittedTask, task_of
from ...clients.training.defending import wrap_of
from ...core.declarations import Algorithms, ClientData, Mechanisms, declared
from ...core.errors import GauntletError, PluginError, said
from ...core.guards import guard
from ...core.replies import REPLIES
from ...core.seeds import generator
from .rebuilding import rebuilt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from ...clients.data.base import FederatedData, Perturb
    from ...core.contracts import MaliciousServer, Secret
    from ..spec import RunSpec
    from .parts import Parts


def load_data(parts: Parts) -> FederatedData:
    """Return the clients' data.

    Raises:
        DataError: An unreadable data set.
        ScenarioError: More clients than the data can feed.
    """
    spec = parts.spec
    where = spec.num_clients, spec.seed, spec.root_examples, perturbation(parts)
    return federate(parts.dataset, parts.partition, *where, held_out=spec.held_out)


def perturbation(parts: Parts) -> Perturb | None:
    """Return how the privacy mechanism noises training records, or None where it leaves them alone."""
    perturb, seed = declared(parts.mechanism, Mechanisms.perturb), parts.spec.seed
    return None if perturb is None else lambda records: perturb(records, generator(seed, "input noise"))


def make_task(spec: RunSpec, data: FederatedData) -> FittedTask:
    """Return what is learnt: what the spec names, or what the data are made for.

    Raises:
        PluginError: An unknown task, or options that it does not take.
        ScenarioError: Task and data do not fit.
    """
    return task_of(data) if spec.task is None else task_of(data, spec.task.name, spec.task.options)


def make_model(spec: RunSpec, data: FederatedData, server: MaliciousServer | None = None) -> nn.Module:
    """Return a new model with the run's initial weights; see ``model_and_secret``."""
    return model_and_secret(spec, data, server)[0]


def model_and_secret(
    spec: RunSpec, data: FederatedData, server: MaliciousServer | None = None
) -> tuple[nn.Module, Secret]:
    """Return a new model with the run's initial weights, and what the server knows that rebuilt it.

    Args:
        spec: The run.
        data: What the model will see.
        server: The run's server, where it is built already.

    Raises:
        PluginError: An unknown model or server, or options that one does not take, or a rebuilt model that
            does not fit the data.
        ScenarioError: Model and data do not fit, or the file of frozen weights is not here.
    """
    outputs, defense = make_task(spec, data).outputs, spec.client_defense
    stream, wrap = generator(spec.seed, "model"), wrap_of(defense.name, defense.options)
    model = build_model(spec.model.name, spec.model.options, data, stream, outputs, wrap)
    settled = settle(spec, data, model)
    made, secret = rebuilt(server or spec.server, model, data, generator(spec.seed, "server model"), outputs)
    keep_back(made, kept_by(spec, made), f"algorithm '{spec.algorithm.name}'")
    unsent = not settled and (frozen(made) or kept_names(made))  # clients make their models with these
    if spec.init is not None and unsent:
        begin_with(made, spec.init)
    return made, secret


def settle(spec: RunSpec, data: FederatedData, model: nn.Module) -> bool:
    """Let a factory that wants it change a model once its first weights are there; return whether one does.

    Raises:
        PluginError: The factory raised.
        ScenarioError: The file of first weights is not here, or does not fit.
    """
    change = settles(spec.model.name, spec.model.options)
    if change is None:
        return False
    if spec.init is not None:
        begin_with(model, spec.init)
    own = declared(data, ClientData.root)
    form = make_task(spec, data).form(spec.training.loss)

    def loss(model: nn.Module) -> Tensor:
        x, y = own.client(data.num_clients)
        return form.mean(model(x), y)

    try:
        change(model, None if own is None else loss)
    except (GauntletError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise PluginError(f"model '{spec.model.name}': {said(error, named=False)}") from error
    return True


def kept_by(spec: RunSpec, model: nn.Module) -> Sequence[str]:
    """Return the names of the tensors of a model that the run's clients keep to themselves.

    Raises:
        PluginError: The algorithm does not exist, or takes other options, or raised.
    """
    name, options = spec.algorithm.name, spec.algorithm.options
    if declared(ALGORITHMS.find(name), Algorithms.keeps) is None:
        return ()
    who = f"{ALGORITHMS.noun} '{name}'"
    keeps = declared(
        guard(ALGORITHMS.build(name, options), who, REPLIES.get(ALGORITHMS.name)), Algorithms.keeps
    )
    return () if keeps is None else keeps(deepcopy(model))  # whatever is done to that one
