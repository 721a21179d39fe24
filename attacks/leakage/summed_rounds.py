"""Summed rounds: a client's messages of several rounds together, as error feedback adds them up.

A client under error feedback encodes p_t = u_t + beta e_{t-1}, sends d_t and keeps e_t = p_t - d_t. So its
updates alone, and what it sent before, say what it had to encode in each round; and what it sent sums up to
sum_t beta^(T - t) d_t = sum_t beta^(T - t) u_t - e_T: only the last residual is missing.

Source: the identities follow from Seide, Fu, Droppo, Li, Yu. 1-Bit Stochastic Gradient Descent. Interspeech
2014, Section 3. The search: Geiping, Bauermeister, Droege, Moeller. Inverting Gradients. NeurIPS 2020,
Equation 4. arXiv:2003.14053. That both are put together is ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction
from .parts.labels import only_label, refuse_untold_labels
from .parts.requirements import PLAIN_STEP, refuse_unmet
from .search.descent import descent_of
from .search.distances import Distance, cosine
from .search.engine import Variables
from .search.gradients import gradients_of, refuse_unsearchable
from .search.starts import Init, refuse_boundless

Together = Literal["auto", "sum", "plain"]


@dataclass(frozen=True)
class SummedRounds:
    """Search the examples that a client trains on in every round, by all that it sent in them.

    Passive. For a client whose one step a round goes over all of its examples. Candidates have a gradient at
    the model of each round. Where the codec says how badly updates fit its frames and the step size is known,
    ``cost`` is how badly what the client would have had to encode fits them, with what the codec carried on
    (error feedback, beta its decay), a mean over rounds; what a momentum carries on is not reckoned with.
    Without either it is the cosine distance between the sums of gradients and of messages, each times
    beta^(T - t), over the coordinates that any message names; and where nothing is carried on, the mean
    cosine distance of each gradient from its own message. The first round is
    to be the client's first, and each message between is to be there and to have counted: what is carried in
    from outside is in no gradient. One example's label is read where it is not told. ``details``: ``rounds``,
    and ``named``, the share of coordinates that any message names.

    Attributes:
        objective: ``"auto"``: what the codec says of each frame, else the sum; ``"sum"``: the sum in any case
            where something is carried on; ``"plain"``: each message for itself.
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

    objective: Together = "auto"
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
    uses: ClassVar[tuple[str, ...]] = ("labels", "codec", "lr")
    most_rounds: ClassVar[int] = 1000
    aware: ClassVar[Mapping[str, object]] = {"objective": "auto"}
    unaware: ClassVar[Mapping[str, object]] = {"objective": "plain"}
    aware_with: ClassVar[tuple[str, ...]] = ("lr",)

    def __post_init__(self) -> None:
        if self.objective not in get_args(Together):
            allowed = ", ".join(get_args(Together))
            raise ValueError(f"objective must be one of {allowed}, got {self.objective!r}")
        descent_of(self)

    def check(self, observation: Observation) -> None:
        refuse_untold_labels(observation, "SummedRounds")
        refuse_boundless(observation.value_range, self.init)
        refuse_unsearchable(observation)

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        for observation in observations:
            refuse_unmet(self, observation)
        last, weights = observations[-1], carried_on([o.carries for o in observations])
        sent = torch.stack([w * o.update for w, o in zip(weights, observations, strict=True)]).sum(dim=0)
        named = torch.stack([o.support for o in observations]).any(dim=0)  # [P]
        labels = only_label(last, -sent)  # [B]
        gradients = [gradients_of(o) for o in observations]
        distance = self._distance(observations, cosine(-sent, named), torch.tensor(weights))

        def cost(variables: Variables) -> Tensor:
            return distance(torch.stack([gradient(variables[0], labels) for gradient in gradients]))

        found = descent_of(self).search(last, len(labels), cost, generator)
        return found.reconstruction(labels, rounds=len(observations), named=float(named.float().mean()))

    def _distance(self, observations: Sequence[Observation], summed: Distance, weights: Tensor) -> Distance:
        """Return the distance of the gradients of all rounds [T, R, P] from what was sent in them."""
        says = all(o.mismatch is not None and o.knowledge.lr is not None for o in observations)
        if self.objective == "auto" and says:
            return lambda g: _followed(observations, g)
        if self.objective == "plain" or observations[-1].carries == 0:
            apart = [cosine(-o.update, o.support) for o in observations]
            return lambda g: torch.stack([d(one) for d, one in zip(apart, g, strict=True)]).mean(dim=0)
        return lambda g: summed(torch.tensordot(weights, g, dims=1))


def _followed(observations: Sequence[Observation], gradients: Tensor) -> Tensor:
    """Return how badly what clients with these gradients [T, R, P] had to encode fits the frames.  # [R]"""
    costs, kept = [], torch.zeros_like(gradients[0])
    for observation, gradient in zip(observations, gradients, strict=True):
        mismatch, lr = observation.mismatch, observation.knowledge.lr
        assert mismatch is not None
        assert lr is not None
        wanted = observation.carries * kept - lr * gradient  # p  # [R, P]
        costs.append(mismatch(wanted))
        kept = wanted - observation.update
    return torch.stack(costs).mean(dim=0)


def carried_on(shares: Sequence[float]) -> list[float]:
    """Return by what messages are multiplied so that what each left out cancels with what the next carries.

    Args:
        shares: The share of what the message before left out that each carries.  # [T]
    """
    weights = [1.0]
    for share in reversed(shares[1:]):
        weights.append(weights[-1] * share)
    return weights[::-1]
