"""Distributed stochastic gradient Langevin dynamics: a chain that travels from client to client.

Source: Ahn, Shahbaba, Welling. Distributed Stochastic Gradient MCMC. ICML 2014; as stated in el Mekkaoui,
Mesquita, Blomstedt, Kaski. Federated Stochastic Gradient Langevin Dynamics. UAI 2021, Section 2.
arXiv:2004.11231. A reconstruction from the papers' formulas, checked against Gaussian truth.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from ...core.contracts import LocalTraining, Sampling, Visit
from ...core.trees import State
from .parts import langevin


@dataclass(frozen=True)
class DSGLD:
    """Sample from the posterior by visits to one client a round, each drawn with probability f = 1 / S.

    At a client with N examples a step is theta + (h/2) v + N(0, h), with v = grad log prior + N / (f m) times
    the sum of the minibatch's grad log likelihood. The loss is the negative log likelihood; the server's
    parameters are the chain's state. Where shards differ and visits are long, the chain wanders far off the
    posterior between them: ``fsgld`` corrects for that.

    Not private: the noise is scaled for sampling, with no bound on anybody's share.

    Attributes:
        step_size: The paper's h, above 0: drift h/2, noise variance h.
        batch_size: Examples of a minibatch (m), drawn with replacement, at least 0; 0 takes all.
        local_steps: Steps of one visit, at least 1.
        prior_precision: 1 over the variance of the Gaussian prior on every parameter, at least 0; 0: flat.
        burn_in: Steps before the first sample is kept, at least 0.
        thin: Steps from one sample to the next, at least 1. Samples are taken where visits end.
    """

    step_size: float = 1e-4
    batch_size: int = 10
    local_steps: int = 40
    prior_precision: float = 1.0
    burn_in: int = 0
    thin: int = 100

    periodic: ClassVar[bool] = True
    unproved: ClassVar[str] = "uncalibrated_noise"

    def __post_init__(self) -> None:
        _ = self._chain

    @cached_property
    def _chain(self) -> langevin.Chain:
        return langevin.Chain(
            self.step_size, self.batch_size, self.local_steps, self.prior_precision, self.burn_in, self.thin
        )

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return replace(training, local_steps=self.local_steps, batch_size=self.batch_size)

    def work(self, visit: Visit) -> tuple[Tensor, Tensor]:
        """Return how far the chain came, and the mean loss on its way."""

        def drift(theta: Tensor, rows: np.ndarray[Any, Any] | None) -> tuple[Tensor, Tensor]:
            gradient, loss = langevin.likelihood_gradient(visit, theta, rows)
            return self._chain.prior_gradient(theta) + gradient * visit.num_clients, loss

        return self._chain.walk(visit, drift)

    def init(self) -> State:
        return langevin.first_memory()

    def step(self, params: Tensor, aggregate: Tensor, state: State) -> tuple[Tensor, State]:
        """Take the chain back, and keep its state where a sample is due."""
        theta, visits = params + aggregate, state["visits"] + 1
        return theta, {"visits": visits, "samples": self._chain.keep(theta, visits, state["samples"])}

    def posterior(self, state: State) -> list[Tensor]:
        """Return the samples kept so far.  # [P] each"""
        found: list[Tensor] = state["samples"]
        return found

    def sampling(self, num_clients: int) -> Sampling:
        return langevin.visiting(num_clients)

    def sample(
        self, num_clients: int, generator: np.random.Generator, round_: int = 0
    ) -> np.ndarray[Any, Any]:
        return langevin.one_of(num_clients, generator, round_)
