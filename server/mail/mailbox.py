"""The mailbox: messages that clients sent and that no round has counted yet, with all that goes with them.

What was broadcast and shared in a round stays here as long as one of its messages does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import CodecStreams, Secret, Traffic
from ...core.updates import Updates, concatenate

if TYPE_CHECKING:
    from ...clients.codecs.parts.accounts import Account
    from ...clients.exchange.messages import Broadcast
    from ...core.trees import State

Array = np.ndarray[Any, Any]
COLUMNS = ("losses", "raw_norms", "norms", "memory", "bytes_up", "begins", "seconds", "waits", "arrives")


@dataclass(frozen=True)
class Downlink:
    """What every client that begins in a round receives.

    Attributes:
        broadcast: What its worker needs to train it.
        shared: What both sides of the codec know of the round; None where it shares nothing.
        size: How many bytes one client receives.
        planted: What a malicious server knows of what it did to the model; nothing of an honest one.
        account: What the frame of the parameters cost, for whoever records the round in which it was sent;
            None of a codec that sends float32 as it is. No checkpoint holds it.
        logs: By client id, what it cost to send what was counted since, where a client is sent that in the
            place of the parameters' frame. No checkpoint holds it.
    """

    broadcast: Broadcast
    shared: State
    size: int
    planted: Secret = field(default_factory=dict)
    account: Account | None = None
    logs: Mapping[int, Account] = field(default_factory=dict)

    def streams(self, seed: int) -> CodecStreams:
        """Return what the round's frames are written and read with in a run of this seed."""
        return CodecStreams(seed, self.broadcast.round, self.shared, params=self.broadcast.params)


@dataclass(frozen=True)
class Messages:
    """Messages, one row a client, in ascending id.

    Attributes:
        updates: As they left the clients' hands, with the round in which each began.  # [K, M]
        honest: The same before any lie.  # [K, M]
        losses, raw_norms, norms: See ``outcome.Reception``.  # [K]
        memory: What each client will remember if its message is counted.  # [K, S]
        frames: The bytes on the wire, in the same order; none of a verbatim codec.
        bytes_up: How many they are, buffers included, int64.  # [K]
        begins: When each client began, in virtual seconds since the start of the run, float64.  # [K]
        seconds: From then to the arrival of its message, as the network says, float64.  # [K]
        waits: When the network gives up those that began with it, or has them all, float64.  # [K]
        arrives: When the message arrives; infinite where the network lets it not, float64.  # [K]
    """

    updates: Updates
    honest: Updates
    losses: Tensor
    raw_norms: Tensor
    norms: Tensor
    memory: Tensor
    frames: Sequence[bytes]
    bytes_up: Array
    begins: Array
    seconds: Array
    waits: Array
    arrives: Array

    def __len__(self) -> int:
        return len(self.updates)

    def rows(self, keep: Array) -> Messages:
        """Return the messages where ``keep`` [K] is true; these themselves where it is everywhere."""
        if bool(keep.all()):
            return self
        places = np.flatnonzero(keep)
        updates = self.updates.rows(torch.from_numpy(places))
        alike = self.honest is self.updates
        return replace(
            self,
            updates=updates,
            honest=updates if alike else self.honest.rows(torch.from_numpy(places)),
            frames=[self.frames[place] for place in places.tolist()] if self.frames else (),
            **{name: getattr(self, name)[places] for name in COLUMNS},
        )


def joined(groups: Sequence[Messages]) -> Messages:
    """Return the messages of all groups, at least one, in ascending id; no client is in two of them."""
    if len(groups) == 1:
        return groups[0]
    order = torch.cat([group.updates.client_ids for group in groups]).argsort()
    size = groups[0].updates.expected_size
    updates = concatenate([group.updates for group in groups], size)
    alike = all(group.honest is group.updates for group in groups)
    frames = [frame for group in groups for frame in group.frames]
    columns: dict[str, Any] = {}
    for name in COLUMNS:
        found = [getattr(group, name) for group in groups]
        whole = torch.cat(found) if isinstance(found[0], Tensor) else np.concatenate(found)
        columns[name] = whole[order] if isinstance(whole, Tensor) else whole[order.numpy()]
    return replace(
        groups[0],
        updates=updates,
        honest=updates if alike else concatenate([group.honest for group in groups], size),
        frames=[frames[place] for place in order.tolist()] if frames else (),
        **columns,
    )


@dataclass(frozen=True)
class Mailbox:
    """All messages that are on the way or wait to be counted.

    Attributes:
        groups: The messages of clients that began together, none empty, in the order in which they began.
        downs: What was received in each round of which there is a message, by round.
    """

    groups: tuple[Messages, ...] = ()
    downs: Mapping[int, Downlink] = field(default_factory=dict)

    @property
    def client_ids(self) -> list[int]:
        """Whose messages these are, in the order in which they began."""
        return [client for group in self.groups for client in group.updates.client_ids.tolist()]

    def posted(self, group: Messages, down: Downlink) -> Mailbox:
        """Return the mailbox with the messages of clients that began now, and received ``down``."""
        if not len(group):
            return self
        downs = {**self.downs, down.broadcast.round: down}
        return replace(self, groups=(*self.groups, group), downs=downs)

    def taken(self, leave: Array) -> tuple[Mailbox, list[Messages]]:
        """Return the mailbox without the messages where ``leave`` [n] is true, and those, group by group."""
        stay, gone, at = [], [], 0
        for group in self.groups:
            mask = leave[at : at + len(group)]
            at += len(group)
            stay += [group.rows(~mask)] if not mask.all() else []
            gone += [group.rows(mask)] if mask.any() else []
        rounds = {int(r) for group in stay for r in group.updates.started}
        downs = {r: down for r, down in self.downs.items() if r in rounds}
        return replace(self, groups=tuple(stay), downs=downs), gone

    def traffic(self, round_: int, now: float, drawn: Array) -> Traffic:
        """Return what a schedule knows of a round: when it began, who may take part, who is on the way."""
        if not self.groups:
            none, empty = np.zeros(0, dtype=np.int64), np.zeros(0)
            return Traffic(round_, now, drawn, none, none, empty, empty, empty)
        of_updates = {
            name: np.concatenate([getattr(group.updates, name).numpy() for group in self.groups])
            for name in ("client_ids", "started")
        }
        times = {
            name: np.concatenate([getattr(group, name) for group in self.groups])
            for name in ("begins", "arrives", "waits")
        }
        return Traffic(round_, now, drawn, **of_updates, **times)
