"""The search of Inverting Gradients over inputs, and over shares from 0 to 1 beside them.

Source: Geiping, Bauermeister, Droege, Moeller. Inverting Gradients. NeurIPS 2020, Section 4. arXiv:2003.14053
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from torch import Tensor

from ....core.observation import Observation
from .adam import AdamSearch, Schedule
from .engine import Budget, Found, Problem, Variables, by_adam
from .priors import annealed, clamp_to, total_variation
from .starts import Init, dummy_inputs


@dataclass(frozen=True)
class Descent:
    """How inputs are searched; the meaning of each option stands with the attacks that hand it on.

    Raises:
        ValueError: One of them is out of range.
    """

    max_iterations: int
    lr: float
    tv: tuple[float, float]
    signed: bool
    decays: bool
    restarts: int
    tolerance: float
    init: Init
    max_seconds: float | None
    schedule: Schedule = "steps"
    tv_bound: float | None = None
    noise: float = 0.0
    rates: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        self._budget()
        self._adam()
        if len(self.tv) != 2 or not all(0 <= weight < float("inf") for weight in self.tv):
            raise ValueError(f"tv must be two weights of at least 0, got {self.tv}")
        if self.tv_bound is not None and not 0 < self.tv_bound < float("inf"):
            raise ValueError(f"tv_bound must be above 0 and finite, or None, got {self.tv_bound}")

    def _budget(self) -> Budget:
        return Budget(self.max_iterations, self.tolerance, self.restarts, self.max_seconds)

    def _adam(self) -> AdamSearch:
        return AdamSearch(self.lr, self.signed, self.decays, self.rates, self.schedule, self.noise)

    def search(
        self,
        observation: Observation,
        batch_size: int,
        cost: Callable[[Variables], Tensor],
        stream: np.random.Generator,
        shares: Callable[[np.random.Generator], Variables] | None = None,
        further: Callable[[Variables], Tensor] | None = None,
    ) -> Found:
        """Return the inputs [B, ...] of least cost within the range of values, and the shares beside them.

        Args:
            observation: What is attacked.
            batch_size: How many inputs.
            cost: From inputs, and shares if any, to the matching cost.  # [R]
            stream: The attack's own.
            shares: From the stream to where numbers from 0 to 1 begin that are searched beside the inputs of
                one restart; Adam sees their gradients and not the signs.
            further: From inputs and shares [R, ...] to what is added to the cost beside the total variation.
                # [R]
        """

        def prior(variables: Variables, share: float) -> Tensor:
            smooth = annealed(*self.tv, share) * total_variation(variables[0])
            return smooth if further is None else smooth + further(variables)

        def project(variables: Variables) -> None:
            clamp_to(variables[0], observation.value_range)
            for other in variables[1:]:
                clamp_to(other, (0.0, 1.0))

        def draw() -> Variables:
            x = dummy_inputs(observation, batch_size, self.init, stream)
            clamp_to(x, observation.value_range)
            return (x,) if shares is None else (x, *shares(stream))

        starts = [draw() for _ in range(self.restarts)]
        problem = Problem(cost, prior, project, self.tv_bound)
        return by_adam(problem, starts, self._adam(), self._budget(), stream)


def descent_of(attack: object, rates: tuple[float, ...] = ()) -> Descent:
    """Return how an attack's options say that inputs are searched, of those that ``Descent`` has too.

    Args:
        attack: The attack.
        rates: Step sizes of what is searched beside inputs.

    Raises:
        ValueError: One of them is out of range.
    """
    names = [option.name for option in fields(Descent) if hasattr(attack, option.name)]
    return Descent(**{name: getattr(attack, name) for name in names}, rates=rates)
