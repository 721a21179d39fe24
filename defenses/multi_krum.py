"""Multi-Krum: average the clients with the best Krum scores.

Source: Blanchard, El Mhamdi, Guerraoui, Stainer. Machine Learning with Adversaries: Byzantine
Tolerant Gradient Descent. NeurIPS 2017. arXiv:1703.02757
"""

from dataclasses import dataclass

from ..core.contracts import Verdict
from ..core.updates import Updates
from .krum import (
    Neighbours,
    OnSmallCohort,
    Preset,
    Weighting,
    check_neighbours,
    check_preset,
    krum_scores,
    least_krum_cohort,
    mean_of,
    mean_of_rows,
    repo_scores,
    repo_size,
    without_theorem,
)
from .mean import check_weighting
from .parts.distances import squared_distances
from .parts.fallback import CHOICES, check_robustness


@dataclass(frozen=True)
class MultiKrum:
    """Average the ``num_selected`` updates with the lowest Krum scores.

    Attributes:
        num_byzantine: Malicious clients to survive in one cohort (the paper's f), at least 0. The
            cohort must hold at least 2 f + 3 clients; with f = 0 any cohort will do.
        num_selected: Clients to average (the paper's m), at least 1; None takes K - f. All are
            taken where the cohort is smaller.
        neighbours: How many of the others count in a score: ``"paper"``: K - f - 2; ``"byzfl"``: K - f - 1.
        on_infeasible: What to do with a smaller cohort: ``"raise"``, take the ``"mean"`` or ``"median"``, or
            ``"compute"`` all the same where it is above 2 f, over at least one neighbour, as flwr and ByzFL.
        weighting: How the chosen count: ``"uniform"``, or as their (claimed) ``"num_examples"``, as flwr has
            it, which a liar may inflate.
        preset: ``"mudhog_repo"`` averages the choice of Krum with that preset and its K - K // 2 - 2 nearest
            neighbours, whatever the options above say: the baseline published beside MUD-HoG.
    """

    num_byzantine: int
    num_selected: int | None = None
    neighbours: Neighbours = "paper"
    on_infeasible: OnSmallCohort = "raise"
    weighting: Weighting = "uniform"
    preset: Preset | None = None

    def __post_init__(self) -> None:
        check_robustness(self.num_byzantine, self.on_infeasible, (*CHOICES, "compute"))
        check_neighbours(self.neighbours)
        check_weighting(self.weighting)
        check_preset(self.preset)
        if self.num_selected is not None and self.num_selected < 1:
            raise ValueError(f"num_selected must be at least 1, got {self.num_selected}")

    @property
    def least_cohort(self) -> int:
        """The smallest cohort, if not empty, that does not raise."""
        return 1 if self.preset else least_krum_cohort(self.num_byzantine, self.on_infeasible)

    @property
    def weighs_examples(self) -> bool:
        """Whether clients weigh by the examples that they claim."""
        return self.weighting == "num_examples"

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        cohort_size, f = len(updates), self.num_byzantine
        if cohort_size == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        if self.preset == "mudhog_repo":
            return _repo_mean(updates), state
        if (instead := without_theorem(f, self.on_infeasible, updates)) is not None:
            return instead, state
        scores = krum_scores(updates.vectors, f, self.neighbours)
        m = min(self.num_selected or cohort_size - f, cohort_size)
        return mean_of(updates, scores, m, self.weighting), state


def _repo_mean(updates: Updates) -> Verdict:
    """Return the mean of the preset's Krum choice and its nearest neighbours."""
    distances = squared_distances(updates.vectors)
    scores = repo_scores(distances)
    nearest = distances[int(scores.argmin())].argsort(stable=True)[: repo_size(len(updates))]
    return mean_of_rows(updates, scores, nearest)
