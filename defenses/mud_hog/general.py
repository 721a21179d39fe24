"""The judgement of MUD-HoG's preset ``general``: a statistical test for each way to do harm.

Every test compares the clients of a round with each other and with chance, by numbers without a unit: no
threshold is in the units of some data set's updates, and nothing is assumed about when, how often or how
strongly somebody attacks. A client that one test suspects is left out of the crowd of the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..parts.columns import Array
from ..parts.copies import copied
from ..parts.geometry import at_one_length, evened_gram, gram_of
from .direction import COHERENT, SPREAD, cosines_to_others, turned
from .history import Record, jitters, long_history, short_history
from .judgement import Finding, restless
from .split import alike, leading_coordinates, outlying_part

TESTED = ("copied", "sign_flip", "noise", "boosted", "targeted")
LENGTH_BOUND = 2.0
"""No update counts for more than one this many times as long as the median one."""
MOST_PARTS = 3
LEAST_CROWD = 6
"""Fewer candidates are not looked at for two halves."""


View = tuple[Array, Array]
"""Inner products by which candidates are split, and the cosines of what they are a view of.  # [C, C] each"""


@dataclass(frozen=True)
class Levels:
    """How the tests are set.

    Attributes:
        level: How often chance may make the test of a round suspect somebody, above 0 and below 1.
        jitter_factor: The jump from one client's jitter to the next that counts, at least 1.
    """

    level: float
    jitter_factor: float


@dataclass(frozen=True)
class Crowd:
    """What the tests look at: inner products of what the clients sent, lately and ever.

    Attributes:
        files: The clients' files.
        recent: Short histories.  # [K, P]
        ever: The mean of everything that each sent.  # [K, P]
        now: Inner products of this round's updates.  # [K, K]
        short: Of the short histories.  # [K, K]
        long: Of the long ones.  # [K, K]
    """

    files: Sequence[Record]
    recent: Tensor
    ever: Tensor
    now: Array
    short: Array
    long: Array

    @property
    def lengths(self) -> Array:
        """The norms of this round's updates.  # [K]"""
        norms: Array = np.sqrt(np.diagonal(self.now))
        return norms


def crowd_of(vectors: Tensor, files: Sequence[Record]) -> Crowd:
    """Return what is to be judged.

    Args:
        vectors: The updates of a round.  # [K, P]
        files: Their senders' files, these updates included.
    """
    short, long = short_history(files), long_history(files, mean=True)
    return Crowd(files, short, long, gram_of(vectors), gram_of(short), gram_of(long))


def judge(crowd: Crowd, levels: Levels) -> tuple[dict[str, Finding], set[str]]:
    """Return what each test finds, by kind, and the kinds of which nothing can be told in this round."""
    held = np.array(["malicious" in file["since"] for file in crowd.files])
    nothing = np.full(len(held), np.nan)
    copies = copied(crowd.now)
    long_ones = _boosted(crowd.lengths)
    against = _flips(crowd, ~(copies | long_ones.suspect | held))
    flips = against or Finding(np.zeros_like(held), nothing)
    flips = Finding(flips.suspect & ~copies, flips.measure)
    upright = ~(copies | flips.suspect)
    norms = np.sqrt(np.diagonal(crowd.short))
    noisy = restless(jitters(crowd.files).numpy(), norms, upright, levels.jitter_factor)
    boosted = Finding(long_ones.suspect & upright & ~noisy.suspect, long_ones.measure)
    steady = upright & ~(noisy.suspect | boosted.suspect) & ~_convicted(crowd.files, "noise", "boosted")
    targeted = _apart(crowd, steady, levels.level)
    normal = steady & ~(targeted.suspect | held)
    findings = {
        "copied": Finding(copies, nothing),
        "sign_flip": flips,
        "noise": noisy,
        "boosted": boosted,
        "targeted": targeted,
        "unreliable": _poor(crowd, normal, levels.level),
    }
    return findings, set() if against else {"sign_flip"}


def _convicted(files: Sequence[Record], *kinds: str) -> Array:
    return np.array([any(kind in file["since"] for kind in kinds) for file in files])


def _boosted(lengths: Array) -> Finding:
    """Suspect whose update is far longer than the crowd's.

    That is: more than ``LENGTH_BOUND`` times the median, and an outlier among the logarithms of all lengths:
    4 robust standard deviations above their median.
    """
    middle = float(np.median(lengths))
    if middle <= 0:
        return Finding(np.zeros(len(lengths), dtype=bool), np.full(len(lengths), np.nan))
    logs = np.log(np.maximum(lengths, 1e-12 * middle) / middle)
    spread = SPREAD * float(np.median(np.abs(logs)))
    found = (logs > np.log(LENGTH_BOUND)) & (logs > 4.0 * spread)
    return Finding(found, lengths / middle)


