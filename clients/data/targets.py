"""What a data set asks for where its answers are no classes."""

from dataclasses import dataclass

import numpy as np

from .column import Array


@dataclass(frozen=True, eq=False)
class Targets:
    """What a data set asks for where the answer is real numbers and no label: a regression.

    Attributes:
        names: The name of each output, D of them.
        least: No target is below; a prediction that is counts as this.
        group_names: The names of groups of test examples (regions, sensors); errors are taken in each group
            apart, and then averaged. Empty where all are of one group.
        test_groups: The group of each test example, int64, below the number of names; None without.  # [m]
    """

    names: tuple[str, ...]
    least: float = -np.inf
    group_names: tuple[str, ...] = ()
    test_groups: Array | None = None
