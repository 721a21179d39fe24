"""The four judgements of MUD-HoG: who flips signs, who adds noise, who drifts, whose data are poor.

Source: Gupta, Luo, Ngo, Das. Long-Short History of Gradients is All You Need: Detecting Malicious and
Unreliable Clients in Federated Learning. ESORICS 2022, and the authors' code. arXiv:2208.10273

Each takes the short or long histories of the judged clients, in ascending client id, and says of each client
whether it is suspect, with the numbers behind that. Nothing is remembered here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...core.updates import row_norms
from ..parts.columns import Array, from_sorted, middle
from ..parts.gaps import first_jump, largest_gap
from ..parts.geometry import cosines_to


@dataclass(frozen=True)
class Finding:
    """What one judgement says of the judged clients.

    Attributes:
        suspect: Who is suspect, bool.  # [E]
        measure: The number it was decided by; NaN for clients outside the question.  # [E]
    """

    suspect: Array
    measure: Array


def _middle_of(rows: Tensor) -> Tensor:
    """Return the median of each coordinate, between the two middle values of an even number.  # [P]"""
    return from_sorted(rows, lambda ordered: middle(ordered, "mean"))


def _rows_of(matrix: Tensor, keep: Array) -> Tensor:
    """Return the rows where ``keep`` [K] is true; the matrix itself where all are."""
    return matrix if keep.all() else matrix[torch.from_numpy(np.flatnonzero(keep))]


def opposite(history: Tensor, trusted: Array) -> Finding:
    """Suspect whose history [E, P] points away from the middle of the trusted ones [E] (at least one)."""
    cosines = cosines_to(history, _middle_of(_rows_of(history, trusted))).numpy()
    return Finding(cosines < 0, cosines)


def scattered(
    short: Tensor,
    square: Array,
    candidates: Array,
    reach: Callable[[Array], float],
    min_pts: int,
    anchor: bool,
) -> Finding:
    """Suspect who belongs to no cluster, and is beyond the widest gap of distances to the largest one.

    Args:
        short: Short histories.  # [E, P]
        square: Their squared distances.  # [E, E]
        candidates: Who may be suspected at all.  # [E]
        reach: From the candidates' distances [C, C] to DBSCAN's eps.
        min_pts: Of DBSCAN, the point itself included.
        anchor: Whether the gap may lie between the largest cluster and the first client outside of it.
    """
    suspect, measure = np.zeros(len(short), dtype=bool), np.full(len(short), np.nan)
    rows = np.flatnonzero(candidates)
    if len(rows) < 2:
        return Finding(suspect, measure)
    distances = np.sqrt(square[np.ix_(rows, rows)])
    labels = _clusters(distances, reach(distances), min_pts)
    crowd = labels == _most_frequent(labels)
    inside = np.zeros(len(short), dtype=bool)
    inside[rows[crowd]] = True
    centre = _middle_of(_rows_of(short, inside))
    measure[rows] = row_norms(_rows_of(short, candidates), centre).numpy()
    away = measure[rows[~crowd]]
    edge = [measure[rows[crowd]].max()] if anchor else []
    threshold = largest_gap(np.append(away, edge))
    suspect[rows] = ~crowd & (labels == -1) & (measure[rows] > threshold)
    return Finding(suspect, measure)


def restless(jitter: Array, norms: Array, candidates: Array, factor: float) -> Finding:
    """Suspect whose updates differ more than they agree, and by a jump more than the others' updates do.

    Not the authors': ours. Noise of standard deviation s that is new in every round has a jitter of
    s sqrt(P), whatever the client's data; data that are unusual in the same way in every round have none.

    Args:
        jitter: How much each client's last updates differ.  # [E]
        norms: The norm of their mean.  # [E]
        candidates: Who may be suspected at all.  # [E]
        factor: The jump that counts, at least 1.
    """
    suspect, measure = np.zeros(len(jitter), dtype=bool), np.full(len(jitter), np.nan)
    measure[candidates] = jitter[candidates]
    beyond = first_jump(jitter[candidates], factor)
    suspect[candidates] = (jitter > np.maximum(norms, beyond))[candidates]
    return Finding(suspect, measure)


def _clusters(distances: Array, eps: float, min_pts: int) -> Array:
    from sklearn.cluster import DBSCAN

    labels: Array = DBSCAN(eps=eps, min_samples=min_pts, metric="precomputed").fit_predict(distances)
    return labels


def _most_frequent(labels: Array) -> int:
    """Return the most frequent label; on a tie the one that comes first."""
    values, first, counts = np.unique(labels, return_index=True, return_counts=True)
    return int(values[min(range(len(values)), key=lambda i: (-counts[i], first[i]))])


def median_distance(distances: Array) -> float:
    """Return the median over all pairs; 0 without a pair.  # from [C, C]"""
    pairs = distances[np.triu_indices(len(distances), 1)]
    return float(np.median(pairs)) if len(pairs) else 0.0


def poor(short: Tensor, normal: Array, minority: bool) -> Finding:
    """Suspect, among those that look normal, who is below the widest gap of cosines to their middle.

    With ``minority`` the gap is sought below the median, so that no more than half can be suspect.
    """
    suspect, measure = np.zeros(len(short), dtype=bool), np.full(len(short), np.nan)
    if not normal.any():
        return Finding(suspect, measure)
    crowd = _rows_of(short, normal)
    measure[normal] = cosines_to(crowd, _middle_of(crowd)).numpy()
    below = measure[normal] <= np.median(measure[normal]) if minority else ...
    suspect[normal] = measure[normal] < largest_gap(measure[normal][below])
    return Finding(suspect, measure)
