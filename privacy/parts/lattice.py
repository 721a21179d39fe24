"""From real updates to integers modulo 2^b and back: what clients hand to a secure aggregation.

Source: Kairouz, Liu, Steinke. The Distributed Discrete Gaussian Mechanism for Federated Learning with
Secure Aggregation. ICML 2021, Algorithms 1 and 2, arXiv:2102.06387 (rotation, conditional rounding and its
bounds; the scale as in the code that the authors published).

A client rotates its clipped update, scales it, rounds it at random to integers, again until the norm keeps
within a public bound, adds integer noise and takes the remainder modulo 2^b. The server gets the sum of
these, maps it to [-2^(b-1), 2^(b-1)), and goes back. A sum beyond that range wraps around, as it would.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, exp, inf, log, sqrt

import numpy as np
import torch
from torch import Tensor

from ...core.seeds import Streams

LEEWAY = 1e-5  # relative: what rounding to float32 may add to a clipped norm
BETA = exp(-0.5)
_BLOCK = 2**22  # float64 entries that are rotated at a time

Noise = Callable[[np.random.Generator, int], np.ndarray[tuple[int], np.dtype[np.int64]]]
"""Integer noise: from a stream and a length to that many draws."""


@dataclass(frozen=True)
class Lattice:
    """The public constants of one run.

    Attributes:
        dimension: P, parameters.
        clip_norm: C, in units of the update's L2 norm.
        noise_std: Standard deviation of one client's noise, in the update's units.
        shares: Clients that a sum is made for, n.
        bits: b; the modulus is 2^b.
        beta: Bound on the probability that one rounding exceeds the norm's bound, in [0, 1); 0 never tries
            twice.
        k_stddevs: How many standard deviations of a coordinate of the sum must fit into the range.
        rotate: Whether to pad to a power of two and rotate; else coordinates stay as they are.
    """

    dimension: int
    clip_norm: float
    noise_std: float
    shares: int
    bits: int
    beta: float
    k_stddevs: float
    rotate: bool

    @property
    def padded(self) -> int:
        """Coordinates of a message, d."""
        return (
            2 ** ceil(log(self.dimension, 2) - 1e-12)
            if self.rotate and self.dimension > 1
            else self.dimension
        )

    @property
    def modulus(self) -> int:
        """What messages are taken modulo."""
        return int(2**self.bits)

    @property
    def scale(self) -> float:
        """Grid steps a unit of the update, s.

        Raises:
            ValueError: The bits do not suffice for so many clients.
        """
        n, k, spread = self.shares, self.k_stddevs, self.clip_norm * self.shares
        room = 4.0**self.bits - n * k**2
        if room <= 0:
            raise ValueError(
                f"bits = {self.bits} is too few for the sum of {n} clients: 4^bits must exceed {n * k**2:g}"
            )
        return sqrt(room) / (2 * k * sqrt(spread**2 / self.padded + n * self.noise_std**2))

    @property
    def l2(self) -> float:
        """The bound on the norm of a rounded update, in grid steps."""
        c, d = self.scale * self.clip_norm * (1 + LEEWAY), self.padded
        always = c + sqrt(d)
        if self.beta == 0:
            return always
        return min(always, sqrt(c**2 + d / 4 + sqrt(2 * log(1 / self.beta)) * (c + sqrt(d) / 2)))

    @property
    def l1(self) -> float:
        """The bound on its L1 norm: an integer vector's is at most its squared L2 norm."""
        return self.l2 * min(sqrt(self.padded), self.l2)


def secure_sum(
    vectors: Tensor,
    ids: Tensor,
    honest: Tensor,
    lattice: Lattice,
    draw: Noise,
    signs: Tensor,
    streams: Streams,
) -> Tensor:
    """Return the sum that the server decodes from an ideal secure aggregation.

    Args:
        vectors: The clients' updates, finite; those of honest clients are clipped.  # [K, P]
        ids: Their ids.  # [K]
        honest: Who adds a share of the noise. Whoever does not may also send any length.  # [K]
        lattice: The public constants.
        draw: One share of the noise.
        signs: The public random signs of the rotation, +1 or -1.  # [d]
        streams: Each client's own stream.
    """
    total = torch.zeros(lattice.padded, dtype=torch.int64)  # [d]
    rows = max(1, _BLOCK // lattice.padded)
    for part, who, noises in zip(
        torch.split(vectors, rows), torch.split(ids, rows), torch.split(honest, rows), strict=True
    ):
        scaled = rotated(part.double(), lattice, signs) * lattice.scale  # [B, d]
        for row, client_id, noisy in zip(scaled, who.tolist(), noises.tolist(), strict=True):
            stream = streams(client_id)
            message = rounded(row, lattice, stream).remainder(lattice.modulus).long()
            if noisy:
                message += torch.from_numpy(draw(stream, lattice.padded))
            total += message.remainder(lattice.modulus)
    centred = (total + lattice.modulus // 2).remainder(lattice.modulus) - lattice.modulus // 2
    return unrotated(centred.double() / lattice.scale, lattice, signs).float()


def rounded(row: Tensor, lattice: Lattice, stream: np.random.Generator) -> Tensor:
    """Round every coordinate up or down at random, to itself on average, within the bound.  # [d]

    A row that no honest client sends, longer than the clip norm allows, is rounded once.
    """
    fits = float(row.norm()) <= lattice.scale * lattice.clip_norm * (1 + LEEWAY)
    bound = lattice.l2 if fits else inf
    while True:
        drawn = torch.from_numpy(stream.random(len(row)))
        whole = (row + drawn).floor()
        if bound == inf or float(whole.norm()) <= bound * (1 + 1e-12):
            return whole


def random_signs(lattice: Lattice, public: np.random.Generator) -> Tensor:
    """Return the round's public signs.  # [d]"""
    return torch.from_numpy(public.integers(0, 2, lattice.padded) * 2.0 - 1.0)


def rotated(vectors: Tensor, lattice: Lattice, signs: Tensor) -> Tensor:
    """Return rows [B, P] padded, signs flipped, and times Hadamard's matrix over sqrt(d).  # [B, d]"""
    if not lattice.rotate:
        return vectors
    wide = torch.nn.functional.pad(vectors, (0, lattice.padded - vectors.shape[1]))
    return hadamard(wide * signs)


def unrotated(vector: Tensor, lattice: Lattice, signs: Tensor) -> Tensor:
    """Undo ``rotated`` for one vector [d].  # [P]"""
    if not lattice.rotate:
        return vector
    return (hadamard(vector[None])[0] * signs)[: lattice.dimension]


def hadamard(rows: Tensor) -> Tensor:
    """Return rows [B, d] times the Walsh-Hadamard matrix over sqrt(d), d a power of two: its own inverse."""
    count, d = rows.shape
    half = 1
    while half < d:
        pairs = rows.view(count, d // (2 * half), 2, half)
        first, second = pairs[:, :, 0], pairs[:, :, 1]
        rows = torch.stack([first + second, first - second], dim=2).reshape(count, d)
        half *= 2
    return rows / sqrt(d)
