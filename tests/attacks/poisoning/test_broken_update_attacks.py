"""For each check of attacks on updates a twin that it catches."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from gauntlet.attacks.poisoning import contract
from gauntlet.core.contracts import UpdateKnowledge, View
from gauntlet.core.errors import PluginError
from gauntlet.core.updates import Updates


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
