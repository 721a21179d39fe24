"""DIFF2-BVR-L-SGD: between two exchanges one worker takes local steps along its own running estimate.

Source: Murata, Suzuki. DIFF2. ICML 2023. arXiv:2302.03884, with the local steps of Murata, Suzuki.
Bias-Variance Reduced Local SGD for Less Heterogeneous Federated Learning. ICML 2021. arXiv:2102.03198. Only
abstracts were read: a reconstruction; the noise of the local steps is ours.
"""

from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import LocalTraining, Sampling, Visit
from ...core.seeds import generator as make_generator
from ...core.seeds import normal
from ...core.trees import State
from .parts import differences


@dataclass(frozen=True)
class Diff2BvrLSgd:
    """Rounds come in pairs: all workers send differences as in ``diff2_gd``; then one takes local steps.

    The one is drawn by public randomness, each as likely. It starts from the server's parameters and
    estimate v, steps, and keeps v up by clipped differences on minibatches, none of which shares an example
    with another: theta_k = theta_(k-1) - lr v_(k-1), v_k = v_(k-1) + mean of clip(difference) + noise of
    standard deviation inner_multiplier c2 |theta_k - theta_(k-1)| / batch_size. Where it ends the next pair
    begins. An example enters one step at most, so that a visit costs it one Gaussian of ``inner_multiplier``.

    Attributes:
        lr: Step size (eta), above 0.
        c1: Bound on an example's gradient, in units of its L2 norm, above 0.
        c2: Bound on an example's gradient difference over the step's length, above 0.
        restart: Pairs of rounds from one restart to the next (T), at least 1.
        local_steps: Steps of a visit (K), at least 2; 1 would be ``diff2_gd``.
        batch_size: Examples of a minibatch (b), at least 1; (K - 1) b at most the smallest worker's examples.
        inner_multiplier: Noise of the local steps over their sensitivity (z3), at least 0. 0 proves nothing.
        ridge: Of a penalty ridge / 2 |x|^2, which depends on no data; at least 0.
    """

    lr: float = 0.5
    c1: float = 1.0
    c2: float = 0.25
    restart: int = 10
    local_steps: int = 4
    batch_size: int = 32
    inner_multiplier: float = 0.0
    ridge: float = 0.0

    extras: ClassVar[int] = 2
    exchanges: ClassVar[int] = 2
    periodic: ClassVar[bool] = True
    mechanisms: ClassVar[tuple[str, ...]] = ("none", "diff2")
    shared: ClassVar[tuple[str, ...]] = ("c1", "c2", "restart", "exchanges", "inner_multiplier")

    def __post_init__(self) -> None:
        differences.check(self.lr, self.c1, self.c2, self.restart, self.ridge)
        for name, least in (("local_steps", 2), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not (isfinite(self.inner_multiplier) and self.inner_multiplier >= 0):
            raise ValueError(f"inner_multiplier must be finite and at least 0, got {self.inner_multiplier}")

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return replace(training, batch_size=self.batch_size, local_steps=self.local_steps, lr=self.lr)

    def work(self, visit: Visit) -> tuple[Tensor, Tensor]:
        """Return the clipped mean gradient or difference, or in a visit how far it came; the mean loss."""
        pair, visiting = divmod(visit.round, 2)
        if visiting:
            return self._visit(visit)
        old = None if pair % self.restart == 0 else visit.extra[0]
        return differences.message(visit, self.c1, self.c2, old)

    def _visit(self, visit: Visit) -> tuple[Tensor, Tensor]:
        needed = (self.local_steps - 1) * self.batch_size
        if needed > visit.num_examples:
            raise ValueError(
                f"{self.local_steps} local steps need {self.local_steps - 1} disjoint minibatches of "
                f"{self.batch_size}, and client {visit.client_id} holds {visit.num_examples} examples"
            )
        batches = visit.stream("diff2 batches").permutation(visit.num_examples)[:needed]
        batches, noise = batches.reshape(-1, self.batch_size), visit.noise_stream("diff2 noise")
        _, loss = visit.gradient(visit.received)
        theta, v = visit.received, visit.extra[1]
        for rows in batches:
            old, theta = theta, differences.descend(theta, v, self.lr, self.ridge)
            bound = self.c2 * differences.step_length(theta, old)
            change = differences.clipped_sum(visit, bound, rows, theta, old) / self.batch_size
            std = self.inner_multiplier * bound / self.batch_size
            v = v + change.to(v.dtype) + normal(noise, len(v), std)
        return differences.descend(theta, v, self.lr, self.ridge) - visit.received, loss

    def init(self) -> State:
        return differences.first_memory()

    def step(self, params: Tensor, aggregate: Tensor, state: State) -> tuple[Tensor, State]:
        """Bring the estimate up to date; or go where the visit ended."""
        pair, visited = divmod(state["round"], 2)
        after = {**state, "round": state["round"] + 1}
        if visited:
            return params + aggregate, after
        v = differences.estimate(aggregate, pair % self.restart == 0, state)
        return params, {**after, "last": params, "v": v}

    def extra(self, params: Tensor, state: State) -> Tensor:
        """Return where the last pair began, and the estimate v; zeros before they are known.  # [2, P]"""
        known = (state["last"], state["v"])
        return torch.stack([torch.zeros_like(params) if k is None else k.to(params.dtype) for k in known])

    def sampling(self, num_clients: int) -> Sampling:
        return Sampling("full", num_clients, 1.0, float(num_clients))

    def sampling_at(self, num_clients: int, round_: int) -> Sampling:
        if round_ % 2:
            return Sampling("other", num_clients, 1 / num_clients, 1.0)
        return self.sampling(num_clients)

    def sample(
        self, num_clients: int, generator: np.random.Generator, round_: int = 0
    ) -> np.ndarray[Any, Any]:
        if round_ % 2 == 0:
            return np.arange(num_clients, dtype=np.int64)
        key = int(generator.integers(2**62))
        return np.array([make_generator(key, "worker", round_).integers(num_clients)], dtype=np.int64)
