"""For each check of pre-aggregations a twin that it catches."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch

from gauntlet.core.errors import PluginError
from gauntlet.core.updates import Updates
from gauntlet.defenses import contract
from gauntlet.defenses.contract import pre_aggregation as before


@dataclass(frozen=True)
class PreTwin:
    """The identity with something wrong."""

    change: Callable[[Updates, Any], tuple[Any, Any]]
    start: Any = None
    rows_after: Callable[[int], int] | None = None

    def init(self) -> Any:
        return self.start

    def transform(self, updates: Updates, state: Any) -> tuple[Any, Any]:
        return self.change(updates, state)


@dataclass(frozen=True)
class PartialPreTwin(PreTwin):
    partial: ClassVar[bool] = True


def levelled(updates: Updates) -> Updates:
    """Return everybody at the first level."""
    presence = updates.presence
    assert presence is not None
    return replace(updates, presence=replace(presence, level=torch.zeros_like(presence.level)))


def pre_in_place(updates: Updates, state: Any) -> tuple[Updates, Any]:
    return updates.with_vectors(updates.vectors.clamp_(max=0.05)), state


def renamed(updates: Updates, state: Any) -> tuple[Updates, Any]:
    return replace(updates, client_ids=updates.client_ids + 1), state


BROKEN_PRE = [
    (
        before.a_cohort_stays_a_cohort,
        PreTwin(lambda u, s: (u.with_vectors(u.vectors[:, :3]), s)),
        "keep their 7",
    ),
    (
        before.a_cohort_stays_a_cohort,
        PreTwin(lambda u, s: (u.with_vectors(u.vectors.double()), s)),
        "stay",
    ),
    (
        before.a_cohort_stays_a_cohort,
        PreTwin(lambda u, s: (u.with_vectors(u.vectors / 0), s)),
        "that are not",
    ),
    (before.a_cohort_stays_a_cohort, PreTwin(renamed), "clients outside the cohort"),
    (
        before.a_cohort_stays_a_cohort,
        PreTwin(lambda u, s: (u.rows(u.client_ids < 0), s)),
        "no client is left",
    ),
    (
        before.a_cohort_stays_a_cohort,
        PreTwin(lambda u, s: (u.vectors, s)),
        "got a Tensor first",
    ),
    (
        before.a_cohort_stays_a_cohort,
        PreTwin(lambda u, s: (u, s), rows_after=lambda rows: rows // 2),
        "12 clients became 12 rows, declared 6",
    ),
    (
        before.rows_of_any_size_stay_finite,
        PreTwin(lambda u, s: (u.with_vectors(u.vectors + u.vectors[:1]), s)),
        "that are not",
    ),
    (
        before.one_client_or_none_is_handled,
        PreTwin(lambda u, s: (u.with_vectors(u.vectors / torch.tensor(len(u) - 1)), s)),
        "that are not",
    ),
    (
        before.one_client_or_none_is_handled,
        PreTwin(lambda u, s: (u.with_vectors(u.vectors - u.vectors[0]), s)),
        "PreTwin raised IndexError",
    ),
    (
        before.one_client_or_none_is_handled,
        PreTwin(lambda u, s: (u if len(u) != 1 else u.with_vectors(u.vectors * u.vectors[1]), s)),
        "a cohort of one raises IndexError",
    ),
    (
        before.a_pre_aggregation_leaves_its_inputs_as_they_were,
        PreTwin(pre_in_place),
        "changed in place",
    ),
    (
        before.a_pre_aggregation_remembers_nothing_outside_its_state,
        PreTwin(lambda u, s: (u.with_vectors(u.vectors + torch.rand(())), s)),
        "memory outside the state",
    ),
    (
        before.what_is_absent_stays_absent,
        PartialPreTwin(lambda u, s: (replace(u, presence=None), s)),
        "must keep their presence",
    ),
    (
        before.what_is_absent_stays_absent,
        PartialPreTwin(lambda u, s: (u.with_vectors(u.vectors + 1), s)),
        "is not 0 in coordinates that this level does not have",
    ),
    (
        before.what_is_absent_stays_absent,
        PartialPreTwin(lambda u, s: (levelled(u), s)),
        "of level 1 came out with level 0",
    ),
    (
        before.a_pre_aggregation_survives_a_checkpoint,
        PreTwin(lambda u, s: (u, {*s, 1}), set()),
        "state at s is a set",
    ),
]


@pytest.mark.parametrize(("check", "twin", "complaint"), BROKEN_PRE)
def test_a_broken_pre_aggregation_fails_the_check(check, twin, complaint):
    with pytest.raises(PluginError, match=complaint):
        check(twin)


def test_every_check_of_pre_aggregations_catches_a_twin():
    assert {check for check, _, _ in BROKEN_PRE} == set(contract.PRE_AGGREGATION_CHECKS)
