"""What every attack on data and on updates owes; and for each check a twin that it catches."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from gauntlet.attacks.poisoning import DATA_ATTACKS, UPDATE_ATTACKS, contract
from gauntlet.core.contracts import Goal, UpdateKnowledge, View
from gauntlet.core.declarations import UpdateAttacks, declared
from gauntlet.core.errors import PluginError
from gauntlet.core.updates import Updates

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "label_flip_all": [{"num_classes": 10}, {"num_classes": 2}, {"num_classes": 3}],
    "pixel_backdoor": [{}, {"pixels": [[-2, -2], [26, 24]], "fraction": 1.0, "value": 0.5}],
    "dba": [{}, {"trigger_size": 1, "trigger_gap": 0, "trigger_location": [3, 5]}],
    "optimized_trigger": [{}, {"budget": 0.5, "steps": 3, "references": 2, "fraction": 1.0}],
    "edge_case": [{}, {"share": 1.0}],
    "unreliable": [{}, {"kernel_size": 1, "max_noise_std": 0.5, "keep": 1.0, "spoil": 1.0}],
    "sign_flip": [{}, {"scale": 3.0}],
    "alie": [{}, {"z": 1.5}],
    "non_finite": [{"value": v} for v in ("nan", "inf", "-inf")],
    "min_max": [{"direction": d} for d in ("std", "sign", "unit")],
    "min_sum": [{"direction": d} for d in ("std", "sign", "unit")],
    "mimic": [{}, {"victim": 27}, {"victim": 4}, {"warmup_rounds": 1}],
    "model_replacement": [{}, {"scale": 10.0}],
    "train_and_scale": [{"norm_bound": 2.0}],
    "evasion": [{"mode": m} for m in ("under", "rotate", "warm_up", "drift")],
    "free_rider": [{"mode": m} for m in ("zero", "previous", "random", "gaussian")],
}


def members(family: Any) -> list[Any]:
    return [
        pytest.param(family.build(n, o), id=f"{n}-{o}") for n in family.table for o in OPTIONS.get(n, [{}])
    ]


@pytest.mark.parametrize("check", contract.DATA_ATTACK_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("attack", members(DATA_ATTACKS))
def test_every_data_attack_keeps_its_contract(attack, check):
    check(attack)


@pytest.mark.parametrize("check", contract.UPDATE_ATTACK_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("attack", members(UPDATE_ATTACKS))
def test_every_update_attack_keeps_its_contract(attack, check):
    check(attack)


def test_attacks_declare_the_least_knowledge_that_they_need():
    """Robustness spec 3.2: those that use statistics of the honest updates see them, the others do not."""
    own, colluding, omniscient = (
        {n for n in UPDATE_ATTACKS.table if UPDATE_ATTACKS.find(n).knowledge is knowledge}
        for knowledge in UpdateKnowledge
    )
    assert own == {
        "sign_flip",
        "gaussian",
        "additive_noise",
        "non_finite",
        "gradient_ascent",
        "train_and_scale",
        "zero",
        "num_examples_inflation",
    }
    assert colluding == {"model_replacement", "constrain_and_scale", "neurotoxin", "evasion", "free_rider"}
    assert omniscient == set(UPDATE_ATTACKS.table) - own - colluding
    asking = {
        n for n in UPDATE_ATTACKS.table if declared(UPDATE_ATTACKS.find(n), UpdateAttacks.knows_defense)
    }
    assert asking == {"opt_alie", "opt_ipm", "fang_krum"}


@dataclass(frozen=True)
class DataTwin:
    """Flips 1 to 7, with something wrong."""

    change: Callable[[Tensor, Tensor, Any], tuple[Any, Any]]

    def poison(self, x: Tensor, y: Tensor, generator: Any) -> tuple[Any, Any]:
        return self.change(x, y, generator)


BROKEN_DATA = [
    (contract.poisoned_examples_are_still_examples, lambda x, y, g: (x[:0], y[:0]), "1 to 40 examples may"),
    (contract.poisoned_examples_are_still_examples, lambda x, y, g: (x.repeat(2, 1, 1, 1), y), "got 80"),
    (contract.poisoned_examples_are_still_examples, lambda x, y, g: (x[..., :1], y), "x must stay"),
    (contract.poisoned_examples_are_still_examples, lambda x, y, g: (x[:1], y), "y must stay"),
    (contract.poisoned_examples_are_still_examples, lambda x, y, g: (x, y[:, None]), "y must stay"),
    (contract.poisoned_examples_are_still_examples, lambda x, y, g: (x.double(), y), "x must stay"),
    (contract.poisoned_examples_are_still_examples, lambda x, y, g: (x, y.float()), "y must stay"),
    (
        contract.poisoned_examples_are_still_examples,
        lambda x, y, g: (x + 0.5, y),
        r"pixels must stay in \[0, 1\]",
    ),
    (
        contract.poisoned_examples_are_still_examples,
        lambda x, y, g: (x / 0, y),
        r"pixels must stay in \[0, 1\]",
    ),
    (contract.poisoned_examples_are_still_examples, lambda x, y, g: (x, y + 1), "labels must stay below 10"),
    (
        contract.poisoned_examples_are_still_examples,
        lambda x, y, g: 1 / 0,
        "DataTwin raised ZeroDivisionError",
    ),
    (contract.a_data_attack_does_something, lambda x, y, g: (x, y), "nothing changed"),
    (
        contract.a_data_attack_leaves_its_inputs_as_they_were,
        lambda x, y, g: (x.mul_(0.5), y),
        "x was changed",
    ),
    (contract.a_data_attack_leaves_its_inputs_as_they_were, lambda x, y, g: (x, y.fill_(7)), "y was changed"),
    (
        contract.a_data_attack_draws_only_from_its_generator,
        lambda x, y, g: (x, y[torch.randperm(len(y))]),
        "equal generators give different examples",
    ),
]


@pytest.mark.parametrize(("check", "change", "complaint"), BROKEN_DATA)
def test_a_broken_data_attack_fails_the_check(check, change, complaint):
    with pytest.raises(PluginError, match=complaint):
        check(DataTwin(change))


@dataclass(frozen=True)
class GoalTwin:
    """Flips 1 to 7, and says something wrong about what it wants."""

    want: Callable[[Tensor, Tensor], Any]

    def poison(self, x: Tensor, y: Tensor, generator: Any) -> tuple[Tensor, Tensor]:
        return x, y.masked_fill(y == 1, 7)

    def goal(self, x: Tensor, y: Tensor) -> Any:
        return self.want(x, y)


@dataclass(frozen=True)
class PartTwin(GoalTwin):
    """Is split into parts that are no attacks."""

    def part(self, index: int, count: int) -> Any:
        return self.want(index, count)


BROKEN_GOALS = [
    (contract.a_goal_asks_for_other_labels, GoalTwin(lambda x, y: (x, y)), "got a tuple"),
    (contract.a_goal_asks_for_other_labels, GoalTwin(lambda x, y: Goal(x.add_(1), y, 9 - y)), "in place"),
    (
        contract.a_goal_asks_for_other_labels,
        GoalTwin(lambda x, y: Goal(x[:, 0], y, 9 - y)),
        "inputs must stay",
    ),
    (contract.a_goal_asks_for_other_labels, GoalTwin(lambda x, y: Goal(x, y[1:], y)), "at least one example"),
    (contract.a_goal_asks_for_other_labels, GoalTwin(lambda x, y: Goal(x[:0], y[:0], y[:0])), "at least one"),
    (
        contract.a_goal_asks_for_other_labels,
        GoalTwin(lambda x, y: Goal(x, y, y * 0)),
        "ask for the true label",
    ),
    (contract.every_part_is_an_attack, PartTwin(lambda i, n: None), "part 0 of 1 has no method poison"),
    (
        contract.every_part_is_an_attack,
        PartTwin(lambda i, n: DataTwin(lambda x, y, g: (x, y + i))),
        "nothing changed",
    ),
]


@pytest.mark.parametrize(("check", "twin", "complaint"), BROKEN_GOALS)
def test_a_broken_goal_or_part_fails_the_check(check, twin, complaint):
    with pytest.raises(PluginError, match=complaint):
        check(twin)


def test_every_check_of_data_attacks_catches_a_twin():
    caught = {check for check, _, _ in BROKEN_DATA} | {check for check, _, _ in BROKEN_GOALS}
    assert caught == set(contract.DATA_ATTACK_CHECKS)


@dataclass(frozen=True)
class Twin:
    """Omniscient, with something wrong."""

    change: Callable[[Updates, View, Any], tuple[Any, Any]]
    start: Any = None

    knowledge: ClassVar[Any] = UpdateKnowledge.OMNISCIENT

    def init(self) -> Any:
        return self.start

    def corrupt(self, own: Updates, view: View, state: Any) -> tuple[Any, Any]:
        return self.change(own, view, state)


@dataclass(frozen=True)
class Peeping(Twin):
    """Looks at honest updates though it declares to know its own only."""

    knowledge: ClassVar[Any] = UpdateKnowledge.OWN


@dataclass(frozen=True)
class PeepingColluders(Twin):
    knowledge: ClassVar[Any] = UpdateKnowledge.COLLUDERS


@dataclass(frozen=True)
class Undeclared(Twin):
    knowledge: ClassVar[Any] = "everything"


@dataclass(frozen=True)
class Steering(Twin):
    """Trains in its own way."""

    turn: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda gradient, params, received: -gradient

    def steer(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        return self.turn(gradient, params, received)


@dataclass(frozen=True)
class Remembering:
    """Sends a longer update at every call, counted in itself."""

    calls: list[int] = field(default_factory=list)
    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        self.calls.append(1)
        return own.with_vectors(own.vectors * -len(self.calls)), state


def flipped(own: Updates, view: View, state: Any) -> tuple[Updates, Any]:
    return own.with_vectors(-own.vectors), state


def sends(rows: Callable[[Updates], Tensor]) -> Twin:
    return Twin(lambda own, view, state: (own.with_vectors(rows(own)), state))


def copies_first_honest(own: Updates, view: View, state: Any) -> tuple[Updates, Any]:
    return own.with_vectors(view.honest.vectors[0].repeat(len(own), 1)), state  # type: ignore[union-attr]


def writes_to_honest(own: Updates, view: View, state: Any) -> tuple[Updates, Any]:
    view.honest.vectors.zero_()  # type: ignore[union-attr]
    return flipped(own, view, state)


def writes_to_params(own: Updates, view: View, state: Any) -> tuple[Updates, Any]:
    view.params.zero_()
    return flipped(own, view, state)


def writes_to_state(own: Updates, view: View, state: Tensor) -> tuple[Updates, Tensor]:
    return own.with_vectors(-own.vectors), state.add_(1)


def goes_by_kind(own: Updates, view: View, state: Any) -> tuple[Updates, Any]:
    """What it remembers is not what a checkpoint gives back."""
    kept = isinstance(state, torch.nn.Parameter)
    return own.with_vectors(-own.vectors - int(kept)), torch.nn.Parameter(torch.ones(1))


def asks_the_server(own: Updates, view: View, state: Any) -> tuple[Updates, Any]:
    return own.with_vectors(view.aggregate(own).aggregate.repeat(len(own), 1)), state  # type: ignore[misc]


STEERED = contract.a_steered_gradient_is_another_one_coordinate_by_coordinate
SAME = contract.the_same_clients_send_rows_of_the_same_shape
BROKEN_UPDATE = [
    (SAME, Undeclared(flipped), "knowledge must be a member"),
    (SAME, Peeping(copies_first_honest), "Peeping raised AttributeError"),
    (SAME, PeepingColluders(copies_first_honest), "PeepingColluders raised AttributeError"),
    (SAME, Twin(asks_the_server), "Twin raised TypeError"),
    (STEERED, Steering(flipped, turn=lambda g, p, r: g[:1]), "steer must return"),
    (STEERED, Steering(flipped, turn=lambda g, p, r: g.double()), "steer must return"),
    (STEERED, Steering(flipped, turn=lambda g, p, r: g), "steer returns the honest gradient"),
    (STEERED, Steering(flipped, turn=lambda g, p, r: g.neg_()), "steer must not change its arguments"),
    (STEERED, Steering(flipped, turn=lambda g, p, r: g / g.norm()), "each coordinate alone"),
    (SAME, sends(lambda own: -own.vectors[:, :3]), "rows must stay"),
    (SAME, sends(lambda own: -own.vectors.double()), "rows must stay torch.float32"),
    (SAME, Twin(lambda own, view, s: (own.rows(own.client_ids > own.client_ids.min()), s)), "rows must stay"),
    (
        SAME,
        Twin(lambda own, view, s: (replace(own, client_ids=own.client_ids + 1), s)),
        "clients must stay the same",
    ),
    (SAME, Twin(lambda own, view, s: (own.vectors, s)), "got a Tensor first"),
    (
        contract.a_cohort_without_honest_clients_is_survived,
        Twin(copies_first_honest),
        "Twin raised IndexError",
    ),
    (contract.an_update_attack_does_something, sends(lambda own: own.vectors), "sends its honest update"),
    (
        contract.an_update_attack_leaves_its_inputs_as_they_were,
        sends(lambda own: own.vectors.neg_()),
        "own rows were changed",
    ),
    (
        contract.an_update_attack_leaves_its_inputs_as_they_were,
        Twin(writes_to_honest),
        "honest clients' rows",
    ),
    (
        contract.an_update_attack_leaves_its_inputs_as_they_were,
        Twin(writes_to_params),
        "broadcast parameters",
    ),
    (
        contract.an_update_attack_leaves_its_inputs_as_they_were,
        Twin(writes_to_state, torch.zeros(1)),
        "state that came in was changed",
    ),
    (
        contract.an_update_attack_draws_only_from_its_generator,
        sends(lambda own: own.vectors + torch.randn(())),
        "equal generators give different rows",
    ),
    (
        contract.an_update_attack_draws_only_from_its_generator,
        Remembering(),
        "equal generators give different rows",
    ),
    (
        contract.an_update_attack_survives_a_checkpoint,
        Twin(lambda own, view, s: (own, {*s, view.round}), set()),
        "state at s is a set",
    ),
    (contract.an_update_attack_survives_a_checkpoint, Twin(goes_by_kind), "goes on differently"),
]


@pytest.mark.parametrize(("check", "twin", "complaint"), BROKEN_UPDATE)
def test_a_broken_update_attack_fails_the_check(check, twin, complaint):
    with pytest.raises(PluginError, match=complaint):
        check(twin)


def test_every_check_of_update_attacks_catches_a_twin():
    assert {check for check, _, _ in BROKEN_UPDATE} == set(contract.UPDATE_ATTACK_CHECKS)


def test_claiming_more_examples_counts_as_doing_something():
    """An attack may leave the row as it is and inflate its weight."""
    inflated = Twin(lambda own, view, s: (replace(own, num_examples=own.num_examples * 100), s))
    contract.an_update_attack_does_something(inflated)
