"""What stays the same from round to round, built once from a run's spec."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..clients.algorithms import ALGORITHMS
from ..clients.codecs import CODECS
from ..clients.exchange import Exchange
from ..core.client_rows import ClientRows, rows_of
from ..core.contracts import (
    Audit,
    Codec,
    Defense,
    Network,
    PreAggregation,
    Privacy,
    Sampler,
    Sampling,
    ServerOptimizer,
    UpdateAttack,
)
from ..core.declarations import (
    Algorithms,
    Codecs,
    Defenses,
    Mechanisms,
    Networks,
    Samplers,
    declared,
    declares,
)
from ..core.errors import PluginError, ScenarioError
from ..core.frames import OVERHEAD, public_spec, uvarint
from ..core.layout import Layout
from ..core.registry import options_of
from ..core.roles import Role
from ..core.seeds import generator
from ..core.trees import State
from ..defenses import DEFENSES, PRE_AGGREGATIONS
from ..privacy import AUDITS, PRIVACY
from ..privacy.accounting import Accountant
from .canaries import Canaries
from .ingredients import (
    made,
    make_audit,
    make_exchange,
    make_privacy,
    make_roles,
    make_sampling,
    sample_cohort,
    watched,
)
from .networks import NETWORKS
from .optimizers import SERVER_OPTIMIZERS
from .procedures import check_exchange, check_procedure, own_half
from .root import Root
from .rows import check_rows
from .spec import RunSpec, noise_seed


@dataclass(frozen=True)
class Plan:
    """What stays: the plug-ins, the layout and who misbehaves. Built by ``make_plan``."""

    seed: int
    noise_seed: int
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
    exchange: Exchange
    own_step: bool = False
    root: Root | None = None
    rows: bool = True

    @cached_property
    def summed(self) -> bool:
        """Whether workers add up their clients' updates, since nobody needs single ones.

        That takes a linear defense with nothing before it, honest clients who send what they are, and a
        network that loses nothing; and messages that are updates, of clients that remember nothing.
        """
        plain = not (self.rows or len(self.canaries) or self.attacks or self.poisons or self.pre_aggregations)
        linear = declared(self.defense, Defenses.linear) and declares(self.defense, Defenses.counts)
        sent_as_is = declared(self.codec, Codecs.verbatim) and declared(self.privacy, Mechanisms.settled)
        plain = plain and self.exchange.default
        return plain and linear and sent_as_is and declared(self.network, Networks.complete)

    def at(self, round_: int) -> "Plan":
        """Return the plan of one round: another one only where the sampler says that rounds differ."""
        sampling_at = declared(self.sampler, Samplers.sampling_at)
        found = self.sampling if sampling_at is None else sampling_at(self.sampling.num_clients, round_)
        return self if found == self.sampling else replace(self, sampling=found)

    def extra(self, params: Tensor, state: State) -> Tensor:
        """Return what the algorithm's server half sends besides the parameters.  # [E, P]"""
        extra = declared(self.optimizer, Algorithms.extra)
        found: Tensor = torch.zeros(0, 0) if extra is None else extra(params, state)
        if extra is not None and (
            found.shape != (self.num_extra, len(params)) or found.dtype != params.dtype
        ):
            raise PluginError(
                f"{self.exchange.name}: extra must return {self.num_extra} vectors of {len(params)} numbers, "
                f"{params.dtype}, got {list(found.shape)} {found.dtype}"
            )
        return found

    @cached_property
    def num_extra(self) -> int:
        """How many vectors the server sends besides the parameters, E."""
        if self.exchange.rule is None:
            return int(declared(self.optimizer, Algorithms.extras))
        return self.exchange.down.num_parameters // self.layout.num_parameters - 1

    def memory(self, state: ClientRows, params: Tensor, client_ids: Sequence[int]) -> Tensor:
        """Return what clients remember.  # [K, S]"""
        if not self.exchange.memory.parameters:
            return torch.zeros(0, 0)
        return rows_of(state, client_ids, self.exchange.first(params))

    def model(self, params: Tensor, state: State) -> Tensor:
        """Return the model that is scored: the parameters, unless the algorithm has another one.  # [P]"""
        model = declared(self.optimizer, Algorithms.model)
        return params if model is None else model(params, state)

    def moved(self, params: Tensor, aggregate: Tensor, state: State, share: float) -> tuple[Tensor, State]:
        """Return the parameters after the server's step along an aggregate of messages [M], and its memory.

        ``share`` is the part of the population that the aggregate is a mean of.
        """
        if self.exchange.rule is None or not self.own_step:
            return self.optimizer.step(params, aggregate, state)
        step: Any = self.optimizer.step
        found: tuple[Tensor, State] = step(params, self.exchange.unscaled(aggregate), state, share)
        return found

    @cached_property
    def bytes_down(self) -> int:
        """Bytes that one client receives: the global parameters and buffers as plain floats."""
        heads = (
            len(uvarint(i) + uvarint(s.size) + uvarint(4 * s.size)) + 1
            for i, s in enumerate(self.layout.parameters)
        )
        vectors = 1 + self.num_extra
        return OVERHEAD + sum(heads) + 4 * (vectors * self.layout.num_parameters + self.layout.num_buffers)

    def kinds(self, round_: int) -> Mapping[int, str]:
        """Return what each client that is not plainly honest runs in a round, by client id."""
        roles = (*self.poisons, *self.attacks)
        return {c: role.kind for role in roles for c in role.attackers(round_)}

    def malicious(self, round_: int) -> frozenset[int]:
        """Return the clients that attack in a round; unreliable ones are honest."""
        roles = (role for role in (*self.poisons, *self.attacks) if not role.honest)
        return frozenset(client for role in roles for client in role.attackers(round_))

    def attacked(self, round_: int) -> frozenset[int]:
        """Return the clients that have attacked by the end of a round: in it, or in an earlier one.

        A client attacks in a round in which its attack is active and it is in the cohort.
        """
        for number in range(len(self._attacked), round_ + 1):
            before = self._attacked[-1] if number else frozenset()
            fresh = self.malicious(number) - before
            if fresh:
                fresh &= set(
                    sample_cohort(self.sampler, self.at(number).sampling, self.seed, number).tolist()
                )
            self._attacked.append(before | fresh if fresh else before)
        return self._attacked[round_]

    @cached_property
    def _attacked(self) -> list[frozenset[int]]:
        """``attacked`` of the rounds from 0 on, as far as somebody has asked: it follows from the rest."""
        return []


