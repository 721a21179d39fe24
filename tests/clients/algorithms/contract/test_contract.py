"""What every local rule owes, and that a rule which breaks a promise is caught."""

from dataclasses import dataclass, field, replace

import pytest
import torch

from gauntlet.clients.algorithms import ALGORITHMS
from gauntlet.clients.algorithms.contract import CHECKS
from gauntlet.clients.algorithms.contract import exchange as exchange_contract
from gauntlet.clients.algorithms.contract import kept as kept_contract
from gauntlet.clients.algorithms.contract import levels as levels_contract
from gauntlet.clients.algorithms.contract import loss as loss_contract
from gauntlet.clients.models.narrowed import narrowed
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout

SHORT = {  # by default 4,000 steps a client, or 100 candidates a step
    "fsgld": {"surrogate_steps": 60, "surrogate_burn_in": 20},
    "fzoos": {
        "local_steps": 2,
        "candidates": 10,
        "look_candidates": 10,
        "look_active": 5,
        "num_features": 50,
    },
    "rgf": {"local_steps": 2},
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", ALGORITHMS.table)
def test_every_algorithm_keeps_every_promise(name, check):
    check(ALGORITHMS.build(name, SHORT.get(name, {})))


BY_NAME = {check.__name__: check for check in CHECKS}


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
    ("how", "check"),
    [
        ("schedule", "the_schedule_is_a_local_training"),
        ("process", "a_procedure_gives_the_same_in_any_process_and_after_a_checkpoint"),
        ("writes", "a_procedure_moves_the_parameters_and_leaves_its_inputs_as_they_were"),
        ("stands", "a_procedure_moves_the_parameters_and_leaves_its_inputs_as_they_were"),
    ],
)
def test_a_broken_procedure_is_caught(how, check):
    with pytest.raises(PluginError):
        BY_NAME[check](Walk(how))


@dataclass(frozen=True)
class Broken:
    """Breaks one promise at a time."""

    how: str

    @property
    def plain(self):
        return self.how == "a_plain_rule_changes_nothing"

    @property
    def proximal(self):
        return 0.5 if "proximal" in self.how else 0

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


@pytest.mark.parametrize("check", CHECKS[1:7], ids=lambda c: c.__name__)
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


@dataclass(frozen=True)
class Exchanges:
    """Sends its update and a copy of it, remembers the latter; breaks one promise at a time."""

    how: str = ""

    @property
    def memory_stays(self):
        return "memory_that_stays" in self.how

    @property
    def personal(self):
        return Broken("clients_can_be_stacked") if "personal" in self.how else None

    def schedule(self, training):
        return training

    def up(self, layout):
        if self.how == "what_is_declared_can_be_laid_out":
            return Layout(layout.repeated("update", "copy").parameters[:-1])
        return layout.repeated("update", "copy")

    def down(self, layout):
        return layout.repeated("params", "pull")

    def memory(self, layout):
        return layout.repeated("copy", "personal")

    def start(self, params):
        return {"copy": params * float("nan") if "first_memory" in self.how else params, "personal": params}

    def drift(self, shared, own):
        return shared["pull"] - own["copy"]

    def correct(self, gradient, params, received, shared, own):
        bent = 2.0 if "drift" in self.how else 1.0
        return gradient + bent * (shared["pull"] - own["copy"])

    def finish(self, update, received, shared, own, work):
        copy = update - update.mean(dim=0) if "stacked" in self.how else update + own["copy"]
        return {"update": update, "copy": copy}, {"copy": copy, "personal": own["personal"]}

    def init(self):
        return {"pull": None}

    def extra(self, params, state):
        return torch.zeros(1, len(params)) if state["pull"] is None else state["pull"][None]

    def step(self, params, aggregate, state, share):
        update, copy = aggregate.view(2, -1)
        return params + update, {"pull": copy.mul_(2) if "server_half" in self.how else copy}


@pytest.mark.parametrize("check", exchange_contract.CHECKS, ids=lambda c: c.__name__)
def test_a_broken_exchange_is_caught(check):
    with pytest.raises(PluginError):
        check(Exchanges(check.__name__))


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
def test_a_rule_that_exchanges_more_and_keeps_its_promises_passes(check):
    check(Exchanges())


@dataclass(frozen=True)
class Adds:
    """Adds the squared distance of features from the received model's; breaks one promise at a time."""

    how: str = ""

    plain = True
    frozen_models = ("received",)

    def schedule(self, training):
        return training

    def correct(self, gradient, params, received):
        return gradient

    def added_loss(self, local, frozen, targets):
        off = (local.features - frozen["received"].features).square().sum(dim=-1)
        if "number" in self.how:
            return off.mean()
        if "one_example" in self.how:
            return off - off.mean()
        return off.sqrt() * float("nan") if "differentiated" in self.how else off


@pytest.mark.parametrize("check", loss_contract.CHECKS, ids=lambda c: c.__name__)
def test_a_broken_addition_is_caught(check):
    with pytest.raises(PluginError):
        check(Adds(check.__name__))
    check(Adds())


@dataclass(frozen=True)
class Halves:
    """Every other client trains the first four of eight hidden units; breaks one promise at a time."""

    how: str = ""
    asked: list = field(default_factory=list)

    @property
    def levels_stay(self):
        return "id_and_draw" in self.how

    def schedule(self, training):
        return training

    def correct(self, gradient, params, received):
        return gradient

    def levels(self, model, input_shape):
        self.asked.append(model)
        half = narrowed(model, 0.5, input_shape)
        if self.how == "sizes":
            return [replace(half, present=~half.present)]
        if "some_parameters" in self.how and len(self.asked) > 1:
            return [narrowed(model, 1.0, input_shape), half]
        return [half, narrowed(model, 1.0, input_shape)]

    def level(self, client_id, num_clients, draw):
        if "id_and_draw" in self.how:
            return int(draw().integers(2))
        return 2 if self.how == "range" else client_id % 2


@pytest.mark.parametrize("check", levels_contract.CHECKS, ids=lambda c: c.__name__)
def test_broken_levels_are_caught(check):
    with pytest.raises(PluginError):
        check(Halves(check.__name__))


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
def test_a_rule_with_levels_that_keeps_its_promises_passes(check):
    check(Halves())


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ("range", "algorithm Halves: level must return a whole number from 0 to 1, got 2"),
        ("sizes", "the model of level 0 has 35 parameters and 0 floating buffers, and present says 57"),
    ],
)
def test_levels_that_cannot_be_are_one_line(how, complaint):
    check = levels_contract.CHECKS[how == "range"]
    with pytest.raises(PluginError) as caught:
        check(Halves(how))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@dataclass(frozen=True)
class Keeps:
    """Its clients keep the last layer; breaks one promise at a time."""

    how: str = ""

    @property
    def plain(self):
        return self.how != "changes"

    def schedule(self, training):
        return training

    def correct(self, gradient, params, received):
        return gradient

    def keeps(self, model):
        if self.how == "writes":
            model.requires_grad_(False)
        names = [name for name, _ in model.named_parameters()]
        return {"all": names, "strange": ["nothing"]}.get(self.how, names[-2:])


@pytest.mark.parametrize(
    ("how", "check"), [("all", 0), ("strange", 0), ("writes", 0), ("changes", 1)], ids=lambda v: str(v)
)
def test_a_rule_that_keeps_what_it_must_not_is_caught(how, check):
    for one in kept_contract.CHECKS:
        one(Keeps())
    with pytest.raises(PluginError):
        kept_contract.CHECKS[check](Keeps(how))
