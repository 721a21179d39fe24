"""SR-SGC: what stragglers missed of a job is done again rounds later, so that a code spares fewer of them.

Source: Krishnan, Ebrahimi, Khisti. Sequential Gradient Coding for Straggler Mitigation. ICLR 2023.
arXiv:2211.13802 (selective repetition).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import LocalTraining, Sampling, Verdict, Visit, Worked
from ...core.layout import Layout
from ...core.trees import State
from ...core.updates import Updates
from .parts import coded_jobs
from .parts.gradient_code import spare_of


@dataclass(frozen=True)
class SRSGC:
    """Descend along gradients of all examples, each of which is told B rounds after it was begun.

    Job t, the gradient at one model, is coded as by ``gc`` with s = ceil(B lambda / (W - 1 + B)). Where more
    than s results of job t are missing after round t, so many of their clients as are too many, of the lowest
    ids, do them again in round t + B, in the place of job t + B. So B + 1 models are trained in turn, all
    from the same start: one run of them takes B + 1 times the rounds. Each round sends the job's model, that
    of the job B rounds ago, and who repeats it.

    It goes with ``schedule = "bursty"`` of the same B, W and lambda, under which every job is told. A job
    that is not leaves its model as it was.

    Attributes:
        burst: B, at least 1; it divides ``window`` - 1.
        window: W, above B.
        most_late: lambda, from 0 to below the number of clients.
        lr: The server's step along the mean gradient, above 0.
        code_seed: What the code's factors are drawn from.
    """

    burst: int = 1
    window: int = 2
    most_late: int = 1
    lr: float = 0.1
    code_seed: int = 0

    def __post_init__(self) -> None:
        coded_jobs.check_bursts(self.burst, self.window, self.most_late, self.lr)
        if (self.window - 1) % self.burst:
            raise ValueError(f"burst must divide window - 1, got {self.burst} and {self.window}")

    @property
    def spare(self) -> int:
        """How many results of a job may be missing (s)."""
        return spare_of(self.most_late, self.burst, self.window)

    @property
    def _again(self) -> int:
        """How many may have to repeat at most, or 1."""
        return max(1, self.most_late - self.spare)

    def up(self, layout: Layout) -> Layout:
        return coded_jobs.results(layout)

    def down(self, layout: Layout) -> Layout:
        behind = {"earlier": (layout.num_parameters,), "again": (self._again,)}
        return layout.repeated("params").followed_by(**behind)

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return replace(training, batch_size=0, local_steps=1, lr=self.lr)

    def replicas(self, client_id: int, num_clients: int) -> tuple[int, ...]:
        return coded_jobs.replicated("cyclic", client_id, num_clients, self.spare)

    def work(self, visit: Visit) -> Worked:
        """Return the client's result of this round's job, or of the one that it missed."""
        code = coded_jobs.code_of("cyclic", visit.num_clients, self.spare, self.code_seed)
        again = visit.client_id in visit.shared["again"].tolist()
        params = visit.shared["earlier"] if again else visit.received
        replicas = self.replicas(visit.client_id, visit.num_clients)
        return coded_jobs.combination(visit, params, code[visit.client_id], replicas)

    def init(self) -> State:
        return {"round": 0, "models": None, "again": [], "jobs": []}

    def extra(self, params: Tensor, state: Any) -> Tensor:
        """Return the model of the job B rounds ago, and the ids of those who repeat it, -1 for nobody."""
        turns = self.burst + 1
        earlier = coded_jobs.models_of(params, state, turns)[(state["round"] - self.burst) % turns]
        again = torch.full((self._again,), -1.0)
        again[: len(state["again"])] = torch.tensor(state["again"], dtype=torch.float32)
        return torch.cat([earlier, again])

    def combine(self, messages: Updates, state: Any, num_clients: int) -> tuple[Verdict, State]:
        """Take this round's results, and decode the job that began B rounds ago."""
        repeats = torch.isin(messages.client_ids, torch.tensor(state["again"], dtype=torch.int64))
        jobs = [*state["jobs"], _results(messages, ~repeats)]
        size, waits = messages.vectors.shape[1] // 2 - 1, len(jobs) <= self.burst
        if waits:
            verdict = coded_jobs.untold(f"the first job is told in round {self.burst}", size)
        else:
            job = _joined(jobs.pop(0), _results(messages, repeats))
            code = coded_jobs.code_of("cyclic", num_clients, self.spare, self.code_seed)
            verdict = coded_jobs.decided(code, job["ids"], job["vectors"])
        again = self._missing(jobs[0], num_clients) if len(jobs) == self.burst else []
        return verdict, {**state, "jobs": jobs, "again": again}

    def _missing(self, job: dict[str, Tensor], num_clients: int) -> list[int]:
        """Return who repeats a job in the next round."""
        missing = sorted(set(range(num_clients)) - set(job["ids"].tolist()))
        return missing[: max(0, len(missing) - self.spare)][: self._again]

    def step(self, params: Tensor, aggregate: Tensor, state: Any, share: float) -> tuple[Tensor, State]:
        return coded_jobs.moved(params, aggregate, state, self.lr, self.burst)

    def sampling(self, num_clients: int) -> Sampling:
        return coded_jobs.everybody(num_clients, self.most_late)

    def sample(
        self, num_clients: int, generator: np.random.Generator, round_: int = 0
    ) -> np.ndarray[Any, Any]:
        return np.arange(num_clients)


def _results(messages: Updates, rows: Tensor) -> dict[str, Tensor]:
    return {"ids": messages.client_ids[rows], "vectors": messages.vectors[rows]}


def _joined(first: dict[str, Tensor], then: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.cat([first[name], then[name]]) for name in first}
