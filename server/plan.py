"""What stays the same from round to round, built once from a run's spec."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..clients.algorithms import ALGORITHMS
from ..clients.codecs import CODECS
from ..clients.data import DATASETS, PARTITIONS, federate
from ..clients.data.base import FederatedData, Perturb
from ..clients.kernel import BlockKernel
from ..clients.models import build_model
from ..clients.vectorize import Choice, choose
from ..core.contracts import (
    Audit,
    Codec,
    Defense,
    LocalRule,
    Network,
    PreAggregation,
    Privacy,
    Sampler,
    Sampling,
    ServerOptimizer,
    UpdateAttack,
    declared,
)
from ..core.errors import ScenarioError
from ..core.frames import OVERHEAD, public_spec, uvarint
from ..core.layout import Layout
from ..core.registry import Family, guard, options_of
from ..core.roles import Role
from ..core.seeds import generator
from ..core.trees import State
from ..defenses import DEFENSES, PRE_AGGREGATIONS
from ..privacy import AUDITS, PRIVACY
from ..privacy.accounting import Accountant
from ..privacy.calibration import calibrate
from .canaries import Canaries
from .networks import NETWORKS
from .optimizers import SERVER_OPTIMIZERS
from .procedures import check_procedure, own_half, share
from .roles import assign
from .root import Root
from .samplers import SAMPLERS
from .spec import PluginSpec, RunSpec


@dataclass(frozen=True)
class Plan:
    """What stays: the plug-ins, the layout and who misbehaves. Built by ``make_plan``."""

    seed: int
    layout: Layout
    sampler: Sampler
    sampling: Sampling
    poisons: tuple[Role[Any], ...]
    attacks: tuple[Role[UpdateAttack], ...]
    codec: Codec
    public: int
    network: Network
    privacy: Privacy
    pre_aggregations: tuple[PreAggregation, ...]
    defense: Defense
    optimizer: ServerOptimizer
    accountant: Accountant
    audit: Audit
    canaries: Canaries
    root: Root | None = None
    rows: bool = True

    @cached_property
    def summed(self) -> bool:
        """Whether workers add up their clients' updates, since nobody needs single ones.

        That takes a linear defense with nothing before it, honest clients who send what they are, and a
        network that loses nothing.
        """
        plain = not (self.rows or len(self.canaries) or self.attacks or self.poisons or self.pre_aggregations)
        linear = declared(self.defense, "linear", False) and hasattr(self.defense, "counts")
        sent_as_is = declared(self.codec, "verbatim", False) and declared(self.privacy, "settled", False)
        return plain and linear and sent_as_is and declared(self.network, "complete", False)

    def at(self, round_: int) -> "Plan":
        """Return the plan of one round: another one only where the sampler says that rounds differ."""
        sampling_at = declared(self.sampler, "sampling_at", None)
        found = self.sampling if sampling_at is None else sampling_at(self.sampling.num_clients, round_)
        return self if found == self.sampling else replace(self, sampling=found)

    def extra(self, params: Tensor, state: State) -> Tensor:
        """Return what the algorithm's server half sends besides the parameters.  # [E, P]"""
        extra = declared(self.optimizer, "extra", None)
        found: Tensor = torch.zeros(0, 0) if extra is None else extra(params, state)
        return found

    @cached_property
    def bytes_down(self) -> int:
        """Bytes that one client receives: the global parameters and buffers as plain floats."""
        heads = (
            len(uvarint(i) + uvarint(s.size) + uvarint(4 * s.size)) + 1
            for i, s in enumerate(self.layout.parameters)
        )
        vectors = 1 + int(declared(self.optimizer, "extras", 0))
        return OVERHEAD + sum(heads) + 4 * (vectors * self.layout.num_parameters + self.layout.num_buffers)

    def kinds(self, round_: int) -> Mapping[int, str]:
        """Return what each client that is not plainly honest runs in a round, by client id."""
        roles = (*self.poisons, *self.attacks)
        return {c: role.kind for role in roles for c in role.attackers(round_)}

    def malicious(self, round_: int) -> frozenset[int]:
        """Return the clients that attack in a round; unreliable ones are honest."""
        roles = (role for role in (*self.poisons, *self.attacks) if not role.honest)
        return frozenset(client for role in roles for client in role.attackers(round_))


