"""Gradient codes: sums of chunks from which any n - s workers' results give the sum of all.

Source: Tandon, Lei, Dimakis, Karampatziakis. Gradient Coding: Avoiding Stragglers in Distributed Learning.
ICML 2017, Algorithms 1 and 2. arXiv:1612.03301
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def cyclic(num_workers: int, num_stragglers: int, generator: np.random.Generator) -> Array:
    """Return B: worker i sends sum_j B_ij g_j, of chunks i ... i + s (mod n), float64.  # [n, n]

    H [s, n] is Gaussian with rows that add up to 0; each row of B is in its null space, and so is the row of
    ones: n - s rows of B span it. Entries reach thousands at n = 256, and multiply whatever noise or
    quantisation results have.

    Raises:
        ValueError: Not 0 <= s < n.
    """
    n, s = num_workers, num_stragglers
    if not 0 <= s < n:
        raise ValueError(f"num_stragglers must be from 0 to {n - 1}, got {s}")
    code = np.eye(n)
    if s == 0:
        return code
    h = generator.standard_normal((s, n))
    h[:, -1] = -h[:, :-1].sum(axis=1)
    for i in range(n):
        behind = (i + 1 + np.arange(s)) % n
        code[i, behind] = -np.linalg.solve(h[:, behind], h[:, i])
    return code


def repeated(num_workers: int, num_stragglers: int) -> Array:
    """Return B of fractional repetition: groups of s + 1 workers, who all send the sum of s + 1 chunks.

    Raises:
        ValueError: s + 1 does not divide n.
    """
    n, size = num_workers, num_stragglers + 1
    if not 1 <= size <= n or n % size:
        raise ValueError(f"num_stragglers + 1 must divide {n} workers, got {num_stragglers} stragglers")
    return np.kron(np.eye(n // size), np.ones((size, size)))


def decoding(code: Array, came: Array) -> Array:
    """Return a with a' B[came] = the row of ones, by least squares, float64.  # [workers that came]

    Args:
        code: B.  # [n, n]
        came: Whose results are there, ids.

    Raises:
        ValueError: They do not suffice.
    """
    ones = np.ones(code.shape[1])
    weights: Array = np.linalg.lstsq(code[came].T, ones, rcond=None)[0]
    off = float(np.abs(weights @ code[came] - 1).max()) if len(came) else 1.0
    if off > 1e-6:
        raise ValueError(f"{len(came)} of {len(code)} results do not give the sum: off by {off:.1g}")
    return weights


def spare_of(most: int, burst: int, window: int) -> int:
    """Return s of SR-SGC: how many of a job's results may be missing where B rounds later some are repeated.

    Source: Krishnan, Ebrahimi, Khisti. Sequential Gradient Coding for Straggler Mitigation. ICLR 2023.
    """
    return -(-burst * most // (window - 1 + burst))


def shares_of(size: int, most: int, burst: int, window: int) -> tuple[list[Array], list[Array]]:
    """Return a client's rows by part of M-SGC: the W - 1 parts of its own, and the B that are coded.

    A part of its own is lambda + 1 times as long as a coded one, as far as whole rows allow. Source: as
    ``spare_of``.

    Args:
        size: How many rows there are, at least 0.
        most: lambda.
        burst, window: B and W.
    """
    ends = np.cumsum([most + 1] * (window - 1) + [1] * burst)
    cuts = np.floor(size * ends / ends[-1] + 0.5).astype(np.int64)
    parts = np.split(np.arange(size), cuts[:-1])
    return parts[: window - 1], parts[window - 1 :]
