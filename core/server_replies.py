"""What samplers, networks, schedules, optimizers and malicious servers hand back; see ``core.replies``."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from .contracts.server import SCHEMES, Arrivals, Delivery, Sampling, Starts
from .trees import pack
from .wanted import is_plain, number, pair, vector, want


def delivered(came: Any, examples: Any, *_: object) -> None:
    want(isinstance(came, Delivery), "a Delivery", came)
    for name, kind in (("arrived", "b"), ("client_seconds", "f")):
        column = getattr(came, name)
        fine = (
            isinstance(column, np.ndarray) and column.dtype.kind == kind and column.shape == (len(examples),)
        )
        what = "bool" if kind == "b" else "floats"
        want(fine, f"{name} as an array of {what} [{len(examples)}]", column)
    number(came.round_seconds, "round_seconds")
    seconds, what = came.client_seconds, "seconds of at least 0 in client_seconds"
    want(bool((seconds >= 0).all()), what, seconds)
    late = came.arrived & ~(seconds <= came.round_seconds)
    want(not late.any(), "as arrived no message that comes after round_seconds", seconds[late])


def taken_besides(came: Any, client_ids: Any, *_: object) -> None:
    fine = isinstance(came, np.ndarray) and came.dtype == np.float64 and came.shape == client_ids.shape
    what = f"seconds as an array float64 [{len(client_ids)}], finite and at least 0"
    want(fine and bool(((came >= 0) & (came < np.inf)).all()), what, came)


def begun(came: Any, traffic: Any, *_: object) -> None:
    found = pair(came, "Starts")
    want(isinstance(found, Starts), "a pair (Starts, state)", came)
    ids = found.client_ids
    fine = isinstance(ids, np.ndarray) and ids.dtype == np.int64 and ids.ndim == 1
    fine = fine and bool((ids[1:] > ids[:-1]).all()) and set(ids.tolist()) <= set(traffic.idle.tolist())
    want(fine, "client_ids as an array int64 [K] of idle clients, strictly ascending", ids)
    number(found.at, "the time at which they begin", traffic.now)


def arrived(came: Any, traffic: Any, *_: object) -> None:
    found, shape = pair(came, "Arrivals"), traffic.client_ids.shape
    want(isinstance(found, Arrivals), "a pair (Arrivals, state)", came)
    for name in ("counted", "dropped"):
        mask = getattr(found, name)
        fine = isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.shape == shape
        want(fine, f"{name} as an array of bool {list(shape)}", mask)
    number(found.at, "the time at which the round ends", traffic.now)
    never = found.counted & (found.dropped | ~(traffic.arrives <= found.at))
    what = "as counted no message that is dropped, or that does not arrive before the round ends"
    want(not never.any(), what, found.counted)


def weighed(came: Any, staleness: Tensor, *_: object) -> None:
    fine = is_plain(came) and came.shape == staleness.shape and came.is_floating_point()
    fine = fine and bool((came >= 0).all() and came.isfinite().all())
    want(fine, f"finite weights of at least 0 as a tensor [{len(staleness)}]", came)


def sized(came: Any, *_: object) -> None:
    number(came, "a number of messages", 1.0)


def gained(came: Any, *_: object) -> None:
    number(came, "a factor")


def stepped(came: Any, params: Tensor, *_: object) -> None:
    vector(pair(came, "params"), len(params), "parameters")


def sampling(came: Any, *_: object) -> None:
    want(isinstance(came, Sampling), "a Sampling", came)
    want(came.scheme in SCHEMES, f"a scheme, one of {', '.join(SCHEMES)}", came.scheme)
    number(came.expected_size, "expected_size")
    want(came.expected_size > 0, "an expected_size above 0", came.expected_size)
    number(came.sample_rate, "sample_rate")
    want(came.sample_rate <= 1, "a sample_rate of at most 1", came.sample_rate)


def sampled(came: Any, num_clients: int, *_: object) -> None:
    fine = isinstance(came, np.ndarray) and came.dtype == np.int64 and came.ndim == 1
    if fine and len(came):
        fine = bool((came[1:] > came[:-1]).all()) and came[0] >= 0 and came[-1] < num_clients
    want(fine, f"ids as an array int64 [K], strictly ascending in [0, {num_clients - 1}]", came)


def rebuilt(came: Any, *_: object) -> None:
    fine = isinstance(came, tuple) and len(came) == 2 and isinstance(came[0], nn.Module)
    want(fine, "a pair (torch.nn.Module, secret)", came)
    _secret(came[1])


def planted(came: Any, params: Tensor, *_: object) -> None:
    want(isinstance(came, tuple) and len(came) == 3, "three values (params, secret, state)", came)
    vector(came[0], len(params), "parameters")
    same = came[0] is params or bool(came[0].isfinite().all()) or not bool(params.isfinite().all())
    want(same, "parameters that are finite", came[0])
    _secret(came[1])


def _secret(came: Any) -> None:
    named = isinstance(came, Mapping) and all(isinstance(name, str) and name != "server" for name in came)
    want(named, "a secret as a table by name, none of them 'server'", came)
    pack(came)
