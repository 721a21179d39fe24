"""A mailbox as plain values and tensors, as a checkpoint holds it, and back, after a look at all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...clients.exchange.messages import Broadcast
from ...core.declarations import Codecs, declared
from ...core.updates import Updates
from .mailbox import COLUMNS, Downlink, Mailbox, Messages

if TYPE_CHECKING:
    from ...core.trees import State
    from ..plan import Plan
    from ..state import ServerState

_TYPES = {
    "vectors": (torch.float32, 2),
    "client_ids": (torch.int64, 1),
    "num_examples": (torch.int64, 1),
    "buffers": (torch.float32, 2),
    "started": (torch.int64, 1),
    "losses": (torch.float32, 1),
    "raw_norms": (torch.float64, 1),
    "norms": (torch.float64, 1),
    "memory": (torch.float32, 2),
    "bytes_up": (torch.int64, 1),
    **dict.fromkeys(("begins", "seconds", "waits", "arrives"), (torch.float64, 1)),
}
_TENSORS = ("losses", "raw_norms", "norms", "memory")
ROWS = ("vectors", "client_ids", "num_examples", "buffers", "started")
FACTS = ("facts",)
_TOLD = ("vectors", "num_examples")
STATED = ("num_examples", "facts")
_SENT = {"params": 1, "buffers": 1, "extra": 2}


def tree_of(box: Mailbox) -> State:
    """Return a mailbox as a tree."""
    return {
        "groups": [_group(group) for group in box.groups],
        "downs": {round_: _down(down) for round_, down in box.downs.items()},
    }


def _group(group: Messages) -> State:
    columns = {name: torch.as_tensor(getattr(group, name)) for name in COLUMNS}
    honest = group.honest
    lied = honest is not group.updates and not torch.equal(honest.vectors, group.updates.vectors)
    lied = lied or not all(torch.equal(getattr(honest, n), getattr(group.updates, n)) for n in STATED)
    facts = FACTS if group.updates.facts.shape[1] else ()  # left out where there are none, as ever
    return {
        **{name: getattr(group.updates, name) for name in (*ROWS, *facts)},
        **columns,
        "frames": [torch.frombuffer(bytearray(frame), dtype=torch.uint8) for frame in group.frames],
        "honest": {name: getattr(honest, name) for name in (*_TOLD, *facts)} if lied else None,
        "expected_size": group.updates.expected_size,
    }


def _down(down: Downlink) -> State:
    sent = {name: getattr(down.broadcast, name) for name in _SENT}
    told = {"planted": dict(down.planted)} if down.planted else {}
    length = down.broadcast.message_length
    return {**sent, "length": length, "shared": down.shared, "size": down.size, **told}


def mailbox_of(tree: State, round_: int, num_parameters: int) -> Mailbox:
    """Return the mailbox that ``tree_of`` took apart.

    Args:
        tree: What a checkpoint holds.
        round_: The next round: messages are of rounds before.
        num_parameters: P.

    Raises:
        ValueError: It is none, or not one between these rounds, in one line.
    """
    _want(isinstance(tree, Mapping) and set(tree) == {"groups", "downs"}, "has other parts")
    groups, told = tree["groups"], tree["downs"]
    _want(isinstance(groups, list) and isinstance(told, Mapping), "has other parts")
    downs = {r: _downlink(r, down, num_parameters) for r, down in told.items()}
    box = Mailbox(tuple(map(_messages, groups)), downs)
    ids = box.client_ids
    _want(len(set(ids)) == len(ids), "holds two messages of a client")
    rounds = {int(r) for group in box.groups for r in group.updates.started}
    _want(rounds == set(downs), "holds other broadcasts than those of its messages' rounds")
    _want(all(type(r) is int and 0 <= r < round_ for r in rounds), f"has rounds outside of 0 to {round_ - 1}")
    widths = set(map(_widths, box.groups))
    lengths = {down.broadcast.message_length for down in downs.values()}
    _want(len(widths) <= 1 and lengths == {w for w, *_ in widths}, "holds messages of several lengths")
    return box


def misfit(state: ServerState, plan: Plan) -> str | None:
    """Return why what a state has on the way is of another run, or None."""
    if (state.attacked is None) is not plan.plain or (plan.plain and state.mailbox is not None):
        return "it is of a run with another schedule"
    if state.mailbox is None:
        return None
    verbatim = declared(plan.codec, Codecs.verbatim)
    exchange = plan.exchange
    needed = exchange.up.num_parameters, plan.layout.num_buffers, exchange.memory.num_parameters
    for group in state.mailbox.groups:
        updates = group.updates
        if _widths(group) != (*needed, len(exchange.statement)):
            return "its mailbox holds messages of another length"
        if int(updates.client_ids.max()) >= plan.sampling.num_clients:
            return "its mailbox holds a message of nobody"
        if len(group.frames) != (0 if verbatim else len(group)):
            return "its mailbox holds frames of another codec"
    return None


def _widths(group: Messages) -> tuple[int, ...]:
    """Return how many numbers of each kind a message has."""
    updates = group.updates
    return tuple(t.shape[1] for t in (updates.vectors, updates.buffers, group.memory, updates.facts))


def _messages(tree: State) -> Messages:
    _want(isinstance(tree, Mapping), "holds a group with other parts")
    facts = FACTS if "facts" in tree else ()
    names = {*_TYPES, *facts, "frames", "honest", "expected_size"}
    _want(set(tree) == names, "holds a group with other parts")
    for name, (kind, dim) in {**_TYPES, **dict.fromkeys(facts, (torch.float64, 2))}.items():
        value = tree[name]
        fits = isinstance(value, Tensor) and (value.dtype, value.ndim) == (kind, dim)
        _want(fits and len(value) == len(tree["client_ids"]) > 0, f"holds {name} of another type or length")
    times = [tree[name] for name in ("begins", "waits")]
    _want(all(bool(t.isfinite().all()) for t in times), "holds times that are not finite")
    _want(not bool(tree["arrives"].isnan().any()), "holds times that are not finite")
    _want(bool((tree["client_ids"] >= 0).all()), "holds ids below 0")
    frames, size = tree["frames"], len(tree["client_ids"])
    bytes_ = isinstance(frames, list) and all(
        isinstance(f, Tensor) and f.dtype == torch.uint8 for f in frames
    )
    _want(bytes_ and len(frames) in (0, size), "holds frames that are none")
    expected = tree["expected_size"]
    _want(type(expected) is float and 0 < expected < float("inf"), "expects a cohort of no size")
    updates = Updates(**{name: tree[name] for name in (*ROWS, *facts)}, expected_size=expected)
    columns = {name: tree[name] if name in _TENSORS else tree[name].numpy() for name in COLUMNS}
    written = [frame.numpy().tobytes() for frame in frames]
    return Messages(updates=updates, honest=_honest(tree["honest"], updates), frames=written, **columns)


def _honest(tree: State, updates: Updates) -> Updates:
    """Return what clients would have sent without any lie."""
    if tree is None:
        return updates
    names = {*_TOLD, *(FACTS if updates.facts.shape[1] else ())}
    _want(isinstance(tree, Mapping) and set(tree) == names, "holds no honest messages")
    for name, value in tree.items():
        like = getattr(updates, name)
        fits = isinstance(value, Tensor) and value.dtype == like.dtype and value.shape == like.shape
        _want(fits, f"holds honest {name} of another type or length")
    return replace(updates, **tree)


def _downlink(round_: Any, tree: State, num_parameters: int) -> Downlink:
    names = {*_SENT, "length", "shared", "size"}
    _want(
        isinstance(tree, Mapping) and set(tree) - {"planted"} == names, "holds a broadcast with other parts"
    )
    planted = tree.get("planted", {})
    named = isinstance(planted, Mapping) and all(isinstance(name, str) for name in planted)
    _want(named, "holds a broadcast with a secret that is none")
    for name, dim in _SENT.items():
        value = tree[name]
        fits = isinstance(value, Tensor) and value.dtype == torch.float32 and value.ndim == dim
        _want(fits, f"holds a broadcast whose {name} is of another type")
    _want(len(tree["params"]) == num_parameters, "holds a broadcast of another model")
    whole = all(type(tree[name]) is int and tree[name] >= 0 for name in ("length", "size"))
    _want(whole and type(round_) is int, "holds a broadcast without its length or size")
    sent = {name: tree[name] for name in _SENT}
    broadcast = Broadcast(round_, **sent, message_length=tree["length"])
    return Downlink(broadcast, tree["shared"], tree["size"], planted)


def _want(fact: bool, what: str) -> None:
    if not fact:
        raise ValueError(f"its mailbox {what}")
