"""What every local rule owes, and that a rule which breaks a promise is caught."""

from dataclasses import dataclass, field

import pytest

from gauntlet.clients.algorithms import ALGORITHMS
from gauntlet.clients.algorithms.contract import CHECKS
from gauntlet.core.errors import PluginError

SHORT = {"fsgld": {"surrogate_steps": 60, "surrogate_burn_in": 20}}  # by default 4,000 steps a client


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", ALGORITHMS.table)
def test_every_algorithm_keeps_every_promise(name, check):
    check(ALGORITHMS.build(name, SHORT.get(name, {})))


@dataclass(frozen=True)
class Walk:
    """A procedure that steps along the gradient, and breaks one promise at a time."""

    how: str = ""
    calls: list = field(default_factory=list)

    def schedule(self, training):
        return None if self.how == "schedule" else training

    def work(self, visit):
        gradient, loss = visit.gradient(visit.received)
        if self.how == "process":
            self.calls.append(visit.client_id)
            gradient = gradient * len(self.calls)
        return -gradient, loss

    def init(self):
        return {"rounds": 0}

    def step(self, params, aggregate, state):
        if self.how == "writes":
            aggregate += 1
        return params if self.how == "stands" else params + aggregate, {"rounds": state["rounds"] + 1}


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
def test_a_procedure_that_keeps_its_promises_passes(check):
    check(Walk())


@pytest.mark.parametrize(
    ("how", "check"), [("schedule", -3), ("process", -2), ("writes", -1), ("stands", -1)]
)
def test_a_broken_procedure_is_caught(how, check):
    with pytest.raises(PluginError):
        CHECKS[check](Walk(how))


@dataclass(frozen=True)
class Broken:
    """Breaks one promise at a time."""

    how: str

    @property
    def plain(self):
        return self.how == "a_plain_rule_changes_nothing"

    def schedule(self, training):
        return None if self.how == "the_schedule_is_a_local_training" else training

    def correct(self, gradient, params, received):
        if self.how == "the_direction_has_the_gradients_shape_and_type":
            return gradient.double()
        if self.how == "clients_can_be_stacked":
            return gradient / gradient.norm()
        if self.how == "the_inputs_are_left_as_they_were":
            return gradient.mul_(2)
        if self.plain:
            return gradient + params - received
        return gradient


@pytest.mark.parametrize("check", CHECKS[1:-2], ids=lambda c: c.__name__)
def test_a_broken_rule_is_caught(check):
    with pytest.raises(PluginError):
        check(Broken(check.__name__))
    check(Broken("not at all"))


def test_a_class_with_neither_verb_is_caught():
    class Neither:
        def schedule(self, training):
            return training

    with pytest.raises(PluginError, match="neither"):
        CHECKS[0](Neither())
