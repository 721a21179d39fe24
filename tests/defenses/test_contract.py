"""What every defense and pre-aggregation owes; and for each check a twin that it catches."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from gauntlet.core.contracts import Verdict
from gauntlet.core.errors import PluginError
from gauntlet.core.updates import Updates
from gauntlet.defenses import DEFENSES, PRE_AGGREGATIONS, contract
from gauntlet.defenses import partial_contract as partial
from gauntlet.defenses import pre_aggregation_contract as before
from gauntlet.defenses.mean import Mean
from gauntlet.defenses.median import Median

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "mean": [{"weighting": w} for w in ("num_examples", "uniform", "fixed")],
    "median": [{"even": "mean"}, {"even": "lower"}],
    "trimmed_mean": [*({"num_byzantine": f} for f in (0, 2, 9)), {"beta": 0.2}],
    "krum": [{"num_byzantine": 0}, {"num_byzantine": 3}, {"num_byzantine": 9, "on_infeasible": "median"}],
    "multi_krum": [
        {"num_byzantine": 0},
        {"num_byzantine": 3, "num_selected": 2, "weighting": "num_examples"},
    ],
    "geometric_median": [{}, {"preset": "byzfl"}, {"preset": "mudhog_repo", "weighting": "num_examples"}],
    "bulyan": [{"num_byzantine": 0}, {"num_byzantine": 2}, {"num_byzantine": 2, "selection": "oneshot"}],
    "meamed": [{"num_byzantine": 0}, {"num_byzantine": 3, "even": "lower"}],
    "mda": [{"num_byzantine": f} for f in (0, 3, 5)],
    "monna": [{"num_byzantine": f, "trusted_client": 7} for f in (0, 3)],
    "caf": [{"num_byzantine": f} for f in (0, 3)],
    "centered_clipping": [{}, {"clip_norm": 0.05, "iterations": 3}],
    "norm_clipping": [{}, {"clip_norm": 0.1, "noise_std": 0.01, "weighting": "num_examples"}],
    "mud_hog": [
        {},
        {"preset": "released_code"},
        {"preset": "robust", "warmup_rounds": 0},
        {"preset": "general", "warmup_rounds": 0, "max_clients": 3},
        {"preset": "general", "history_dtype": "float16"},
    ],
    "foolsgold": [{}, {"history": False, "normalise": False}, {"max_clients": 3}],
    "flame": [{}, {"noise_factor": 0.0}, {"input": "rows"}],
    "dnc": [{"num_byzantine": 0}, {"num_byzantine": 3}, {"num_byzantine": 2, "num_coordinates": 4}],
    "signguard": [{}, {"reference": "cosine"}, {"reference": "distance", "block_share": 1.0}],
    "clipped_clustering": [{}, {"linkage": "complete", "max_norms": 15}],
    "rlr": [{}, {"threshold": 13}, {"threshold": 99, "on_infeasible": "median"}],
    "lasa": [{}, {"sparsity": 0.0}],
    "fldetector": [{}, {"start_round": 0, "window": 2}, {"start_round": 0, "max_clients": 3}],
    "flanders": [{"num_byzantine": 0}, {"num_byzantine": 3}, {"num_byzantine": 2, "num_coordinates": 3}],
    "parameter_certificate": [{"clip_norm": c, "num_byzantine": 2} for c in (0.1, 9.0)],
    "zeno": [{"num_byzantine": 0}, {"num_byzantine": 3}, {"num_byzantine": 2, "rho": 0.0, "batch_size": 5}],
    "nnm": [{"num_byzantine": f} for f in (0, 2, 11)],
    "clipping": [{}, {"clip_norm": 0.1}],
    "arc": [{"num_byzantine": f} for f in (0, 2, 11)],
    "bucketing": [{}, {"bucket_size": 1}, {"bucket_size": 5}, {"bucket_size": 40}],
}


def members(family: Any) -> list[Any]:
    return [
        pytest.param(family.build(n, o), id=f"{n}-{o}") for n in family.table for o in OPTIONS.get(n, [{}])
    ]


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("defense", members(DEFENSES))
def test_every_defense_keeps_its_contract(defense, check):
    check(defense)


@pytest.mark.parametrize("check", contract.PRE_AGGREGATION_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("plugin", members(PRE_AGGREGATIONS))
def test_every_pre_aggregation_keeps_its_contract(plugin, check):
    check(plugin)


def average(updates: Updates) -> Tensor:
    return updates.vectors.sum(dim=0) / max(len(updates), 1)


@dataclass(frozen=True)
class Twin:
    """A mean with something wrong: ``decide(updates, state) -> (Verdict, state)``."""

    decide: Callable[[Updates, Any], tuple[Any, Any]]
    start: Any = None

    def init(self) -> Any:
        return self.start

    def aggregate(self, updates: Updates, state: Any) -> tuple[Any, Any]:
        return self.decide(updates, state)


@dataclass(frozen=True)
class Planting:
    """A mean that plants: ``plant(params, state) -> (params, state)``."""

    plant: Callable[[Tensor, Any], tuple[Any, Any]]
    start: Any = None

    def init(self) -> Any:
        return self.start

    def prepare(self, params: Tensor, state: Any) -> tuple[Any, Any]:
        return self.plant(params, state)

    def aggregate(self, updates: Updates, state: Any) -> tuple[Verdict, Any]:
        return Verdict(average(updates)), state


@dataclass(frozen=True)
class Certifying(Mean):
    """A mean that says something of models: ``say(params, x) -> columns``."""

    say: Callable[[Tensor, Tensor], Any] = field(default=lambda params, x: {})

    def __init__(self, say: Callable[[Tensor, Tensor], Any]) -> None:
        object.__setattr__(self, "say", say)

    def evaluate(self, params: Tensor, x: Tensor, model: Any) -> Any:
        return self.say(params, x)


@dataclass(frozen=True)
class Overstated(Mean):
    """A mean over those who came, which declares the sensitivity of the fixed denominator."""

    def sensitivity(self, clip_norm: float, expected_size: float) -> float:
        return clip_norm / expected_size


@dataclass(frozen=True)
class Credulous(Overstated):
    """Divides by the expected size, but lets a client claim how much it counts."""

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        total = (updates.num_examples[:, None] * updates.vectors).sum(dim=0)
        return Verdict(total / 10 / updates.expected_size), state


@dataclass(frozen=True)
class LinearMedian(Median):
    linear: ClassVar[bool] = True


@dataclass(frozen=True)
class Miscounting(Mean):
    def denominator(self, counts: Tensor, expected_size: float) -> float:
        return 2 * expected_size

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        return Mean().aggregate(updates, state)


@dataclass(frozen=True)
class SecretMedian(Median):
    individual: ClassVar[bool] = False


@dataclass(frozen=True)
class Forgetful:
    """Remembers the number of calls in itself."""

    calls: list[int] = field(default_factory=list)

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        self.calls.append(1)
        return Verdict(average(updates) * len(self.calls)), state


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


@dataclass(frozen=True)
class Partial(Twin):
    """Says that it can deal with absent coordinates."""

    partial: ClassVar[bool] = True


@dataclass(frozen=True)
class Owned(Mean):
    """Divides by how many clients have a coordinate, and declares what the fixed denominator has."""

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        return Mean("uniform").aggregate(updates, state)

    def sensitivity(self, clip_norm: float, expected_size: float) -> float:
        return clip_norm / expected_size


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
