"""For each check of defenses a twin that it catches."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from defense_twins import (
    Certifying,
    Credulous,
    Forgetful,
    LinearMedian,
    Miscounting,
    Overstated,
    Owned,
    Partial,
    Planting,
    SecretMedian,
    Twin,
    average,
)
from torch import Tensor

from gauntlet.core.contracts import Verdict
from gauntlet.core.errors import PluginError
from gauntlet.core.updates import Updates
from gauntlet.defenses import contract
from gauntlet.defenses.contract import partial as partial
from gauntlet.defenses.mean import Mean


def verdict(**changes: Any) -> Callable[[Updates, Any], tuple[Verdict, Any]]:
    return lambda updates, state: (replace(Verdict(average(updates)), **changes), state)


def in_place(updates: Updates, state: Any) -> tuple[Verdict, Any]:
    updates.vectors.clamp_(max=0.05)
    return Verdict(average(updates)), state


def in_place_state(updates: Updates, state: Tensor) -> tuple[Verdict, Tensor]:
    return Verdict(average(updates)), state.add_(1)


def crash_alone(updates: Updates, state: Any) -> tuple[Verdict, Any]:
    return Verdict(
        average(updates) + updates.vectors[:2][1 if len(updates) else slice(None)].sum(dim=0)
    ), state


def goes_by_kind(updates: Updates, state: dict[int, float]) -> tuple[Verdict, dict[int, float]]:
    """What it remembers is not what a checkpoint gives back."""
    kind = sum(1 for v in state.values() if isinstance(v, torch.nn.Parameter))
    return Verdict(average(updates) + kind), {0: torch.nn.Parameter(torch.ones(1))}


def shortened(updates: Updates, state: Any) -> tuple[Verdict, Any]:
    """Halves everything once levels are there, whatever they have."""
    return Verdict(average(updates) / (1 if updates.presence is None else 2)), state


def by_the_longest(updates: Updates, state: Any) -> tuple[Verdict, Any]:
    """Scales every coordinate by something that all clients decide."""
    mean = Mean("uniform").aggregate(updates, None)[0].aggregate
    return Verdict(mean * updates.vectors.norm(dim=1).sum()), state


BROKEN = [
    (
        partial.what_nobody_has_stays_as_it_was,
        Partial(lambda u, s: (Verdict(average(u) + 0.1), s)),
        "must be 0 in the aggregate",
    ),
    (
        partial.what_nobody_has_stays_as_it_was,
        Partial(lambda u, s: (Verdict(u.vectors.sum(dim=0) / (u.vectors != 0).sum(dim=0)), s)),
        "is not finite",
    ),
    (partial.a_presence_of_everything_changes_nothing, Partial(shortened), "levels must not matter"),
    (
        partial.what_is_absent_is_no_vote_for_zero,
        Partial(lambda u, s: (Verdict(average(u)), s)),
        "must be believed",
    ),
    (partial.who_lacks_a_coordinate_has_no_say_in_it, Partial(by_the_longest), "does not have"),
    (partial.the_sensitivity_holds_where_clients_lack_coordinates, Owned(), "lacks coordinates moves"),
    (contract.a_cohort_becomes_one_finite_update, Twin(verdict(aggregate=torch.zeros(8))), "must be"),
    (
        contract.a_cohort_becomes_one_finite_update,
        Twin(lambda u, s: (Verdict(average(u).double()), s)),
        "must be torch.float32, got torch.float64",
    ),
    (contract.a_cohort_becomes_one_finite_update, Twin(lambda u, s: (average(u), s)), "got a Tensor first"),
    (
        contract.a_cohort_becomes_one_finite_update,
        Twin(lambda u, s: (Verdict(average(u) / 0), s)),
        "is not finite",
    ),
    (contract.a_cohort_becomes_one_finite_update, Twin(verdict(weights=torch.ones(2))), "weights must be"),
    (contract.a_cohort_becomes_one_finite_update, Twin(verdict(fallback=5)), "must return fallback"),
    (
        contract.a_cohort_becomes_one_finite_update,
        Twin(lambda u, s: (Verdict(average(u).requires_grad_()), s)),
        "requires grad",
    ),
    (contract.a_cohort_becomes_one_finite_update, Twin(verdict(flags={0: "noise"})), "outside the cohort"),
    (contract.a_cohort_becomes_one_finite_update, Twin(verdict(scores={1: 0.5})), "outside the cohort"),
    (
        contract.a_cohort_becomes_one_finite_update,
        Twin(verdict(details={1: {"cosine": 0.5}})),
        "details name clients outside the cohort",
    ),
    (
        contract.a_cohort_becomes_one_finite_update,
        Twin(lambda u, s: 1 / 0),
        "Twin raised ZeroDivisionError",
    ),
    (
        contract.a_single_client_is_answered_or_refused_clearly,
        Twin(crash_alone),
        "a cohort of one raises IndexError",
    ),
    (
        contract.a_single_client_is_answered_or_refused_clearly,
        Twin(lambda u, s: (Verdict(average(u) / torch.tensor(len(u) - 1)), s)),
        "is not finite",
    ),
    (
        contract.an_empty_cohort_gives_the_zero_update,
        Twin(lambda u, s: (Verdict(u.vectors.mean(dim=0)), s)),
        "is not finite",
    ),
    (
        contract.an_empty_cohort_gives_the_zero_update,
        Twin(lambda u, s: (Verdict(average(u) + 1), s)),
        "must give the zero update",
    ),
    (
        contract.equal_updates_come_back_unchanged,
        Twin(lambda u, s: (Verdict(average(u) * 0.9), s)),
        "must come back unchanged",
    ),
    (
        contract.who_sent_a_row_does_not_matter,
        Twin(lambda u, s: (Verdict(u.vectors[0].clone()), s)),
        "depends on which client",
    ),
    (
        contract.who_sent_a_row_does_not_matter,
        Twin(lambda u, s: (Verdict((u.client_ids[:, None] * u.vectors).sum(dim=0) / u.client_ids.sum()), s)),
        "depends on which client",
    ),
    (contract.a_defense_leaves_its_inputs_as_they_were, Twin(in_place), "updates that came in were changed"),
    (
        contract.a_defense_leaves_its_inputs_as_they_were,
        Twin(in_place_state, torch.zeros(1)),
        "state that came in was changed",
    ),
    (contract.a_defense_remembers_nothing_outside_its_state, Forgetful(), "memory outside the state"),
    (
        contract.a_defense_remembers_nothing_outside_its_state,
        Twin(lambda u, s: (Verdict(average(u) + torch.rand(())), s)),
        "memory outside the state",
    ),
    (
        contract.a_defense_survives_a_checkpoint,
        Twin(lambda u, s: (Verdict(average(u)), {*s, 1}), set()),
        "state at s is a set",
    ),
    (contract.a_defense_survives_a_checkpoint, Twin(goes_by_kind, {}), "goes on differently"),
    (contract.a_declared_sensitivity_is_never_exceeded, Overstated("uniform"), "declared"),
    (contract.a_declared_sensitivity_is_never_exceeded, Credulous(), "declared"),
    (contract.what_a_defense_plants_is_parameters, Planting(lambda p, s: (p[1:], s)), "prepare must return"),
    (contract.what_a_defense_plants_is_parameters, Planting(lambda p, s: (p / 0, s)), "is not finite"),
    (
        contract.what_a_defense_plants_is_parameters,
        Planting(lambda p, s: (p.add_(1), s)),
        "changed the parameters in place",
    ),
    (
        contract.what_a_defense_plants_is_parameters,
        Planting(lambda p, s: (p + s, s.add_(1)), torch.zeros(1)),
        "changed the state in place",
    ),
    (
        contract.what_a_defense_plants_is_parameters,
        Planting(lambda p, s: (p + torch.rand(()), s)),
        "plants something else",
    ),
    (contract.what_a_defense_certifies_is_columns, Certifying(lambda p, x: [p]), "columns by name"),
    (
        contract.what_a_defense_certifies_is_columns,
        Certifying(lambda p, x: {"a": p}),
        r"a must be a number or",
    ),
    (
        contract.what_a_defense_certifies_is_columns,
        Certifying(lambda p, x: {"a": x.mul_(2)[:, 0]}),
        "changed its",
    ),
    (
        contract.what_a_defense_certifies_is_columns,
        Certifying(lambda p, x: {"a": torch.rand(len(x))}),
        "gives other numbers",
    ),
    (contract.a_linear_defense_is_a_sum_over_clients, LinearMedian(), "not linear in the updates"),
    (contract.a_linear_defense_is_a_sum_over_clients, SecretMedian(), "must be linear"),
    (contract.a_linear_defense_is_a_sum_over_clients, Miscounting(), "give another aggregate"),
    (
        contract.claimed_examples_count_only_where_that_is_declared,
        Twin(lambda u, s: (Verdict((u.vectors * u.num_examples[:, None]).mean(dim=0)), s)),
        "declare weighs_examples",
    ),
]


@pytest.mark.parametrize(("check", "twin", "complaint"), BROKEN)
def test_a_broken_defense_fails_the_check(check, twin, complaint):
    with pytest.raises(PluginError, match=complaint):
        check(twin)


def test_every_check_of_defenses_catches_a_twin():
    assert {check for check, _, _ in BROKEN} == set(contract.CHECKS)


def test_a_defense_may_be_exempt_from_the_two_laws_of_averages_only():
    @dataclass(frozen=True)
    class Halved(Twin):
        exempt: ClassVar[tuple[str, ...]] = tuple(check.__name__ for check in contract.CHECKS)

    halved = Halved(lambda u, s: (Verdict(u.vectors[:1].sum(dim=0) / 2), s))
    contract.equal_updates_come_back_unchanged(halved)
    contract.who_sent_a_row_does_not_matter(halved)
    with pytest.raises(PluginError, match="must be"):
        contract.a_cohort_becomes_one_finite_update(Halved(verdict(aggregate=torch.zeros(8))))
