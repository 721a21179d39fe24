"""Summed rounds: a client's messages of several rounds together, as error feedback adds them up.

What a message withholds travels in later ones, so that over rounds 1 to T with residuals e
sum_t beta^(T - t) d_t = sum_t beta^(T - t) u_t - e_T: only the last residual is missing.

Source: the identity follows from Seide, Fu, Droppo, Li, Yu. 1-Bit Stochastic Gradient Descent. Interspeech
2014, Section 3. The search: Geiping, Bauermeister, Droege, Moeller. Inverting Gradients. NeurIPS 2020,
Equation 4. arXiv:2003.14053. That both are put together is ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction
from .inverting_gradients import InvertingGradients
from .parts.labels import only_label
from .parts.requirements import PLAIN_STEP, refuse_unmet
from .search.aware import Objective
from .search.descent import Descent
from .search.distances import cosine
from .search.engine import Variables
from .search.gradients import gradients_of
from .search.starts import Init


@dataclass(frozen=True)
class SummedRounds:
    """Search the examples that a client trains on in every round, by the sum of what it sent in them.

    Passive. For a client whose one step a round goes over all of its examples. Candidates have a gradient at
    the model of each round. Where the codec carries on what it left out (error feedback, beta its decay), the
    sum of these gradients is compared with the sum of the messages, each times beta^(T - t), by cosine, over
    the coordinates that any of the messages names; else each gradient with its own message. The first round
    is to be the client's first, and none left out in which its message counted: what is carried in from
    outside is in no gradient. One example's label is read where it is not told. ``cost`` is the (mean) cosine
    distance, without the total variation. ``details``: ``rounds``, and ``named``, the share of coordinates
    that are compared.

    Attributes:
        objective: ``"auto"``: the sum where the codec carries on what it left out; ``"plain"``: each message
            for itself in any case.
        max_iterations: Steps of Adam, at least 1.
        lr: Their size, in units of the inputs, above 0.
        tv: Weight of the total variation of images at the first and at the last step, at least 0 each.
        signed: Whether Adam sees signs of gradients alone.
        decays: Whether steps are a tenth after 3/8, 5/8 and 7/8 of the run.
        restarts: Random starts, at least 1; the one of least cost wins.
        tolerance: The cost at which the search has converged, above 0; 0: it never has.
        init: Start evenly over the range of values ("uniform") or from N(0, 1) ("normal").
        max_seconds: Wall-clock budget, above 0, or None. A budget makes results depend on the machine.
    """

    objective: Objective = "auto"
    max_iterations: int = 300
    lr: float = 0.1
    tv: tuple[float, float] = (1e-5, 1e-5)
    signed: bool = True
    decays: bool = True
    restarts: int = 1
    tolerance: float = 0.0
    init: Init = "uniform"
    max_seconds: float | None = None

    requires: ClassVar[Mapping[str, Level]] = {"batch_size": Level.EXACT, "local_steps": Level.EXACT}
    only: ClassVar[Mapping[str, int]] = {"local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    uses: ClassVar[tuple[str, ...]] = ("labels", "codec")
    most_rounds: ClassVar[int] = 1000
    aware: ClassVar[Mapping[str, object]] = {"objective": "auto"}
    unaware: ClassVar[Mapping[str, object]] = {"objective": "plain"}

    def __post_init__(self) -> None:
        self._descent()

    def check(self, observation: Observation) -> None:
        InvertingGradients(init=self.init).check(observation)

    def _descent(self) -> Descent:
        return Descent(
            self.max_iterations,
            self.lr,
            self.tv,
            self.signed,
            self.decays,
            self.restarts,
            self.tolerance,
            self.init,
            self.max_seconds,
        )

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        for observation in observations:
            refuse_unmet(self, observation)
        last, carried = observations[-1], self.objective == "auto" and observations[-1].carries > 0
        weights = carried_on([o.carries for o in observations]) if carried else [1.0] * len(observations)
        sent = sum(w * o.update for w, o in zip(weights, observations, strict=True))
        named = torch.stack([o.support for o in observations]).any(dim=0)  # [P]
        labels = only_label(last, -torch.as_tensor(sent))  # [B]
        gradients = [gradients_of(o) for o in observations]
        whole = cosine(-torch.as_tensor(sent), named)
        apart = [cosine(-o.update, o.support) for o in observations]

        def cost(variables: Variables) -> Tensor:
            found = torch.stack([gradient(variables[0], labels) for gradient in gradients])  # [T, R, P]
            if carried:
                return whole(torch.tensordot(torch.tensor(weights), found, dims=1))
            each = [distance(g) for distance, g in zip(apart, found, strict=True)]
            return torch.stack(each).mean(dim=0)

        found = self._descent().search(last, len(labels), cost, generator)
        return found.reconstruction(labels, rounds=len(observations), named=float(named.float().mean()))


def carried_on(shares: Sequence[float]) -> list[float]:
    """Return by what messages are multiplied so that what each left out cancels with what the next carries.

    Args:
        shares: The share of what the message before left out that each carries.  # [T]
    """
    weights = [1.0]
    for share in reversed(shares[1:]):
        weights.append(weights[-1] * share)
    return weights[::-1]
