"""That an algorithm is caught which sees single messages, or serves clients apart, and breaks a promise."""

from dataclasses import dataclass

import pytest

from gauntlet.clients.algorithms.contract import CHECKS
from gauntlet.core.contracts import Worked
from gauntlet.core.errors import PluginError

BY_NAME = {check.__name__: check for check in CHECKS}


@dataclass(frozen=True)
class Sees:
    """Steps by the first client's message, serves clients apart; breaks one promise at a time."""

    how: str = ""
    sees_messages = True

    @property
    def facts(self):
        return () if self.how == "silent" else ("one",)

    def schedule(self, training):
        return training

    def work(self, visit):
        gradient, loss = visit.gradient(visit.received)
        return Worked(-gradient, loss, facts={"one": 1.0})

    def init(self):
        return {}

    def step(self, params, aggregate, state, share, facts):
        if self.how == "writes":
            facts.messages.mul_(2)
        return params + (facts.messages[0] if len(facts.messages) else 0), state

    def served(self, params, state, client_id):
        return params[:-1] if self.how == "short" else params * client_id


@pytest.mark.parametrize(
    ("how", "check"),
    [
        ("silent", "who_sees_messages_has_clients_state_something"),
        ("writes", "the_server_half_takes_facts_and_survives_a_checkpoint"),
        ("short", "each_client_is_served_a_model"),
    ],
)
def test_who_sees_messages_or_serves_clients_apart_amiss_is_caught(how, check):
    for one in CHECKS:
        one(Sees())
    with pytest.raises(PluginError):
        BY_NAME[check](Sees(how))
