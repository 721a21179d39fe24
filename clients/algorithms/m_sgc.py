"""M-SGC: most of a job is done without a code, some rounds in a row, and only what bursts may cost is coded.

Source: Krishnan, Ebrahimi, Khisti. Sequential Gradient Coding for Straggler Mitigation. ICLR 2023.
arXiv:2211.13802 (multiplexing). Sizes of parts and who does what when follow the authors' public code.
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
from .parts.gradient_code import shares_of


@dataclass(frozen=True)
class MSGC:
    """Descend along gradients of all examples, each of which is told W - 2 + B rounds after it was begun.

    A client's chunk has W - 1 parts of its own and B coded ones, lambda + 1 times shorter, of which the
    lambda clients before it have replicas. In each round a client works for the last W - 1 + B jobs: on the
    next part of its own where it has not delivered all of them, else on its combination of the next coded
    parts. So W - 1 + B models are trained in turn, all from the same start, and all are sent in every round.

    It goes with ``schedule = "bursty"`` of the same B, W and lambda, under which every job is told. A job
    that is not leaves its model as it was: one client whose messages never count (NaN, a network that loses
    them) stops the run so, since nobody else holds its own parts. What a client delivered it knows from which
    of its messages were counted.

    Attributes:
        burst: B, at least 1.
        window: W, above B.
        most_late: lambda, at least 1 and below the number of clients.
        lr: The server's step along the mean gradient, above 0.
        code_seed: What the code's factors are drawn from.
    """

    burst: int = 1
    window: int = 2
    most_late: int = 1
    lr: float = 0.1
    code_seed: int = 0

    def __post_init__(self) -> None:
        coded_jobs.check_bursts(self.burst, self.window, self.most_late, self.lr, least=1)

    @property
    def delay(self) -> int:
        """How many rounds after its first one a job is told (T)."""
        return self.window - 2 + self.burst

    @property
    def _shape(self) -> tuple[int, int, int]:
        return self.most_late, self.burst, self.window

    def up(self, layout: Layout) -> Layout:
        return coded_jobs.results(layout, self.delay + 1)

    def down(self, layout: Layout) -> Layout:
        return layout.repeated("params").followed_by(earlier=(self.delay, layout.num_parameters))

    def memory(self, layout: Layout) -> Layout:
        return Layout(()).followed_by(counted=(self.delay,))

    def start(self, params: Tensor) -> Tensor:
        return params.new_full((self.delay,), -1.0)

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return replace(training, batch_size=0, local_steps=1, lr=self.lr)

    def replicas(self, client_id: int, num_clients: int) -> tuple[int, ...]:
        return coded_jobs.replicated("cyclic", client_id, num_clients, self.most_late)

    def work(self, visit: Visit) -> Worked:
        """Return the client's results of the last jobs, this round's first; 0 of jobs before round 0."""
        counted, own = visit.own["counted"], self.window - 1
        found, losses, examples = [], torch.zeros(()), 0
        for back in range(self.delay + 1):
            job = visit.round - back
            params = visit.received if back == 0 else visit.shared["earlier"][back - 1]
            done = min(own, int((counted >= max(job, 0)).sum()))
            if job < 0:
                result, loss, size = torch.zeros(len(params) + 1, dtype=torch.float64), losses, 0
            elif done < own:
                rows = shares_of(visit.num_examples, *self._shape)[0][done]
                result, loss, size = coded_jobs.task(visit, params, rows)
            else:
                result, loss, size = self._coded(visit, params, back - own)
            found.append(result)
            losses, examples = losses + size * loss, examples + size
        memory = torch.cat([torch.tensor([float(visit.round)]), counted])[: self.delay]
        examples = max(1, examples)
        return Worked(coded_jobs.halves(found), losses / examples, memory, examples=examples)

    def _coded(self, visit: Visit, params: Tensor, group: int) -> tuple[Tensor, Tensor, int]:
        """Return the client's combination of the coded parts of one group."""
        code = coded_jobs.code_of("cyclic", visit.num_clients, self.most_late, self.code_seed)
        replicas = self.replicas(visit.client_id, visit.num_clients)

        def rows(client: int) -> np.ndarray[Any, Any]:
            return shares_of(visit.of(client).num_examples, *self._shape)[1][group]

        return coded_jobs.summed(visit, params, code[visit.client_id], replicas, rows)

    def init(self) -> State:
        return {"round": 0, "models": None, "jobs": []}

    def extra(self, params: Tensor, state: Any) -> Tensor:
        """Return the models of the jobs before this round's, the last one first.  # [T P]"""
        turns = self.delay + 1
        models = coded_jobs.models_of(params, state, turns)
        return torch.cat([models[(state["round"] - back) % turns] for back in range(1, turns)])

    def combine(self, messages: Updates, state: Any, num_clients: int) -> tuple[Verdict, State]:
        """Take this round's results for all jobs that are begun, and decode the oldest of them."""
        length = messages.vectors.shape[1] // (self.delay + 1)  # 2 (P + 1)
        size, own, begun = length // 2 - 1, self.window - 1, len(state["jobs"])
        parts = messages.vectors.view(len(messages), self.delay + 1, length)
        jobs = [
            _delivered(job, messages.client_ids, parts[:, begun - place], own, begun - place - own)
            for place, job in enumerate([*state["jobs"], self._begun(num_clients, size)])
        ]
        if len(jobs) <= self.delay:
            verdict = coded_jobs.untold(f"the first job is told in round {self.delay}", size)
            return verdict, {**state, "jobs": jobs}
        code = coded_jobs.code_of("cyclic", num_clients, self.most_late, self.code_seed)
        return self._decided(code, jobs[0], size), {**state, "jobs": jobs[1:]}

    def _begun(self, num_clients: int, size: int) -> dict[str, Any]:
        none = {"ids": torch.zeros(0, dtype=torch.int64), "vectors": torch.zeros(0, 2 * (size + 1))}
        return {
            "sum": torch.zeros(size + 1, dtype=torch.float64),
            "parts": torch.zeros(num_clients, dtype=torch.int64),
            "coded": [none] * self.burst,
        }

    def _decided(self, code: np.ndarray[Any, Any], job: dict[str, Any], size: int) -> Verdict:
        lacking = int((job["parts"] < self.window - 1).sum())
        if lacking:
            return coded_jobs.untold(f"{lacking} clients did not deliver all parts of their own", size)
        try:
            coded = [coded_jobs.decoded(code, one["ids"], one["vectors"]) for one in job["coded"]]
        except ValueError as error:
            return coded_jobs.untold(str(error), size)
        return coded_jobs.told(job["sum"] + torch.stack(coded).sum(dim=0), size)

    def step(self, params: Tensor, aggregate: Tensor, state: Any, share: float) -> tuple[Tensor, State]:
        return coded_jobs.moved(params, aggregate, state, self.lr, self.delay)

    def sampling(self, num_clients: int) -> Sampling:
        return coded_jobs.everybody(num_clients, self.most_late)

    def sample(
        self, num_clients: int, generator: np.random.Generator, round_: int = 0
    ) -> np.ndarray[Any, Any]:
        return np.arange(num_clients)


def _delivered(job: dict[str, Any], ids: Tensor, vectors: Tensor, own: int, group: int) -> dict[str, Any]:
    """Return a job with what came for it in a round: parts of the clients' own, or the group's results.

    Args:
        job: What came before.
        ids: Who came.  # [K]
        vectors: Their results for the job.  # [K, 2 (P + 1)]
        own: How many parts of its own a client has.
        group: Which group of coded parts the others worked on; below 0: there are no others.
    """
    lacks = job["parts"][ids] < own
    parts = job["parts"].clone()
    parts[ids[lacks]] += 1
    coded = list(job["coded"])
    if group >= 0:
        coded[group] = {"ids": ids[~lacks], "vectors": vectors[~lacks]}
    return {"sum": job["sum"] + coded_jobs.whole(vectors[lacks]).sum(dim=0), "parts": parts, "coded": coded}
