"""Bulyan: choose clients by Krum, then average each coordinate around the median of the chosen.

Source: El Mhamdi, Guerraoui, Rouault. The Hidden Vulnerability of Distributed Learning in Byzantium.
ICML 2018, Section 4. arXiv:1802.07927
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.updates import Updates
from .krum import Neighbours, check_neighbours, scores_of
from .median import check_even
from .parts.columns import Even, mean_around_median
from .parts.distances import squared_distances
from .parts.fallback import OnInfeasible, check_robustness, fall_back

Selection = Literal["iterative", "oneshot"]


@dataclass(frozen=True)
class Bulyan:
    """Choose K - 2 f clients by Krum; of those take each coordinate's K - 4 f values nearest to their median.

    The aggregate is the mean of those values. The scores are Krum's over the whole cohort.
    On a tie the client with the lowest id is chosen.

    Attributes:
        num_byzantine: Malicious clients to survive in one cohort (the paper's f), at least 0. The
            cohort must hold at least 4 f + 3 clients; with f = 0 any cohort will do.
        selection: ``"iterative"``, as the paper has it: take Krum's first choice, leave it out, score the
            rest again; ``"oneshot"``: take the K - 2 f best of one scoring. They often differ.
        neighbours: How many of the others count in a score: ``"paper"``: n - f - 2 of the n left, at least
            1; ``"byzfl"``: n - f - 1.
        even: What an even number of values takes for its median: the ``"mean"`` of the middle two, or the
            ``"lower"``.
        on_infeasible: What to do with a smaller cohort: ``"raise"``, or take the ``"mean"`` or ``"median"``.
    """

    num_byzantine: int
    selection: Selection = "iterative"
    neighbours: Neighbours = "paper"
    even: Even = "mean"
    on_infeasible: OnInfeasible = "raise"

    def __post_init__(self) -> None:
        check_robustness(self.num_byzantine, self.on_infeasible)
        check_neighbours(self.neighbours)
        check_even(self.even)
        if self.selection not in ("iterative", "oneshot"):
            raise ValueError(f"selection must be iterative or oneshot, got '{self.selection}'")

    @property
    def exempt(self) -> tuple[str, ...]:
        """Of the few clients left last, two nearest to one another tie: the lower id is taken."""
        return ("who_sent_a_row_does_not_matter",) if self.selection == "iterative" else ()

    @property
    def least_cohort(self) -> int:
        """The smallest cohort, if not empty, that does not raise."""
        return self._least if self.on_infeasible == "raise" else 1

    @property
    def _least(self) -> int:
        return 4 * self.num_byzantine + 3 if self.num_byzantine else 1

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        cohort_size, f = len(updates), self.num_byzantine
        if cohort_size == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        if cohort_size < self._least:
            reason = (
                f"Bulyan against {f} malicious clients needs a cohort of {self._least} or more, "
                f"got {cohort_size}"
            )
            return fall_back(self.on_infeasible, updates, reason), state
        distances = squared_distances(updates.vectors)
        scores = scores_of(distances, f, self.neighbours)
        if self.selection == "iterative":
            chosen = _one_by_one(distances, f, self.neighbours)
        else:
            chosen = scores.argsort(stable=True)[: cohort_size - 2 * f]
        rows = chosen.sort().values
        aggregate = mean_around_median(updates.vectors, cohort_size - 4 * f, self.even, rows)
        by_client = dict(zip(updates.client_ids.tolist(), scores.tolist(), strict=True))
        return Verdict(aggregate, scores=by_client), state


def _one_by_one(distances: Tensor, num_byzantine: int, neighbours: Neighbours) -> Tensor:
    """Return the rows that Krum takes one after the other, scoring what is left.  # [K - 2 f]"""
    left, taken = torch.arange(len(distances)), []
    for _ in range(len(distances) - 2 * num_byzantine):
        best = int(scores_of(distances[left][:, left], num_byzantine, neighbours).argmin())
        taken.append(left[best])
        left = torch.cat([left[:best], left[best + 1 :]])
    return torch.stack(taken)