def _flips(crowd: Crowd, trusted: Array) -> Finding | None:
    """Suspect who goes against the crowd, by the freshest history that can tell; None where none can.

    Once nothing is left to learn, fresh updates point anywhere, and those of a few hard examples against each
    other: below ``COHERENT`` they tell nothing.
    """
    for gram in (crowd.now, crowd.short, crowd.long):
        answer = turned(gram, trusted)
        if answer is None:
            continue
        found, cosines = answer
        if gram is crowd.long or np.median(cosines[trusted & ~found]) >= COHERENT:
            return Finding(found, cosines)
    return None


def _poor(crowd: Crowd, normal: Array, level: float) -> Finding:
    """Suspect of poor data whose short history is much less like the others' than theirs are."""
    suspect, measure = np.zeros(len(normal), dtype=bool), np.full(len(normal), np.nan)
    rows = np.flatnonzero(normal)
    if len(rows):
        measure[rows] = cosines_to_others(crowd.short, normal)[rows]
        part, _ = outlying_part(measure[rows], level)
        if part.any() and measure[rows][part].max() < measure[rows][~part].min():
            suspect[rows[part]] = True
    return Finding(suspect, measure)


def _apart(crowd: Crowd, candidates: Array, level: float) -> Finding:
    """Suspect the smaller half of the candidates where their histories fall in two.

    Each view of their histories is looked at along the direction in which they differ most; the level is
    shared among the views. Who was found leaves, and the rest is looked at again.
    """
    suspect, measure = np.zeros(len(candidates), dtype=bool), np.full(len(candidates), np.nan)
    rows = np.flatnonzero(candidates)
    if len(rows) < LEAST_CROWD:
        return Finding(suspect, measure)
    views, left = _views(crowd, rows), np.ones(len(rows), dtype=bool)
    for _ in range(MOST_PARTS):
        here, among = rows[left], np.ix_(left, left)
        part, p = _clearest_part([(view[among], sent[among]) for view, sent in views], level)
        measure[here] = np.fmin(measure[here], p)
        suspect[here[part]] = True
        left = left & ~suspect[rows]
        if not part.any() or left.sum() < LEAST_CROWD:
            break
    return Finding(suspect, measure)


def _clearest_part(views: list[View], level: float) -> tuple[Array, float]:
    """Return the part that stands out most in any view, if one does, and the least p-value of all views."""
    looks = [outlying_part(leading_coordinates(view, 1)[0], level / len(views)) for view, _ in views]
    parts = [(p, alike(sent, part)) for (_, sent), (part, p) in zip(views, looks, strict=True) if part.any()]
    coherent = [(p, part) for p, part in parts if part.any()]
    nobody = np.zeros(len(views[0][0]), dtype=bool)
    clearest = min(coherent, key=lambda look: look[0])[1] if coherent else nobody
    return clearest, min(p for _, p in looks)


def _views(crowd: Crowd, rows: Array) -> list[View]:
    """Return what the candidates sent, seen in six ways.

    This round's updates and short histories as they are, which tells who still pulls when others have nothing
    left to learn; short and long histories at one length; and these with each coordinate at one spread, which
    tells who works on coordinates that others leave alone.
    """
    alone = np.ix_(rows, rows)
    now, short, long = (at_one_length(gram[alone]) for gram in (crowd.now, crowd.short, crowd.long))
    views = [(crowd.now[alone], now), (crowd.short[alone], short), (short, short), (long, long)]
    for history, gram, directions in ((crowd.recent, crowd.short, short), (crowd.ever, crowd.long, long)):
        chosen = history if len(rows) == len(history) else history[rows.tolist()]
        evened = at_one_length(evened_gram(chosen, np.diagonal(gram)[rows]))
        views.append((evened, directions))
    return views


def length_factors(lengths: Array, kept: Array) -> Array:
    """Return what each update is multiplied with, so that none moves the model far, at most 1.  # [K]

    The bound is ``LENGTH_BOUND`` times the median length of those kept.
    """
    if not kept.any():
        return np.ones(len(lengths))
    bound = LENGTH_BOUND * float(np.median(lengths[kept]))
    return np.where(lengths <= bound, 1.0, bound / np.maximum(lengths, 1e-300))
