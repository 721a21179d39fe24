"""What changes from round to round: all that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..clients.codecs.parts.between_rounds import shared_by
from ..core.contracts import UpdateKnowledge
from ..core.declarations import name_of
from ..core.errors import PluginError
from ..core.trees import require_tree
from .mail.catching_up import first_held
from .mail.replay import first_log

if TYPE_CHECKING:
    from ..core.client_rows import ClientRows
    from ..core.trees import State
    from .mail.mailbox import Mailbox
    from .plan import Plan


@dataclass(frozen=True)
class ServerState:
    """The server's memory between two rounds.

    Attributes:
        round: The next round, from 0.
        params: Global parameters, float32.  # [P]
        buffers: Global floating buffers, float32.  # [Q]
        attacks: Each update attack's memory; by client id where knowledge is OWN.
        codec, privacy, pre_aggregations, defense, optimizer: The plug-ins' memories.
        ledger: What the accountant has charged so far.
        clock: Virtual seconds since the start.
        bytes_up: Bytes that clients sent so far.
        bytes_down: Bytes that clients received so far.
        shared: What both sides of the codec will know of the next round; None where it shares nothing.
        clients: What the clients remember that were ever counted, by client id.  # [S] each
        counted: The round in which each of them last was.
        schedule: The schedule's memory.
        server: What a malicious server remembers.
        attacked: Clients that attacked in a round in which they began, ascending; None where the sampler
            alone tells who did (``Plan.attacked``).
        down: What clients hold of a downlink that sends differences (``mail.catching_up``); None of others.
        mailbox: Messages that are not counted yet; None where there is none, as between synchronous rounds.
        log: What was counted, where clients may be sent that (``mail.replay``); else None.
    """

    round: int
    params: Tensor
    buffers: Tensor
    attacks: tuple[State, ...]
    codec: State
    privacy: State
    pre_aggregations: tuple[State, ...]
    defense: State
    optimizer: State
    ledger: State
    clock: float = 0.0
    bytes_up: int = 0
    bytes_down: int = 0
    shared: State = None
    clients: ClientRows = field(default_factory=dict)
    counted: Mapping[int, int] = field(default_factory=dict)
    schedule: State = None
    server: State = None
    attacked: tuple[int, ...] | None = None
    mailbox: Mailbox | None = None
    down: State = None
    log: State = None


def require_memories(plan: Plan, state: ServerState) -> None:
    """Raise ``PluginError`` where a plug-in's memory cannot be saved, before many rounds stand on it."""
    memories = [
        *zip((role.attack for role in plan.attacks), state.attacks, strict=True),
        *zip(plan.pre_aggregations, state.pre_aggregations, strict=True),
        *((plan.codec, state.codec), (plan.privacy, state.privacy), (plan.defense, state.defense)),
        *((plan.optimizer, state.optimizer), (plan.schedule, state.schedule), (plan.server, state.server)),
    ]
    for plugin, memory in memories:
        try:
            require_tree(memory, name_of(plugin))
        except TypeError as error:
            raise PluginError(f"what {name_of(plugin)} remembers cannot be saved: {error}") from error


def first_state(plan: Plan, params: Tensor, buffers: Tensor) -> ServerState:
    """Return the state before round 0."""
    codec = plan.codec.init()
    return ServerState(
        round=0,
        params=params,
        buffers=buffers,
        attacks=tuple(
            {} if role.attack.knowledge is UpdateKnowledge.OWN else role.attack.init()
            for role in plan.attacks
        ),
        codec=codec,
        privacy=plan.privacy.init(),
        pre_aggregations=tuple(p.init() for p in plan.pre_aggregations),
        defense=plan.defense.init(),
        optimizer=plan.optimizer.init(),
        ledger=plan.accountant.init(),
        schedule=plan.schedule.init(),
        server=plan.server.init(plan.inserted),
        attacked=None if plan.plain else (),
        down=first_held(plan, params),
        log=first_log(plan),
        shared=shared_by(plan.codec, params, torch.zeros(plan.exchange.up.num_parameters), codec),
    )
