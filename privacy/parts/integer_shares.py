"""What mechanisms with integer shares of noise have in common: the public constants, the sum, what counts.

Source: Kairouz, Liu, Steinke. The Distributed Discrete Gaussian Mechanism for Federated Learning with
Secure Aggregation. ICML 2021, Algorithms 1 and 2, arXiv:2102.06387.
"""

from math import ceil, isfinite, sqrt
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import NoGuarantee
from ...core.seeds import Streams
from ...core.trees import State
from ...core.updates import Updates
from .budget import known_multiplier
from .lattice import Lattice, Noise, random_signs, secure_sum

NO_SUM = {"shares": None, "dimension": None}
"""A mechanism's state before its first sum: that sum's honest shares and its dimension."""


class Options(Protocol):
    """A mechanism's options, as ``skellam`` explains them."""

    @property
    def clip_norm(self) -> float: ...
    @property
    def noise_multiplier(self) -> float | None: ...
    @property
    def bits(self) -> int: ...
    @property
    def beta(self) -> float: ...
    @property
    def k_stddevs(self) -> float: ...
    @property
    def rotate(self) -> bool: ...
    @property
    def max_dropouts(self) -> int: ...
    @property
    def num_parameters(self) -> int | None: ...


def lattice_of(options: Options, expected_size: float, dimension: int) -> Lattice:
    """Return the public constants of a run with cohorts of ``expected_size`` and P ``dimension``."""
    needed = needed_shares(options, expected_size)
    std = known_multiplier(options.noise_multiplier) * options.clip_norm / sqrt(needed)
    shares = max(ceil(expected_size - 1e-9), 1)
    fit = options.bits, options.beta, options.k_stddevs, options.rotate
    return Lattice(dimension, options.clip_norm, std, shares, *fit)


def needed_shares(options: Options, expected_size: float) -> int:
    """Return how many honest shares the noise is made for.

    Raises:
        ValueError: ``max_dropouts`` leaves nobody.
    """
    needed = ceil(expected_size - 1e-9) - options.max_dropouts
    if needed < 1:
        raise ValueError(
            f"max_dropouts must be below the expected cohort of {expected_size:g}, got {options.max_dropouts}"
        )
    return needed


def summed(
    lattice: Lattice,
    draw: Noise,
    updates: Updates,
    honest: Tensor,
    public: np.random.Generator,
    streams: Streams,
) -> tuple[Updates, State]:
    """Return the clients' sum as one row, as the server decodes it, and the state that counts its shares.

    Args:
        lattice: The public constants.
        draw: One share of the noise.
        updates: What the clients would send.
        honest: Who adds a share.  # [K]
        public: The stream that everybody can see.
        streams: Each client's own.
    """
    signs = random_signs(lattice, public)
    total = secure_sum(updates.vectors, updates.client_ids, honest, lattice, draw, signs, streams)
    nobody = torch.zeros(1, dtype=torch.int64)
    row = Updates(total[None], nobody, nobody + 1, updates.expected_size, context=updates.context)
    return row, {"shares": int(honest.sum()), "dimension": lattice.dimension}


def counted_on(
    options: Options, sensitivity: float | None, expected_size: float, state: State
) -> Lattice | NoGuarantee:
    """Return the lattice whose shares of noise are charged, or why a sum guarantees nothing.

    More shares than were counted on only add to the noise.

    Raises:
        ValueError: The dimension is not known yet.
    """
    dimension = state["dimension"] or options.num_parameters
    if known_multiplier(options.noise_multiplier) == 0:
        return NoGuarantee("no_mechanism")
    if dimension is None:
        raise ValueError("num_parameters is not known yet: give it, or let the run fill it in")
    plain = options.clip_norm / expected_size * (1 + 1e-9)
    if sensitivity is None or not (isfinite(sensitivity) and 0 < sensitivity <= plain):
        return NoGuarantee("aggregator")
    if state["shares"] is not None and state["shares"] < needed_shares(options, expected_size):
        return NoGuarantee("distributed_shares")
    return lattice_of(options, expected_size, dimension)