def _make(family: Family[Any], spec: PluginSpec) -> Any:
    return guard(family.build(spec.name, spec.options), f"{family.noun} '{spec.name}'")


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
    """
    perturb = declared(PRIVACY.build(spec.privacy.name, spec.privacy.options), "perturb", None)
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
    if hasattr(dataset, "load"):
        partition = PARTITIONS.build(spec.partition.name, spec.partition.options)
    return federate(dataset, partition, spec.num_clients, spec.seed, spec.root_examples, perturbation(spec))


def make_model(spec: RunSpec, data: FederatedData) -> nn.Module:
    """Return the model with the run's initial weights.

    Raises:
        PluginError: An unknown model, or options that it does not take.
        ScenarioError: Model and data do not fit.
    """
    return build_model(spec.model.name, spec.model.options, data, generator(spec.seed, "model"))


def make_sampling(spec: RunSpec) -> tuple[Sampler, Sampling]:
    """Return the sampler and how it samples this population, an audit's canaries included.

    Raises:
        PluginError: An unknown sampler or option.
        ScenarioError: A cohort that the population cannot fill.
    """
    sampler: Sampler = own_half(spec, "sample") or SAMPLERS.build(spec.sampler.name, spec.sampler.options)
    try:
        return sampler, sampler.sampling(spec.num_clients + make_audit(spec).num_canaries)
    except ValueError as error:
        raise ScenarioError(f"{spec.sampler.name}: {error}") from error


def make_audit(spec: RunSpec) -> Audit:
    """Return the audit.

    Raises:
        PluginError: An unknown audit, or options out of range.
    """
    audit: Audit = AUDITS.build(spec.audit.name, spec.audit.options)
    return audit


def make_canaries(spec: RunSpec, audit: Audit, privacy: Privacy, layout: Layout) -> Canaries:
    """Return the audit's canaries.

    Raises:
        ScenarioError: A mechanism that does not clip: canaries would wreck the model.
    """
    clip_norm = declared(privacy, "clip_norm", None)
    if audit.num_canaries and clip_norm is None:
        raise ScenarioError(
            f"audit '{spec.audit.name}' needs a privacy mechanism that clips, got '{spec.privacy.name}'; "
            "gaussian with noise_multiplier = 0 clips without noise"
        )
    return Canaries(
        seed=spec.seed,
        first=spec.num_clients,
        present=audit.present(generator(spec.seed, "canaries present")),
        num_unseen=audit.num_unseen,
        num_parameters=layout.num_parameters,
        privacy=privacy,
        clip_norm=float(clip_norm or 1.0),
    )


def make_privacy(spec: RunSpec, num_parameters: int | None = None) -> Privacy:
    """Return the mechanism, its noise calibrated where a budget is given.

    Raises:
        PluginError: An unknown mechanism, or options out of range.
        ScenarioError: A budget that this sampling cannot keep.
    """
    mechanism: Privacy = PRIVACY.build(spec.privacy.name, spec.privacy.options)
    try:
        return calibrate(share(spec, mechanism), make_sampling(spec)[1], spec.rounds, num_parameters)
    except ValueError as error:
        raise ScenarioError(f"{spec.privacy.name}: {error}") from error


def make_roles(spec: RunSpec) -> tuple[tuple[Role[Any], ...], tuple[Role[Any], ...]]:
    """Return the run's (data attacks, update attacks), each with its clients.

    Raises:
        PluginError: An attack that does not exist or takes other options.
        ScenarioError: Clients that cannot have the roles.
    """
    sampler, sampling = make_sampling(spec)

    @lru_cache(maxsize=1)
    def cohorts(round_: int) -> list[int]:
        drawn = sample_cohort(sampler, sampling, spec.seed, round_)
        return [int(i) for i in drawn if i < spec.num_clients]

    return assign(spec.roles, spec.num_clients, spec.seed, cohorts)


def sample_cohort(sampler: Sampler, sampling: Sampling, seed: int, round_: int) -> NDArray[Any]:
    """Return a round's clients, ascending: always the same ones."""
    if declared(sampler, "periodic", False):
        periodic: Any = sampler
        found: NDArray[Any] = periodic.sample(sampling.num_clients, generator(seed, "sample"), round_)
        return found
    return sampler.sample(sampling.num_clients, generator(seed, "sample", round_))


def make_choice(spec: RunSpec, data: FederatedData, model: nn.Module) -> Choice:
    """Return how clients are stacked.

    Raises:
        ScenarioError: ``vectorize = "on"`` where they cannot be.
    """
    if own_half(spec, "work") is None:
        rule: LocalRule = _make(ALGORITHMS, spec.algorithm)
        return choose(spec.vectorize, model, data.input_shape, rule.schedule(spec.training).batch_size)
    why = f"algorithm '{spec.algorithm.name}' runs a client in a way of its own"
    if spec.vectorize == "on":
        raise ScenarioError(f"vectorize = on cannot be: {why}; use auto or off")
    return Choice(1, f"one client at a time: {why}")


def make_kernel(spec: RunSpec, data: FederatedData) -> BlockKernel:
    """Return what a worker trains with."""
    poisons, attacks = make_roles(spec)
    steers = tuple(role for role in attacks if declared(role.attack, "steer", None))
    rule = make_rule(spec)
    model = make_model(spec, data)
    mechanism = make_privacy(spec, Layout.of(model).num_parameters)
    privacy = guard(mechanism, f"privacy mechanism '{spec.privacy.name}'")
    height = make_choice(spec, data, model).height
    counts = declared(_make(DEFENSES, spec.defense), "counts", None)
    if steers and declared(rule, "work", None) is not None:
        raise ScenarioError(
            f"attack '{steers[0].kind}' twists the gradients of local SGD, and algorithm "
            f"'{spec.algorithm.name}' works in a way of its own"
        )
    return BlockKernel(
        data,
        model,
        rule,
        spec.training,
        privacy,
        poisons,
        spec.seed,
        height=height,
        counts=counts,
        steers=steers,
    )


