"""Mean around the median (Meamed).

Source: Xie, Koyejo, Gupta. Generalized Byzantine-Tolerant SGD. 2018, Definition 7. arXiv:1802.10116
"""

from dataclasses import dataclass

from ..core.contracts import Verdict
from ..core.updates import Updates
from .median import check_even
from .parts.columns import Even, mean_around_median
from .parts.fallback import OnInfeasible, check_robustness, least_majority, without_majority


@dataclass(frozen=True)
class Meamed:
    """Average each coordinate's K - f values nearest to its median.

    Of values equally near to it, those of the clients with the lowest ids count.

    Attributes:
        num_byzantine: Malicious clients to survive in one cohort (the paper's q), at least 0. The cohort
            must be above twice that.
        even: What an even cohort takes for its median: the ``"mean"`` of the middle two, or the ``"lower"``.
        on_infeasible: What to do with a smaller cohort: ``"raise"``, or take the ``"mean"`` or ``"median"``.
    """

    num_byzantine: int
    even: Even = "mean"
    on_infeasible: OnInfeasible = "raise"

    def __post_init__(self) -> None:
        check_robustness(self.num_byzantine, self.on_infeasible)
        check_even(self.even)

    @property
    def least_cohort(self) -> int:
        """The smallest cohort, if not empty, that does not raise."""
        return least_majority(self.num_byzantine, self.on_infeasible)

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        cohort_size, f = len(updates), self.num_byzantine
        if (instead := without_majority("Meamed", f, self.on_infeasible, updates)) is not None:
            return instead, state
        return Verdict(mean_around_median(updates.vectors, cohort_size - f, self.even)), state
