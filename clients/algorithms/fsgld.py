"""Federated stochastic gradient Langevin dynamics: a travelling chain with conducive gradients.

Source: el Mekkaoui, Mesquita, Blomstedt, Kaski. Federated Stochastic Gradient Langevin Dynamics. UAI 2021,
Section 3 and Algorithm 1. arXiv:2004.11231. A reconstruction from the paper's formulas, checked against
Gaussian truth; how surrogates are fitted here is written at ``FSGLD.prepare``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf, isfinite, sqrt
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import LocalTraining, Sampling, Visit
from ...core.trees import State
from .parts import langevin

SETUP = 2  # rounds in which every client sends its surrogate: first precisions, then precisions times means
_LEAST = 1e-12  # variance of a surrogate's coordinate


@dataclass(frozen=True)
class FSGLD:
    """Sample from the posterior as ``dsgld``, each client's drift corrected by what it knows of the others.

    In the first two rounds every client sends a Gaussian surrogate q_s of its own likelihood: precisions
    Lambda_s and Lambda_s mu_s, diagonal. Then one client a round is drawn with probability f = 1 / S, and a
    step is theta + (h/2) (v + alpha g) + N(0, h), with v as in ``dsgld`` and the conducive gradient
    g = grad log q(theta) - (1/f) grad log q_s(theta), q being the product of all surrogates. Its mean over
    clients is 0 whatever the surrogates are; the better they fit, the less clients differ.

    Not private: the noise is scaled for sampling, and surrogates tell a client's mean and curvature.

    Attributes:
        step_size: The paper's h, above 0: drift h/2, noise variance h.
        batch_size: Examples of a minibatch (m), drawn with replacement, at least 0; 0 takes all.
        local_steps: Steps of one visit, at least 1.
        prior_precision: 1 over the variance of the Gaussian prior on every parameter, at least 0; 0: flat.
        burn_in: Steps before the first sample is kept, at least 0.
        thin: Steps from one sample to the next, at least 1. Samples are taken where visits end.
        alpha: Strength of the correction; 1 is the paper's, 0 is ``dsgld`` to rounding.
        surrogate: How a client fits its own: ``"sgld"``, mean and variances of a local chain's samples (the
            paper's); or ``"laplace"``, mode and curvatures there, by two full gradients a parameter.
        surrogate_prior_precision: Of the Gaussian around 0 that the local fit sees besides the likelihood, at
            least 0; None: 1/S of ``prior_precision``. It cancels in g; it keeps a client of one class, whose
            likelihood has no mode, from fitting far away from where the chain will be.
        surrogate_steps: Local samples of which a surrogate is made, at least 2.
        surrogate_burn_in: Local steps before them, at least 0.
        surrogate_step_size: The local chain's h, above 0; None: S times ``step_size``, since one of S
            clients knows S times less.
        surrogate_batch_size: The local chain's minibatch, at least 0; 0 takes all of the client's examples.
    """

    step_size: float = 1e-4
    batch_size: int = 10
    local_steps: int = 40
    prior_precision: float = 1.0
    burn_in: int = 0
    thin: int = 100
    alpha: float = 1.0
    surrogate: Literal["sgld", "laplace"] = "sgld"
    surrogate_prior_precision: float | None = None
    surrogate_steps: int = 3000
    surrogate_burn_in: int = 1000
    surrogate_step_size: float | None = None
    surrogate_batch_size: int = 0

    periodic: ClassVar[bool] = True
    plain_mean: ClassVar[bool] = True
    unproved: ClassVar[str] = "uncalibrated_noise"
    extras: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _ = self._chain
        if not isfinite(self.alpha):
            raise ValueError(f"alpha must be finite, got {self.alpha}")
        if self.surrogate not in ("sgld", "laplace"):
            raise ValueError(f"surrogate must be sgld or laplace, got {self.surrogate!r}")
        for name, least in (("surrogate_steps", 2), ("surrogate_burn_in", 0), ("surrogate_batch_size", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        pull = self.surrogate_prior_precision
        if pull is not None and not (isfinite(pull) and pull >= 0):
            raise ValueError(f"surrogate_prior_precision must be finite and at least 0, got {pull}")
        if self.surrogate_step_size is not None and not 0 < self.surrogate_step_size < inf:
            raise ValueError(
                f"surrogate_step_size must be above 0 and finite, got {self.surrogate_step_size}"
            )

    @cached_property
    def _chain(self) -> langevin.Chain:
        return langevin.Chain(
            self.step_size, self.batch_size, self.local_steps, self.prior_precision, self.burn_in, self.thin
        )

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return replace(training, local_steps=self.local_steps, batch_size=self.batch_size)

    def prepare(self, visit: Visit) -> State:
        """Return the client's surrogate (Lambda_s [P], Lambda_s mu_s [P]).

        The fit sees the client's likelihood and a weak Gaussian besides: a client with one class has a
        likelihood that no Gaussian fits. (The paper fits the likelihood alone; g has mean 0 either way.)
        """
        pull = self.surrogate_prior_precision
        pull = self.prior_precision / visit.num_clients if pull is None else pull

        def drift(theta: Tensor, rows: np.ndarray[Any, Any] | None) -> tuple[Tensor, Tensor]:
            gradient, loss = langevin.likelihood_gradient(visit, theta, rows)
            return gradient - pull * theta, loss

        h = self.surrogate_step_size or self.step_size * visit.num_clients
        last = self.surrogate_burn_in + self.surrogate_steps
        begin, batch = visit.received, self.surrogate_batch_size
        if self.surrogate == "laplace":
            return laplace(lambda theta: drift(theta, None)[0], begin, h, last, visit.num_examples)
        _, _, states = langevin.wander(visit, drift, begin, h, batch, last, self.surrogate_burn_in)
        return surrogate(torch.stack(states))

    def work(self, visit: Visit) -> tuple[Tensor, Tensor]:
        """Return half a surrogate in the first two rounds, then how far the chain came; and the mean loss."""
        if visit.round < SETUP:
            _, loss = visit.gradient(visit.received)
            return visit.memory[visit.round], loss
        precision, shift = visit.extra * visit.num_clients  # sums over clients
        own, f = visit.memory, 1 / visit.num_clients

        def drift(theta: Tensor, rows: np.ndarray[Any, Any] | None) -> tuple[Tensor, Tensor]:
            gradient, loss = langevin.likelihood_gradient(visit, theta, rows)
            v = self._chain.prior_gradient(theta) + gradient / f
            return v + self.alpha * conducive(theta, precision, shift, own[0], own[1], f), loss

        return self._chain.walk(visit, drift)

    def init(self) -> State:
        return {**langevin.first_memory(), "round": 0, "surrogate": []}

    def step(self, params: Tensor, aggregate: Tensor, state: State) -> tuple[Tensor, State]:
        """Add up surrogates; then take the chain back, and keep its state where a sample is due."""
        after = {**state, "round": state["round"] + 1}
        if state["round"] < SETUP:  # all clients came
            return params, {**after, "surrogate": [*state["surrogate"], aggregate.clone()]}
        theta, visits = params + aggregate, state["visits"] + 1
        samples = self._chain.keep(theta, visits, state["samples"])
        return theta, {**after, "visits": visits, "samples": samples}

    def extra(self, params: Tensor, state: State) -> Tensor:
        """Return the clients' mean Lambda_s and mean Lambda_s mu_s; zeros until they are known.  # [2, P]"""
        known = state["surrogate"]
        return torch.stack([*known, *(torch.zeros_like(params) for _ in range(SETUP - len(known)))])

    def posterior(self, state: State) -> list[Tensor]:
        """Return the samples kept so far.  # [P] each"""
        found: list[Tensor] = state["samples"]
        return found

    def sampling(self, num_clients: int) -> Sampling:
        return langevin.visiting(num_clients)

    def sampling_at(self, num_clients: int, round_: int) -> Sampling:
        if round_ < SETUP:
            return Sampling("full", num_clients, 1.0, float(num_clients))
        return self.sampling(num_clients)

    def sample(
        self, num_clients: int, generator: np.random.Generator, round_: int = SETUP
    ) -> np.ndarray[Any, Any]:
        if round_ < SETUP:
            return np.arange(num_clients, dtype=np.int64)
        return langevin.one_of(num_clients, generator, round_)


