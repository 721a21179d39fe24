"""Client influence: a plain mean that tells by how much each client lowered the server's own loss.

Source: TracIn: Pruthi, Liu, Kale, Sundararajan. Estimating Training Data Influence by Tracing Gradient
Descent. NeurIPS 2020. arXiv:2002.08484. That it ranks like leaving one out, for trees: Brophy, Hammoudeh,
Lowd. Adapting and Evaluating Influence-Estimation Methods for Gradient-Boosted Decision Trees.
arXiv:2205.00359 (abstract, id unverified). Of clients of a federation: this package's transfer.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from ..core.contracts import Verdict
from ..core.updates import Updates
from .mean import check_weighting, client_shares
from .parts.memory import check_max_clients, remember
from .parts.screening import needed, screened

State = dict[int, float]
"""From client id to its influence in all rounds so far."""


@dataclass(frozen=True)
class ClientInfluence:
    """Average the updates, and score each client by I_i = sum_t p_i <u_i, -grad L(x_t)> over its rounds.

    L is the loss on the server's own examples at what the cohort received, p_i the client's share of the
    mean: I_i is, to first order, by how much the client lowered L, above 0 where it helps; over a cohort it
    sums to that of the whole step. Scores are running sums, and ``influence`` in ``scores.parquet`` is the
    round's own. A diagnostic: it flags nobody, and changes nothing. Under privacy of the sum it would tell
    what only the noise may; there is no epsilon.

    Attributes:
        weighting: ``"uniform"``, each client counts the same, or ``"num_examples"``.
        max_clients: Clients remembered, the last seen ones, at least 1.
    """

    weighting: Literal["uniform", "num_examples"] = "uniform"
    max_clients: int = 10_000

    needs_root: ClassVar[bool] = True
    runs_models: ClassVar[bool] = True
    beside_params: ClassVar[bool] = True
    remembers_clients: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_weighting(self.weighting)
        check_max_clients(self.max_clients)

    @property
    def weighs_examples(self) -> bool:
        """Whether a client counts as the examples that it claims."""
        return self.weighting == "num_examples"

    def init(self) -> State:
        return {}

    def aggregate(self, updates: Updates, state: State) -> tuple[Verdict, State]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        context = needed(updates, "client_influence", "the server's own examples")
        if context.examples is None or context.gradient is None:
            raise ValueError(
                "client_influence needs the server's own examples: root_examples must be above 0"
            )
        slope = context.gradient(context.params, context.examples.x, context.examples.y).double()  # [P]
        shares = client_shares(updates, self.weighting)
        found = -shares * torch.stack([row.double() @ slope for row in updates.vectors])  # [K]
        ids = updates.client_ids.tolist()
        now = dict(zip(ids, found.tolist(), strict=True))
        news = {client: state.get(client, 0.0) + value for client, value in now.items()}
        verdict = screened(updates, shares)
        details = {client: {"influence": value} for client, value in now.items()}
        verdict = Verdict(verdict.aggregate, shares, scores=news, details=details)
        return verdict, remember(state, news, self.max_clients)
