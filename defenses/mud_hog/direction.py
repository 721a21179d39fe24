"""Who goes against the crowd: whose update would look like everybody's if its sign were turned.

To be unlike the crowd is no sign of malice: unusual data are, too. So a client must be unusual as it is and
usual with its sign turned, or farther yet on the other side; and the crowd must be of one mind, since turned
and honest updates look alike where updates point anywhere.
"""

import numpy as np

from ..parts.columns import Array
from ..parts.geometry import at_one_length
from .split import outlying_part

SPREAD = 1.4826  # of a normal distribution, over the median distance from its median
POWER = 2.0
"""The crowd is of one mind where its median is this many of its standard deviations above 0."""
UNUSUAL = 3.5
"""Standard deviations below the crowd's median from which a client is unusual."""
USUAL = 1.5
"""Standard deviations below the crowd's median down to which a client is usual."""

COHERENT = 0.2
"""Median cosine with the others' sum from which the crowd is going anywhere at all."""
LEVEL = 0.01
"""How often chance may show two opposite parts where there are none."""


def cosines_to_others(gram: Array, trusted: Array) -> Array:
    """Return each vector's cosine with the sum of the trusted others' directions; 0 where either is 0.  # [n]

    Directions all count the same, however long a vector is.

    Args:
        gram: Inner products, float64.  # [n, n]
        trusted: Who belongs to the crowd, bool.  # [n]
    """
    cosine = at_one_length(gram)
    weight = trusted.astype(float)
    sums = cosine @ weight  # [n] of the whole crowd
    own = weight * np.diagonal(cosine)
    towards = sums - own
    square = weight @ sums - 2 * weight * sums + weight * own  # squared length of the others' sum
    length = np.sqrt(np.maximum(square, 0.0))
    found: Array = np.divide(towards, length, out=np.zeros_like(towards), where=length > 1e-12)
    return found.clip(-1.0, 1.0)


def agreement(gram: Array, trusted: Array) -> Array:
    """Return how much more like than unlike the trusted others each vector is, between -1 and 1.  # [n]

    That is sum_j c |c| over sum_j c^2, for its cosines c with the trusted others: those that it has much in
    common with, or against, count most. Where data are so skewed that clients hardly point one way, an honest
    client still goes with those who have the same classes, and a turned one against them.

    Args:
        gram: Inner products, float64.  # [n, n]
        trusted: Who belongs to the crowd, bool.  # [n]
    """
    cosine = at_one_length(gram)
    np.fill_diagonal(cosine, 0.0)
    cosine = cosine[:, trusted]
    square = (cosine**2).sum(axis=1)
    signed = (cosine * np.abs(cosine)).sum(axis=1)
    found: Array = np.divide(signed, square, out=np.zeros_like(signed), where=square > 1e-24)
    return found


def turned(gram: Array, trusted: Array) -> tuple[Array, Array] | None:
    """Return who goes against the crowd, bool, and its cosines with it [n] each; None if nobody can tell.

    Judged by the cosine with the crowd's sum and by the agreement with its single members, each where the
    crowd is of one mind in it. Who is found leaves the crowd, and the rest is asked again. Where nearly half
    are turned nobody is of one mind: then the larger of two opposite parts is the crowd, if there are two.

    Args:
        gram: Inner products, float64.  # [n, n]
        trusted: Who belongs to the crowd at first, bool.  # [n]
    """
    answer = _against(gram, trusted)
    if answer is None and (larger := _larger_side(gram, trusted)) is not None:
        answer = _against(gram, larger)
    return answer


def _against(gram: Array, crowd: Array) -> tuple[Array, Array] | None:
    found, cosines = None, np.zeros(len(gram))
    while crowd.any():
        cosines = cosines_to_others(gram, crowd)
        answers = [_opposed(values, crowd) for values in (cosines, agreement(gram, crowd))]
        if not (clear := [answer for answer in answers if answer is not None]):
            break
        found = np.logical_or.reduce(clear)
        if not (crowd & found).any():
            break
        crowd = crowd & ~found
    return None if found is None else (found, cosines)


def _larger_side(gram: Array, trusted: Array) -> Array | None:
    """Return the larger part of a crowd that is on both sides of 0 with a gap that chance does not give."""
    rows = np.flatnonzero(trusted)
    if len(rows) < 4:
        return None
    loadings = np.linalg.eigh(at_one_length(gram[np.ix_(rows, rows)]))[1][:, -1]
    part, _ = outlying_part(loadings, LEVEL)
    sides = np.unique(np.sign(loadings[part])), np.unique(np.sign(loadings[~part]))
    if not part.any() or len(sides[0]) != 1 or len(sides[1]) != 1 or sides[0] == sides[1]:
        return None
    side = np.zeros(len(gram), dtype=bool)
    side[rows[~part]] = True
    return side


def _opposed(values: Array, crowd: Array) -> Array | None:
    """Return whose value is unusual, and usual with its sign turned; None where the crowd's is not above 0.

    The spread is that of the upper half: the lower one may hold those that are sought.
    """
    middle = float(np.median(values[crowd]))
    above = values[crowd & (values >= middle)] - middle
    spread = SPREAD * float(np.median(above))
    if middle <= 0 or middle < POWER * spread:
        return None
    unusual = values < middle - UNUSUAL * spread
    found: Array = unusual & (values <= USUAL * spread - middle) & (values < 0)
    return found
