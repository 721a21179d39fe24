"""What an algorithm hands back besides a direction, by type; shapes are looked at where they are used."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .contracts import Verdict
from .wanted import is_float, is_plain, pair, want


def sent_besides(came: Any, *_: object) -> None:
    """Look at what a server half sends besides the parameters."""
    want(is_plain(came) and came.dtype == torch.float32, "vectors as a tensor float32", came)


def scaled(came: Any, *_: object) -> None:
    """Look at what groups of a message are divided by."""
    fine = isinstance(came, Mapping) and all(map(is_float, came.values()))
    want(fine, "numbers by the names of groups", came)


def remembered(came: Any, *_: object) -> None:
    """Look at what a client remembers at first: groups by name; of a procedure one vector."""
    want(is_plain(came) or _groups(came), "a memory: tensors by the names of groups", came)


def finished(came: Any, *_: object) -> None:
    """Look at what clients send and then remember."""
    fine = isinstance(came, tuple | list) and len(came) == 2 and all(map(_groups, came))
    want(fine, "a pair (what is sent, what is remembered), each tensors by the names of groups", came)


def levelled(came: Any, *_: object) -> None:
    """Look at the smaller models that clients may train."""
    want(isinstance(came, tuple | list) and len(came) > 0, "at least one Part, in a tuple", came)


def replicated(came: Any, _: int, num_clients: int) -> None:
    """Look at whose examples a client has replicas of: all of them clients, each once."""
    fine = isinstance(came, tuple | list | range) and all(isinstance(i, int) for i in came)
    fine = fine and len(set(came)) == len(came) and all(0 <= i < num_clients for i in came)
    want(fine, f"different clients from 0 to {num_clients - 1}, in a tuple", came)


def combined(came: Any, *_: object) -> None:
    """Look at what an algorithm makes of a cohort."""
    found = pair(came, "Verdict")
    want(isinstance(found, Verdict), "a pair (Verdict, state)", came)
    fine = is_plain(found.aggregate) and found.aggregate.dtype == torch.float32 and found.aggregate.ndim == 1
    want(fine, "an aggregate as a tensor float32 [P]", found.aggregate)


def _groups(came: object) -> bool:
    return isinstance(came, Mapping) and all(isinstance(part, Tensor) for part in came.values())