def make_plan(spec: RunSpec, layout: Layout) -> Plan:
    """Return the plan of a run.

    Raises:
        PluginError: A plug-in that does not exist or takes other options.
        ScenarioError: Ingredients that do not go together.
    """
    sampler, sampling = make_sampling(spec)
    poisons, attacks = make_roles(spec)
    exchange = make_exchange(spec, layout)
    privacy = make_privacy(spec, exchange.up.num_parameters)
    guarded = watched(PRIVACY, privacy, spec.privacy.name)
    audit: Audit = watched(AUDITS, make_audit(spec), spec.audit.name)
    codec: Codec = made(CODECS, spec.codec)
    defense: Defense = made(DEFENSES, spec.defense)
    pre_aggregations = tuple(made(PRE_AGGREGATIONS, s) for s in spec.pre_aggregations)
    check_procedure(spec, defense, codec, layout)
    check_exchange(spec, exchange, privacy, defense)
    _refuse_clashes(privacy, defense, layout, spec)
    _refuse_what_needs_single_updates(privacy, defense, codec, spec)
    check_rows(spec, pre_aggregations, defense, sampler, sampling)
    return Plan(
        seed=spec.seed,
        noise_seed=noise_seed(spec),
        layout=layout,
        sampler=sampler,
        sampling=sampling,
        poisons=poisons,
        attacks=attacks,
        codec=codec,
        public=public_spec(exchange.up, spec.codec.name, options_of(codec)),
        network=made(NETWORKS, spec.network),
        privacy=guarded,
        pre_aggregations=pre_aggregations,
        defense=defense,
        optimizer=_server_half(spec),
        exchange=exchange,
        own_step=own_half(spec, Algorithms.step) is not None,
        rows=spec.rows,
        accountant=Accountant(declared(privacy, Mechanisms.delta), spec.num_clients, spec.max_epsilon),
        audit=audit,
        canaries=make_canaries(spec, audit, guarded, exchange.up),
    )


def make_canaries(spec: RunSpec, audit: Audit, privacy: Privacy, layout: Layout) -> Canaries:
    """Return the audit's canaries.

    Raises:
        ScenarioError: A mechanism that does not clip: canaries would wreck the model.
    """
    clip_norm = declared(privacy, Mechanisms.clip_norm)
    if audit.num_canaries and clip_norm is None:
        raise ScenarioError(
            f"audit '{spec.audit.name}' needs a privacy mechanism that clips, got '{spec.privacy.name}'; "
            "gaussian with noise_multiplier = 0 clips without noise"
        )
    return Canaries(
        seed=spec.seed,
        noise_seed=noise_seed(spec),
        first=spec.num_clients,
        present=audit.present(generator(spec.seed, "canaries present")),
        num_unseen=audit.num_unseen,
        num_parameters=layout.num_parameters,
        privacy=privacy,
        clip_norm=float(clip_norm or 1.0),
    )


def _server_half(spec: RunSpec) -> ServerOptimizer:
    """Return what moves the parameters: the algorithm's own half where it has one."""
    half: ServerOptimizer = made(
        *(
            (ALGORITHMS, spec.algorithm)
            if own_half(spec, Algorithms.step)
            else (SERVER_OPTIMIZERS, spec.server_optimizer)
        )
    )
    return half


def _refuse_clashes(privacy: Privacy, defense: Defense, layout: Layout, spec: RunSpec) -> None:
    if declared(defense, Defenses.needs_root) and not spec.root_examples:
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
    needs = declared(defense, Defenses.individual)
    sensitivity = declared(defense, Defenses.sensitivity)
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
    if not declared(codec, Codecs.lossless):
        raise ScenarioError(
            f"{only}, and what codec '{spec.codec.name}' makes cannot be added up; use identity"
        )
