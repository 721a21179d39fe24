"""Single ingredients of a run, from its spec alone: for whoever wants no whole run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...clients.data.federate import natural_clients
from ..cohort.sampling import sample_cohort as sample_cohort
from . import loading
from .loading import make_model as make_model
from .loading import make_task as make_task
from .parts import Parts
from .refusals import OF_ROLES, refuse
from .refusals.privacy import system_noise_on_released_data
from .refusals.training import a_cohort_above_the_population

if TYPE_CHECKING:
    from ...clients.data.base import FederatedData
    from ...core.contracts import Sampler, Sampling
    from ...core.roles import Role
    from ..spec import RunSpec


def make_data(spec: RunSpec) -> FederatedData:
    """Return the clients' data.

    Raises:
        DataError: An unknown or unreadable data set.
        PluginError: Options that the data set or partition does not take.
        ScenarioError: More clients than the data can feed, or noise that would be drawn anew at every load.
    """
    parts = Parts(spec)
    refuse((system_noise_on_released_data,), parts)
    return loading.load_data(parts)


def count_natural_clients(spec: RunSpec) -> int:
    """Return how many natural clients the data have, whatever the spec's ``num_clients`` says.

    Raises:
        DataError: An unknown or unreadable data set.
        ScenarioError: It has no natural clients, or the partition is another one.
    """
    parts = Parts(spec)
    return natural_clients(parts.dataset, parts.partition, spec.seed, spec.root_examples)


def make_sampling(spec: RunSpec) -> tuple[Sampler, Sampling]:
    """Return the sampler and how it samples this population, an audit's canaries included.

    Raises:
        PluginError: An unknown sampler or option.
        ScenarioError: A cohort that the population cannot fill.
    """
    parts = Parts(spec)
    refuse((a_cohort_above_the_population,), parts)
    return parts.sampler, parts.sampling


def make_roles(spec: RunSpec) -> tuple[tuple[Role[Any], ...], tuple[Role[Any], ...]]:
    """Return the run's (data attacks, update attacks), each with its clients.

    Raises:
        PluginError: An attack that does not exist or takes other options.
        ScenarioError: Clients that cannot have the roles.
    """
    parts = Parts(spec)
    refuse((a_cohort_above_the_population, *OF_ROLES), parts)
    return parts.roles
