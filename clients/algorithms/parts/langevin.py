"""What the Langevin samplers share: the chain, its travels, its prior and the samples that are kept.

Source: Welling, Teh. Bayesian Learning via Stochastic Gradient Langevin Dynamics. ICML 2011. Distributed:
Ahn, Shahbaba, Welling. Distributed Stochastic Gradient MCMC. ICML 2014. Conducive gradients: el Mekkaoui,
Mesquita, Blomstedt, Kaski. Federated Stochastic Gradient Langevin Dynamics. UAI 2021. arXiv:2004.11231
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....core.contracts import Sampling, Visit
from ....core.seeds import generator, normal
from ....core.trees import State

Drift = Callable[[Tensor, np.ndarray[Any, Any] | None], tuple[Tensor, Tensor]]
"""From parameters [P] and a minibatch (None: all examples) to the drift [P] and the mean loss."""


@dataclass(frozen=True)
class Chain:
    """How a chain walks and which of its states are kept.

    Attributes:
        step_size: The paper's h, above 0: drift h/2, noise variance h.
        batch_size: Examples of a minibatch (m), drawn with replacement, at least 0; 0 takes all.
        local_steps: Steps of one visit, at least 1.
        prior_precision: 1 over the variance of the Gaussian prior on every parameter, at least 0; 0: flat.
        burn_in: Steps before the first sample, at least 0.
        thin: Steps from one sample to the next, at least 1. Samples are taken where visits end.
    """

    step_size: float
    batch_size: int
    local_steps: int
    prior_precision: float
    burn_in: int
    thin: int

    def __post_init__(self) -> None:
        if not (isfinite(self.step_size) and self.step_size > 0):
            raise ValueError(f"step_size must be finite and above 0, got {self.step_size}")
        if not (isfinite(self.prior_precision) and self.prior_precision >= 0):
            raise ValueError(f"prior_precision must be finite and at least 0, got {self.prior_precision}")
        for name, least in (("batch_size", 0), ("local_steps", 1), ("burn_in", 0), ("thin", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")

    def prior_gradient(self, params: Tensor) -> Tensor:
        """Return the gradient of the prior's log density.  # [P]"""
        return params * -self.prior_precision

    def walk(self, visit: Visit, drift: Drift) -> tuple[Tensor, Tensor]:
        """Return how far the chain came in a visit [P], and the mean loss on its way."""
        theta, total, _ = wander(
            visit, drift, visit.received, self.step_size, self.batch_size, self.local_steps
        )
        return theta - visit.received, total / self.local_steps

    def keep(self, params: Tensor, visits: int, samples: list[Tensor]) -> list[Tensor]:
        """Return the samples with the chain's state after so many visits, where one is due."""
        steps = visits * self.local_steps
        due = steps > self.burn_in and steps // self.thin > (steps - self.local_steps) // self.thin
        return [*samples, params.clone()] if due else samples


def wander(
    visit: Visit, drift: Drift, start: Tensor, h: float, batch_size: int, steps: int, after: int | None = None
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Take Langevin steps; return the end [P], the sum of the losses, and the states from ``after`` on."""
    n, noise = visit.num_examples, visit.stream("langevin noise")
    rows: Any = [None] * steps
    if batch_size > 0:
        rows = visit.stream("langevin batches").integers(n, size=(steps, batch_size))  # [steps, m]
    theta, total, states = start.clone(), torch.zeros(()), list[Tensor]()
    for t in range(steps):
        direction, loss = drift(theta, rows[t])
        theta = theta + (h / 2) * direction + normal(noise, len(theta), sqrt(h))
        total += loss
        if after is not None and t >= after:
            states.append(theta)
    return theta, total, states


def one_of(num_clients: int, stream: np.random.Generator, round_: int) -> np.ndarray[Any, Any]:
    """Return the client that the chain visits in a round: each as likely, independent of all others.

    ``stream`` is the same in every round.
    """
    key = int(stream.integers(2**62))
    return np.array([generator(key, "chain", round_).integers(num_clients)], dtype=np.int64)


def visiting(num_clients: int) -> Sampling:
    """Return how one client at a time is drawn."""
    return Sampling("other", num_clients, 1 / num_clients, 1.0)


def likelihood_gradient(
    visit: Visit, params: Tensor, rows: np.ndarray[Any, Any] | None
) -> tuple[Tensor, Tensor]:
    """Return the gradient of the client's log likelihood, estimated from a minibatch [P], and its loss."""
    gradient, loss = visit.gradient(params, rows)
    return gradient.mul_(-visit.num_examples), loss


def first_memory() -> State:
    """Return the server's memory before the first visit."""
    return {"visits": 0, "samples": []}
