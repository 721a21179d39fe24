"""Single ingredients of a run, made from its spec: plans and kernels are put together from them."""

from functools import lru_cache
from typing import Any

from numpy.typing import NDArray
from torch import nn

from ..clients.algorithms import ALGORITHMS
from ..clients.data import DATASETS, PARTITIONS, federate
from ..clients.data.base import FederatedData, Perturb
from ..clients.exchange import Exchange, exchange_of
from ..clients.models import build_model
from ..core.contracts import Audit, LocalRule, Privacy, Sampler, Sampling
from ..core.declarations import Algorithms, Datasets, Mechanisms, Samplers, declared
from ..core.errors import ScenarioError
from ..core.guards import guard
from ..core.layout import Layout
from ..core.registry import Family
from ..core.replies import REPLIES
from ..core.roles import Role
from ..core.seeds import generator
from ..privacy import AUDITS, PRIVACY
from ..privacy.calibration import calibrate
from .procedures import own_half, share
from .roles import assign
from .samplers import SAMPLERS
from .spec import PluginSpec, RunSpec


def made(family: Family[Any], spec: PluginSpec) -> Any:
    """Return a plug-in whose faults become one clear line.

    Raises:
        PluginError: A plug-in that does not exist or takes other options.
    """
    return watched(family, family.build(spec.name, spec.options), spec.name)


def watched(family: Family[Any], plugin: Any, name: str) -> Any:
    """Return a family's plug-in so that what it raises, and what it hands back amiss, is one clear line."""
    return guard(plugin, f"{family.noun} '{name}'", REPLIES.get(family.name))


def given_or_made(spec: RunSpec, data: FederatedData | None) -> FederatedData:
    """Return ``data``, or where none are given those of the spec.

    Raises:
        GauntletError: As ``make_data``; or data that the privacy mechanism should have noised are given.
    """
    if data is None:
        return make_data(spec)
    if perturbation(spec) is not None:
        raise ScenarioError(
            f"privacy '{spec.privacy.name}' noises the records of a data set that the run loads itself; "
            "data made elsewhere cannot be given to it"
        )
    return data


def perturbation(spec: RunSpec) -> Perturb | None:
    """Return how the privacy mechanism noises training records, or None where it leaves them alone.

    Raises:
        PluginError: An unknown mechanism, or options out of range.
        ScenarioError: Noise from the system, which would be drawn anew, and not charged, at every load.
    """
    perturb = declared(PRIVACY.build(spec.privacy.name, spec.privacy.options), Mechanisms.perturb)
    if perturb is not None and spec.noise_seed is not None:
        raise ScenarioError(
            f"privacy '{spec.privacy.name}' releases the data once, and every process that loads them must "
            "draw the same noise: noise_seed must be 'run', got 'system'"
        )
    return None if perturb is None else lambda records: perturb(records, generator(spec.seed, "input noise"))


def make_data(spec: RunSpec) -> FederatedData:
    """Return the clients' data.

    Raises:
        DataError: An unknown or unreadable data set.
        PluginError: Options that the data set or partition does not take.
        ScenarioError: More clients than the data can feed.
    """
    dataset = DATASETS.build(spec.data.name, spec.data.options)
    partition = None
    if declared(dataset, Datasets.load) is not None:
        partition = PARTITIONS.build(spec.partition.name, spec.partition.options)
    return federate(dataset, partition, spec.num_clients, spec.seed, spec.root_examples, perturbation(spec))


def make_model(spec: RunSpec, data: FederatedData) -> nn.Module:
    """Return the model with the run's initial weights.

    Raises:
        PluginError: An unknown model, or options that it does not take.
        ScenarioError: Model and data do not fit.
    """
    return build_model(spec.model.name, spec.model.options, data, generator(spec.seed, "model"))


def make_rule(spec: RunSpec) -> LocalRule:
    """Return the algorithm."""
    rule: LocalRule = made(ALGORITHMS, spec.algorithm)
    return rule


def make_exchange(spec: RunSpec, layout: Layout) -> Exchange:
    """Return what the run's clients send, receive and remember.

    Raises:
        PluginError: An algorithm that does not exist, or declares what cannot be.
    """
    rule = make_rule(spec)
    return exchange_of(rule, layout, rule.schedule(spec.training))


def make_sampling(spec: RunSpec) -> tuple[Sampler, Sampling]:
    """Return the sampler and how it samples this population, an audit's canaries included.

    Raises:
        PluginError: An unknown sampler or option.
        ScenarioError: A cohort that the population cannot fill.
    """
    half, num_clients = own_half(spec, Algorithms.sample), spec.num_clients + make_audit(spec).num_canaries
    plain: Sampler = half or SAMPLERS.build(spec.sampler.name, spec.sampler.options)
    try:
        plain.sampling(num_clients)
    except ValueError as error:
        raise ScenarioError(f"{spec.sampler.name}: {error}") from error
    except KeyboardInterrupt:
        raise
    except BaseException:  # a fault of the plug-in, which its guard names
        pass
    family, named = (ALGORITHMS, spec.algorithm) if half else (SAMPLERS, spec.sampler)
    sampler: Sampler = watched(family, plain, named.name)
    return sampler, sampler.sampling(num_clients)


def sample_cohort(sampler: Sampler, sampling: Sampling, seed: int, round_: int) -> NDArray[Any]:
    """Return a round's clients, ascending: always the same ones."""
    if declared(sampler, Samplers.periodic):
        periodic: Any = sampler
        found: NDArray[Any] = periodic.sample(sampling.num_clients, generator(seed, "sample"), round_)
        return found
    return sampler.sample(sampling.num_clients, generator(seed, "sample", round_))


def make_audit(spec: RunSpec) -> Audit:
    """Return the audit.

    Raises:
        PluginError: An unknown audit, or options out of range.
    """
    audit: Audit = AUDITS.build(spec.audit.name, spec.audit.options)
    return audit


def make_privacy(spec: RunSpec, num_parameters: int | None = None) -> Privacy:
    """Return the mechanism, its noise calibrated where a budget is given.

    Raises:
        PluginError: An unknown mechanism, or options out of range.
        ScenarioError: A budget that this sampling cannot keep.
    """
    mechanism: Privacy = PRIVACY.build(spec.privacy.name, spec.privacy.options)
    try:
        remembers = declared(make_rule(spec), Algorithms.memory) is not None
        sampling = make_sampling(spec)[1]
        return calibrate(share(spec, mechanism), sampling, spec.rounds, num_parameters, not remembers)
    except ValueError as error:
        raise ScenarioError(f"{spec.privacy.name}: {error}") from error


def make_roles(spec: RunSpec) -> tuple[tuple[Role[Any], ...], tuple[Role[Any], ...]]:
    """Return the run's (data attacks, update attacks), each with its clients.

    Raises:
        PluginError: An attack that does not exist or takes other options.
        ScenarioError: Clients that cannot have the roles.
    """
    sampler, sampling = make_sampling(spec)
    largest = sampling.expected_size if sampling.scheme in ("full", "fixed_size") else spec.num_clients
    for role in spec.roles:
        if role.sampled and int(role.sampled * largest + 1e-9) == 0:
            raise ScenarioError(
                f"attack '{role.plugin.name}': {role.sampled:g} of a cohort of {largest:g} is nobody; "
                f"allowed: at least {1 / largest:.3g}"
            )

    @lru_cache(maxsize=1)
    def cohorts(round_: int) -> list[int]:
        drawn = sample_cohort(sampler, sampling, spec.seed, round_)
        return [int(i) for i in drawn if i < spec.num_clients]

    return assign(spec.roles, spec.num_clients, spec.seed, cohorts)
