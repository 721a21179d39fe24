"""FedNova: updates divided by how far their clients went, so that unequal local work shifts no optimum.

Source: Wang, Liu, Liang, Joshi, Poor. Tackling the Objective Inconsistency Problem in Heterogeneous Federated
Optimization. NeurIPS 2020, Section 4 and Algorithm 1. arXiv:2007.07481. The coefficients of momentum and a
proximal pull together are a reconstruction, derived from the steps here, in which the pull goes into the
momentum: the authors' code runs the two recurrences one after the other, which is not their sum.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import Facts, LocalTraining, LocalWork
from ...core.trees import State
from .parts.partial_work import check_partial, some_steps


@dataclass(frozen=True)
class FedNova:
    """Step by tau_eff sum p_i u_i / a_i: a_i is what the gradients of client i count in its update u_i.

    A client sends u_i and states its number of local steps. The server works a_i out from these and from the
    public ``training``, multiplies u_i by a / a_i before the defense, and the aggregate by tau_eff / a after
    it; a is a_i of ``local_steps`` (of ``local_epochs`` where there are none), so that a robust rule compares
    what is about as long as an update. p_i are the weights of the defense; equal ones where it tells none.
    With equal numbers of steps it is FedAvg but for the last bits.

    A client that lies about its steps scales its own update, and tau_eff with it. The stated number is
    therefore held between 1 and the most that ``training`` allows: ``local_steps``, or what ``local_epochs``
    make of the number of examples that the client claims, and ``max_steps``. Without ``partial`` work nothing
    is left to be stated: all clients count as having done all of it. With ``local_epochs`` and no
    ``max_steps`` a client that claims many examples is believed to have taken many steps.

    The steps' weight decay counts for nothing in a_i, as in the authors' code.

    Attributes:
        mu: Strength of the proximal pull towards the received model, as FedProx's, at least 0.
        partial: Probability with which a client does only a part of its local steps in a round, drawn evenly
            from 1 to one less than all, between 0 and 1.
        tau_eff: ``"mean"``: sum p_i a_i. ``"steps"``: the mean number of steps, sum p_i K_i, as the authors'
            code has it with a proximal pull; then equal work is not FedAvg.
        max_steps: The most local steps that count, at least 1; None: as many as ``training`` allows.
        server_lr: The server's step size, above 0.
        server_momentum: The server's heavy-ball momentum (the authors' gmf), between 0 and 1 (1 excluded).
    """

    mu: float = 0.0
    partial: float = 0.0
    tau_eff: Literal["mean", "steps"] = "mean"
    max_steps: int | None = None
    server_lr: float = 1.0
    server_momentum: float = 0.0

    facts: ClassVar[tuple[str, ...]] = ("steps",)
    stale: ClassVar[bool] = (
        True  # a_i and p_i are those of the messages that are counted, whenever they began
    )

    def __post_init__(self) -> None:
        if not 0 <= self.mu < float("inf"):
            raise ValueError(f"mu must be at least 0, got {self.mu}")
        check_partial(self.partial)
        if self.tau_eff not in ("mean", "steps"):
            raise ValueError(f"tau_eff must be mean or steps, got {self.tau_eff!r}")
        if self.max_steps is not None and self.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {self.max_steps}")
        if not 0 < self.server_lr < float("inf"):
            raise ValueError(f"server_lr must be above 0, got {self.server_lr}")
        if not 0 <= self.server_momentum < 1:
            raise ValueError(f"server_momentum must be in [0, 1), got {self.server_momentum}")

    @property
    def plain(self) -> bool:
        """Whether a gradient stays as it is."""
        return self.mu == 0

    @property
    def proximal(self) -> float:
        """How strongly the received model pulls."""
        return self.mu

    def schedule(self, training: LocalTraining) -> LocalTraining:
        if training.optimizer != "sgd":
            raise ValueError(f"fednova needs training.optimizer = 'sgd', got '{training.optimizer}'")
        if training.lr * self.mu >= 1:
            raise ValueError(f"fednova needs training.lr times mu below 1, got {training.lr * self.mu:g}")
        return training

    def correct(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        return gradient if self.mu == 0 else gradient + self.mu * (params - received)

    @property
    def takes_steps(self) -> Callable[[int, Callable[[], np.random.Generator]], int] | None:
        """What says how many of its steps a client takes; None where it takes all."""
        return partial(some_steps, self.partial) if self.partial else None

    def facts_of(self, update: Tensor, work: LocalWork) -> Mapping[str, Tensor]:
        return {"steps": work.steps[:, 0]}

    def factors(self, facts: Facts) -> Tensor:
        """Return a / a_i.  # [K]"""
        return self._usual(facts.training) / self._counted(self._steps(facts), facts.training)

    def init(self) -> State:
        return {"velocity": None}

    def step(
        self, params: Tensor, aggregate: Tensor, state: State, share: float, facts: Facts
    ) -> tuple[Tensor, State]:
        """Step along the aggregate times tau_eff / a, with the server's momentum."""
        steps = self._steps(facts)
        counted = steps if self.tau_eff == "steps" else self._counted(steps, facts.training)
        tau = float((facts.weights * counted).sum() / self._usual(facts.training))
        move = aggregate * tau
        if not self.server_momentum:
            return params + self.server_lr * move, state
        before = state["velocity"]
        velocity = move if before is None else self.server_momentum * before + move
        return params + self.server_lr * velocity, {"velocity": velocity}

    def _steps(self, facts: Facts) -> Tensor:
        """Return the steps that each client may count as having taken, float64.  # [K]"""
        how, examples = facts.training, facts.num_examples.double().clamp(min=1)
        per_epoch = (examples / how.batch_size).ceil() if how.batch_size else torch.ones_like(examples)
        planned = how.local_epochs * per_epoch
        if how.local_steps is not None:
            planned = torch.full_like(examples, how.local_steps)
        stated = facts.values["steps"].clamp(min=1.0).minimum(planned) if self.partial else planned
        return stated if self.max_steps is None else stated.clamp(max=self.max_steps)

    def _counted(self, steps: Tensor, training: LocalTraining) -> Tensor:
        return accumulated(steps, training.momentum, training.lr * self.mu)

    def _usual(self, training: LocalTraining) -> float:
        """Return a."""
        usual = torch.tensor([training.local_steps or training.local_epochs], dtype=torch.float64)
        return float(self._counted(usual, training))


def accumulated(steps: Tensor, momentum: float, pull: float) -> Tensor:
    """Return the sum of what each of so many steps' gradients counts in an update, float64.  # [K]

    It is a of the recursion v = rho v + 1 - eta a, a = a + v over the steps. With momentum and pull together
    late gradients may count below 0, so that it is no 1-norm; it is the sum that keeps the fixed point.

    Args:
        steps: K of each client, at least 1; parts of a step do not count.  # [K]
        momentum: rho, in [0, 1).
        pull: eta, the step size times the strength of a proximal pull, in [0, 1).
    """
    rho, k = momentum, steps.double().floor()
    if rho == 0:
        return k if pull == 0 else -torch.expm1(k * np.log1p(-pull)) / pull  # the sum of (1 - eta)^(K-k)
    if pull == 0:
        return (k + rho * torch.expm1(k * np.log(rho)) / (1 - rho)) / (1 - rho)
    step = torch.tensor([[rho, -pull, 1], [rho, 1 - pull, 1], [0, 0, 1]], dtype=torch.float64)  # of (v, a, 1)
    each, places = np.unique(k.numpy(), return_inverse=True)
    return torch.stack([torch.linalg.matrix_power(step, int(n))[1, 2] for n in each])[places]
