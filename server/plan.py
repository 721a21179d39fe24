"""What stays the same from round to round, built once from a run's spec."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from ..clients.codecs.parts.sizes import float_frame, max_frame
from ..clients.exchange.facts import BYTES as FACT_BYTES
from ..core.client_rows import ClientRows, rows_of
from ..core.declarations import (
    Algorithms,
    Codecs,
    Defenses,
    Mechanisms,
    Networks,
    Samplers,
    Schedules,
    Servers,
    declared,
    declares,
    name_of,
)
from ..core.errors import PluginError, named_faults
from ..core.presence import reduced
from ..core.updates import Context, Updates
from .cohort.sampling import counted_sampling, sample_cohort
from .optimizers.stepping import stepped

if TYPE_CHECKING:
    from ..clients.exchange.exchange import Exchange
    from ..clients.exchange.levels import Levels
    from ..core.contracts import (
        Audit,
        Codec,
        Defense,
        Facts,
        MaliciousServer,
        Network,
        PreAggregation,
        Privacy,
        Sampler,
        Sampling,
        Schedule,
        Secret,
        ServerOptimizer,
        UpdateAttack,
    )
    from ..core.layout import Layout
    from ..core.roles import Role
    from ..core.trees import State
    from ..privacy.accounting import Accountant
    from .guarantee.canaries import Canaries
    from .mail.link import ClientLinks
    from .mail.mailbox import Downlink
    from .server_models import Candidates, OwnTraining

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Plan:
    """What stays: the plug-ins, the layout and who misbehaves. Built by ``assembly.build``."""

    seed: int
    noise_seed: int
    layout: Layout
    sampler: Sampler
    sampling: Sampling
    poisons: tuple[Role[Any], ...]
    attacks: tuple[Role[UpdateAttack], ...]
    codec: Codec
    public: int
    codec_down: Codec
    public_down: int
    network: Network
    schedule: Schedule
    server: MaliciousServer
    inserted: Secret
    privacy: Privacy
    pre_aggregations: tuple[PreAggregation, ...]
    defense: Defense
    optimizer: ServerOptimizer
    accountant: Accountant
    audit: Audit
    canaries: Canaries
    exchange: Exchange
    levels: Levels | None = None
    link: ClientLinks | None = None
    own_step: bool = False
    root: OwnTraining | None = None
    candidates: Candidates | None = None
    rows: bool = True
    fitted_inputs: tuple[str, ...] = ()

    @cached_property
    def summed(self) -> bool:
        """Whether workers add up their clients' updates, since nobody needs single ones.

        That takes a linear defense with nothing before it, honest clients who send what they are, and a
        network that loses nothing; messages that are updates of whole models, of clients that remember
        nothing; a schedule that counts all of a cohort at once; and an honest server.
        """
        plain = not (self.rows or len(self.canaries) or self.attacks or self.poisons or self.pre_aggregations)
        linear = declared(self.defense, Defenses.linear) and declares(self.defense, Defenses.counts)
        linear = linear and declared(self.defense, Defenses.prepare) is None  # it remembers what it planted
        sent_as_is = declared(self.codec, Codecs.verbatim) and declared(self.privacy, Mechanisms.settled)
        plain = plain and self.exchange.default and self.plain and self.levels is None and self.honest
        plain = plain and not self.combines
        return plain and linear and sent_as_is and declared(self.network, Networks.complete)

    @cached_property
    def combines(self) -> bool:
        """Whether the algorithm makes an update of the messages that count, in the place of a defense."""
        return self.own_step and declared(self.optimizer, Algorithms.combine) is not None

    @property
    def step_length(self) -> int:
        """How many numbers the server steps along: of an update where they are combined, or of a message."""
        return self.layout.num_parameters if self.combines else self.exchange.up.num_parameters

    @cached_property
    def plain(self) -> bool:
        """Whether all who are drawn begin at once, and all messages that arrive count in the same round."""
        return declared(self.schedule, Schedules.plain)

    @cached_property
    def honest(self) -> bool:
        """Whether the server sends what it has, as it is."""
        return declared(self.server, Servers.deviates) == "nothing"

    def at(self, round_: int) -> Plan:
        """Return the plan of one round: another one only where the sampler says that rounds differ."""
        sampling_at = declared(self.sampler, Samplers.sampling_at)
        if sampling_at is None:
            return self
        found = counted_sampling(self.schedule, sampling_at(self.sampling.num_clients, round_))
        return self if found == self.sampling else replace(self, sampling=found)

    def context(
        self, round_: int, params: Tensor, buffers: Tensor, root: Tensor | None, seed: int | None = None
    ) -> Context:
        """Return what the rules are told of a round.

        Args:
            round_: The round.
            params, buffers: What its clients received.  # [P], [Q]
            root: The server's own update, or None.  # [P]
            seed: What a rule draws from; by default the run's.
        """
        known = round_, params, self.exchange.up, self.seed if seed is None else seed, root
        if (models := self.candidates) is None:
            return Context(*known)
        told = models.forward(buffers), models.examples, models.loss, models.blank
        return Context(*known, *told, models.gradient(buffers))

    def extra(self, params: Tensor, state: State) -> Tensor:
        """Return what the algorithm's server half sends besides the parameters.  # [E, P]"""
        extra = declared(self.optimizer, Algorithms.extra)
        if extra is None:
            return torch.zeros(0, 0)
        found: Tensor = extra(params, state)
        count, length = self.extra_shape
        whole = self._of_a_procedure and found.shape == (length,)  # one vector, and no row of several
        found = found[None] if whole else found
        if found.shape != (count, length) or found.dtype != params.dtype:
            raise PluginError(
                f"algorithm {name_of(self.optimizer)}: extra must return {count} vectors of "
                f"{length} numbers, {params.dtype}; got {list(found.shape)} {found.dtype}"
            )
        return found

    @cached_property
    def extra_shape(self) -> tuple[int, int]:
        """How many vectors the server sends besides the parameters, E, and how long each is."""
        length = self.layout.num_parameters
        behind = self.exchange.down.num_parameters - length
        if self._of_a_procedure:
            return 1, behind
        rows = behind // length if self.exchange.rule else int(declared(self.optimizer, Algorithms.extras))
        return rows, length

    @property
    def _of_a_procedure(self) -> bool:
        """Whether a procedure declares what is sent, in tensors of its own shapes."""
        return self.exchange.rule is None and self.exchange.down != self.layout

    def memory(self, state: ClientRows, params: Tensor, client_ids: Sequence[int]) -> Tensor:
        """Return what clients remember.  # [K, S]"""
        if not self.exchange.memory.parameters:
            return torch.zeros(0, 0)
        return rows_of(state, client_ids, self.exchange.first(params))

    def model(self, params: Tensor, state: State) -> Tensor:
        """Return the model that is scored: the parameters, unless the algorithm has another one.  # [P]"""
        model = declared(self.optimizer, Algorithms.model)
        return params if model is None else model(params, state)

    def served(self, params: Tensor, state: State) -> Callable[[int], Tensor] | None:
        """Return what tells the model that each client is served [P]; None where all have the same one."""
        found = declared(self.optimizer, Algorithms.served)
        return None if found is None else lambda client_id: found(params, state, client_id)

    def moved(
        self, params: Tensor, aggregate: Tensor, state: State, share: float, facts: Facts | None = None
    ) -> tuple[Tensor, State]:
        """Return the parameters after the server's step along an aggregate of messages [M], and its memory.

        ``share`` is the part of the population that the aggregate is a mean of, and ``facts`` what the
        clients behind it stated, where they do.
        """
        if not self.own_step or (not self.exchange.tells_more and facts is None):
            return stepped(self.optimizer, params, aggregate, state, self.layout)
        step, told = cast(Any, self.optimizer.step), () if facts is None else (facts,)
        found: tuple[Tensor, State] = step(params, self.exchange.unscaled(aggregate), state, share, *told)
        return found

    @cached_property
    def bytes_beside(self) -> int:
        """Bytes that one client receives beside the parameters' frame: buffers and extras, as floats."""
        return 4 * (prod(self.extra_shape) + self.layout.num_buffers)

    @cached_property
    def bytes_down(self) -> int:
        """Bytes that one client receives at most: the longest frame of the parameters, and what is beside."""
        return self.frame_down + self.bytes_beside

    @cached_property
    def bytes_beside_up(self) -> int:
        """Bytes that one client sends beside its frame: buffers as float32, facts as float64."""
        return 4 * self.layout.num_buffers + FACT_BYTES * len(self.exchange.statement)

    @cached_property
    def frame_up(self) -> int:
        """The longest frame of a client's message, in bytes."""
        return max_frame(self.codec, self.exchange.up)

    @cached_property
    def frame_down(self) -> int:
        """The longest frame of the parameters on their way down, in bytes."""
        return max_frame(self.codec_down, self.layout)

    @cached_property
    def frame_whole(self) -> int:
        """The length of a frame of the parameters in float32, in bytes."""
        return float_frame(self.layout)

    def with_presence(self, updates: Updates) -> Updates:
        """Return clients' messages with what the server assigned to each in the round in which it began.

        Raises:
            PluginError: One is not 0 where its client has nothing.
        """
        if self.levels is None:
            return updates
        presence = self.levels.presence(updates.client_ids.tolist(), updates.started.tolist())
        with named_faults(f"algorithm {name_of(self.levels.algorithm)}: a worker returned what cannot be"):
            return replace(updates, presence=presence)

    def received_bytes(self, down: Downlink, client_ids: Sequence[int]) -> Array:
        """Return how many bytes each client receives in a round, of which this is the downlink.  # [K]"""
        found, round_ = np.full(len(client_ids), down.size, dtype=np.int64), down.broadcast.round
        if self.levels is not None:
            found -= [self._spared[self.levels.level(client, round_)] for client in client_ids]
        for place, client in enumerate(client_ids if down.logs else ()):
            if client in down.logs:
                found[place] += down.logs[client].frame_bytes - self.frame_down
        return found

    @cached_property
    def _spared(self) -> list[int]:
        """How many bytes shorter each level's frame of parameters is than that of the whole model."""
        parts = () if self.levels is None else self.levels.parts
        frames = (max_frame(self.codec_down, reduced(self.layout, part.present)) for part in parts)
        return [self.frame_down - frame for frame in frames]

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
