"""Gradient coding: each client works on several clients' examples, and the server waits for all but s.

Source: Tandon, Lei, Dimakis, Karampatziakis. Gradient Coding: Avoiding Stragglers in Distributed Learning.
ICML 2017, Algorithms 1 and 2. arXiv:1612.03301
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from ...core.contracts import LocalTraining, Sampling, Verdict, Visit, Worked
from ...core.layout import Layout
from ...core.trees import State
from ...core.updates import Updates
from .parts import coded_jobs
from .parts.coded_jobs import FORMS, Form


@dataclass(frozen=True)
class GC:
    """Descend along the gradient of all examples, decoded from the results of any n - s of n clients.

    What the partition deals to a client is one of n chunks; client i has replicas of s + 1 of them, and sends
    one combination. Which clients count says the schedule: ``quorum`` with ``most_late = s`` waits for all
    where more than s straggle. Where too few came, the model stays as it was.

    Nothing protects a chunk from those who have replicas, and one client that lies moves what is decoded as
    far as it likes. A round that tells of more examples than clients say that they worked on moves nothing.

    Attributes:
        num_stragglers: s, at least 0 and below the number of clients. 0 is no code.
        form: ``"cyclic"``: client i holds the chunks i to i + s (mod n), with random factors. ``"repeated"``:
            groups of s + 1 clients hold the same s + 1 chunks, with factors 1; s + 1 divides n.
        lr: The server's step along the mean gradient, above 0.
        code_seed: What the factors are drawn from.
    """

    num_stragglers: int = 1
    form: Form = "cyclic"
    lr: float = 0.1
    code_seed: int = 0

    def __post_init__(self) -> None:
        if self.num_stragglers < 0:
            raise ValueError(f"num_stragglers must be at least 0, got {self.num_stragglers}")
        if self.form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, got {self.form!r}")
        coded_jobs.check_lr(self.lr)

    def up(self, layout: Layout) -> Layout:
        return coded_jobs.results(layout)

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return replace(training, batch_size=0, local_steps=1, lr=self.lr)

    def replicas(self, client_id: int, num_clients: int) -> tuple[int, ...]:
        return coded_jobs.replicated(self.form, client_id, num_clients, self.num_stragglers)

    def work(self, visit: Visit) -> Worked:
        """Return the client's combination of its chunks' gradients."""
        code = coded_jobs.code_of(self.form, visit.num_clients, self.num_stragglers, self.code_seed)
        replicas = self.replicas(visit.client_id, visit.num_clients)
        return coded_jobs.combination(visit, visit.received, code[visit.client_id], replicas)

    def init(self) -> State:
        return None

    def combine(self, messages: Updates, state: Any, num_clients: int) -> tuple[Verdict, State]:
        """Decode the gradient of all examples."""
        code = coded_jobs.code_of(self.form, num_clients, self.num_stragglers, self.code_seed)
        worked_on = float(messages.num_examples.sum())
        return coded_jobs.decided(code, messages.client_ids, messages.vectors, worked_on), state

    def step(self, params: Tensor, aggregate: Tensor, state: Any, share: float) -> tuple[Tensor, State]:
        return params + self.lr * aggregate, state

    def sampling(self, num_clients: int) -> Sampling:
        return coded_jobs.everybody(num_clients, self.num_stragglers, self.form)

    def sample(
        self, num_clients: int, generator: np.random.Generator, round_: int = 0
    ) -> np.ndarray[Any, Any]:
        return np.arange(num_clients)