def surrogate(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Return (Lambda [P], Lambda mu [P]) of the Gaussian with the samples' mean and diagonal covariance.

    Args:
        samples: States of a chain.  # [n, P]
    """
    values = samples.double()
    precision = 1 / values.var(dim=0, correction=1).clamp(min=_LEAST)
    shift = precision * values.mean(dim=0)
    return precision.to(samples.dtype), shift.to(samples.dtype)


def laplace(
    slope: Callable[[Tensor], Tensor], start: Tensor, h: float, steps: int, num_examples: int
) -> tuple[Tensor, Tensor]:
    """Return (Lambda [P], Lambda mu [P]) of the Gaussian with a log density's mode and curvatures there.

    Curvatures are secants over one posterior deviation of a curvature of 1 an example, on either side.

    Args:
        slope: The log density's gradient.  # [P] -> [P]
        start: Where the climb begins.  # [P]
        h: Twice the step size of the climb.
        steps: Steps of the climb.
        num_examples: Examples behind the density.
    """
    mode = start.clone()
    for _ in range(steps):
        mode = mode + (h / 2) * slope(mode)
    width = 1 / sqrt(num_examples)
    precision = torch.empty_like(mode)
    for i in range(len(mode)):
        aside = torch.zeros_like(mode)
        aside[i] = width
        precision[i] = (slope(mode - aside)[i] - slope(mode + aside)[i]) / (2 * width)
    precision = precision.clamp(min=_LEAST)
    return precision, precision * mode + slope(mode)


def conducive(
    theta: Tensor, precision: Tensor, shift: Tensor, own_precision: Tensor, own_shift: Tensor, f: float
) -> Tensor:
    """Return g_s(theta) = grad log q(theta) - (1/f) grad log q_s(theta).  # [P]

    Args:
        theta: Where.  # [P]
        precision, shift: Lambda and Lambda mu of all clients together: their sums.  # [P] both
        own_precision, own_shift: Lambda_s and Lambda_s mu_s of the client.  # [P] both
        f: The probability with which the client is drawn, above 0 and at most 1.
    """
    return (shift - precision * theta) - (own_shift - own_precision * theta) / f
