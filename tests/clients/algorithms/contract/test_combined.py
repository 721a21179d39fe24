"""What a procedure owes that combines messages itself, or whose clients hold others' examples."""

from dataclasses import dataclass, field

import pytest

from gauntlet.clients.algorithms.contract import CHECKS
from gauntlet.clients.algorithms.contract import combined as combined_contract
from gauntlet.core.contracts import Verdict
from gauntlet.core.errors import PluginError


@dataclass(frozen=True)
class Shares:
    """A client sends the gradient of the next one's examples; breaks one promise at a time."""

    how: str = ""
    asked: list = field(default_factory=list)

    def __post_init__(self):
        if self.how == "scaled":
            object.__setattr__(self, "scales", lambda training: {})

    def schedule(self, training):
        return training

    def replicas(self, client_id, num_clients):
        self.asked.append(client_id)
        behind = len(self.asked) if self.how == "anew" else 1
        return (client_id, num_clients if self.how == "nobody" else (client_id + behind) % num_clients)

    def work(self, visit):
        gradient, loss = visit.of((visit.client_id + 1) % visit.num_clients).gradient(visit.received)
        return -gradient, loss

    def init(self):
        return None

    def combine(self, messages, state, num_clients):
        if self.how == "writes":
            messages.vectors.add_(1)
        total = messages.vectors.sum(dim=0) / num_clients
        silent = len(messages) or self.how == "silent"
        return Verdict(
            total[1:] if self.how == "short" else total, fallback="" if silent else "nobody"
        ), state

    def step(self, params, aggregate, state):
        return params + aggregate, state


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
def test_a_procedure_that_combines_what_its_clients_hold_passes(check):
    check(Shares())


@pytest.mark.parametrize(
    ("how", "check"),
    [("scaled", 0), ("anew", 1), ("nobody", 1), ("writes", 2), ("short", 2), ("silent", 2)],
)
def test_a_broken_combination_is_caught(how, check):
    with pytest.raises(PluginError):
        combined_contract.CHECKS[check](Shares(how))