def make_rule(spec: RunSpec) -> LocalRule:
    """Return the algorithm."""
    rule: LocalRule = _make(ALGORITHMS, spec.algorithm)
    return rule


def make_plan(spec: RunSpec, layout: Layout) -> Plan:
    """Return the plan of a run.

    Raises:
        PluginError: A plug-in that does not exist or takes other options.
        ScenarioError: Ingredients that do not go together.
    """
    sampler, sampling = make_sampling(spec)
    poisons, attacks = make_roles(spec)
    privacy = make_privacy(spec, layout.num_parameters)
    guarded = guard(privacy, f"privacy mechanism '{spec.privacy.name}'")
    audit: Audit = guard(make_audit(spec), f"audit '{spec.audit.name}'")
    codec: Codec = _make(CODECS, spec.codec)
    defense: Defense = _make(DEFENSES, spec.defense)
    check_procedure(spec, defense, codec, layout)
    _refuse_clashes(privacy, defense, layout, spec)
    _refuse_what_needs_single_updates(privacy, defense, codec, spec)
    return Plan(
        seed=spec.seed,
        layout=layout,
        sampler=sampler,
        sampling=sampling,
        poisons=poisons,
        attacks=attacks,
        codec=codec,
        public=public_spec(layout, spec.codec.name, options_of(codec)),
        network=_make(NETWORKS, spec.network),
        privacy=guarded,
        pre_aggregations=tuple(_make(PRE_AGGREGATIONS, s) for s in spec.pre_aggregations),
        defense=defense,
        optimizer=_server_half(spec),
        rows=spec.rows,
        accountant=Accountant(declared(privacy, "delta", None), spec.num_clients, spec.max_epsilon),
        audit=audit,
        canaries=make_canaries(spec, audit, guarded, layout),
    )


def _server_half(spec: RunSpec) -> ServerOptimizer:
    """Return what moves the parameters: the algorithm's own half where it has one."""
    half: ServerOptimizer = _make(
        *(
            (ALGORITHMS, spec.algorithm)
            if own_half(spec, "step")
            else (SERVER_OPTIMIZERS, spec.server_optimizer)
        )
    )
    return half


def make_root(spec: RunSpec, data: FederatedData) -> Root | None:
    """Return what trains on the server's own examples, or None where it keeps none.

    The kernel is a client's own: model, algorithm and training options. The server neither attacks nor
    hides its update from itself.

    Raises:
        ScenarioError: Data made elsewhere hold no examples for the server.
    """
    own: FederatedData | None = declared(data, "root", None)
    if own is None:
        if spec.root_examples:
            raise ScenarioError(f"root_examples is {spec.root_examples}, but the given data hold none")
        return None
    alone = replace(spec, privacy=PluginSpec("none"), roles=())
    return Root(make_kernel(alone, own), spec.num_clients)


def _refuse_clashes(privacy: Privacy, defense: Defense, layout: Layout, spec: RunSpec) -> None:
    if declared(defense, "needs_root", False) and not spec.root_examples:
        raise ScenarioError(
            f"defense '{spec.defense.name}' trains on examples of the server's own: root_examples must be "
            f"above 0, got {spec.root_examples}"
        )
    if privacy.trust_model != "none" and layout.num_buffers:
        names = ", ".join(slot.name for slot in layout.buffers[:3])
        raise ScenarioError(
            f"privacy '{spec.privacy.name}' cannot protect a model with batch statistics "
            f"({names} ...): they would leave unclipped; use a model with group norm"
        )


def _refuse_what_needs_single_updates(
    privacy: Privacy, defense: Defense, codec: Codec, spec: RunSpec
) -> None:
    """Under distributed trust the server sees a sum: refuse what works on single updates."""
    if privacy.trust_model != "distributed":
        return
    only = f"with privacy '{spec.privacy.name}' the server sees only the sum of the updates"
    needs = declared(defense, "individual", True)
    sensitivity = declared(defense, "sensitivity", None)
    if needs or sensitivity is None or sensitivity(1.0, 1.0) is None:
        why = "needs single updates" if needs else f"({spec.defense}) does not divide by a fixed size"
        raise ScenarioError(
            f"{only}, and defense '{spec.defense.name}' {why}; use mean with weighting = 'fixed'"
        )
    if spec.pre_aggregations:
        raise ScenarioError(
            f"{only}, and pre-aggregation '{spec.pre_aggregations[0].name}' needs single updates; "
            "leave it out"
        )
    if not declared(codec, "lossless", False):
        raise ScenarioError(
            f"{only}, and what codec '{spec.codec.name}' makes cannot be added up; use identity"
        )
