"""What a buffered run is charged, and where nothing holds. Oracles: Gaussian composition in closed form."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.privacy.accounting.curves import gaussian_epsilon
from gauntlet.server.round import run_round
from gauntlet.server.schedules.buffered import Buffered
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

LINKS = {"latency_seconds": 1.0, "jitter": 1.0}


def gaussian(relation="zero_out", **options):
    how = {"clip_norm": 0.5, "noise_multiplier": 2.0, "delta": 1e-3, "relation": relation, **options}
    return PluginSpec("gaussian", how)


@pytest.fixture
def private(small):
    """A buffer of 3 of 8 clients under central noise; keywords replace fields."""
    return lambda **changes: small(
        **{
            "rounds": 8,
            "network": PluginSpec("links", LINKS),
            "schedule": PluginSpec("buffered", {"buffer_size": 3, "concurrency": 5}),
            "privacy": gaussian(),
            "defense": PluginSpec("mean", {"weighting": "fixed"}),
            **changes,
        }
    )


def steps_of(spec):
    simulation = prepare(spec)
    return list(simulation.steps(simulation.serial_pool()))


def test_each_client_is_charged_for_its_messages_that_counted(private):
    """The busiest, with k messages, pays a Gaussian of z / sqrt(k)."""
    steps, counted = steps_of(private()), Counter()
    for step in steps:
        counted.update(step.outcome.sent.client_ids.tolist())
        most = max(counted.values())
        expected = gaussian_epsilon(most / 2.0**2, 1e-3)
        assert step.outcome.epsilon.value == pytest.approx(expected, rel=1e-9)
        assert not step.outcome.release.amplified
    assert max(counted.values()) > 8 * 3 / 8  # who is fast comes more often than its turn


def test_an_exchanged_client_is_charged_as_one_that_moves_twice_as_far(private):
    """Unamplified: a message moves by 2 C, so that k of them cost a Gaussian of z / (2 sqrt(k))."""
    steps = steps_of(private(privacy=gaussian("replace_one")))
    counted = Counter(i for step in steps for i in step.outcome.sent.client_ids.tolist())
    expected = gaussian_epsilon(max(counted.values()) * (2 / 2.0) ** 2, 1e-3)
    assert steps[-1].outcome.epsilon.value == pytest.approx(expected, rel=1e-9)
    assert steps[-1].outcome.release.relation == "replace_one"
    budget = PluginSpec(
        "gaussian", {"clip_norm": 0.5, "epsilon": 40.0, "delta": 1e-3, "relation": "replace_one"}
    )
    spent = steps_of(private(rounds=3, privacy=budget))[-1].outcome.epsilon.value
    assert 0 < spent <= 40.0


def test_the_noise_is_that_of_a_buffer_and_so_is_the_sensitivity(private):
    """z C / K = 2 * 0.5 / 3 on the mean, of which one clipped message is at most C / K."""
    steps = steps_of(private(rounds=6, training=private().training))
    for step in steps:
        weights = (1 + (step.outcome.round - step.outcome.received.started).double()) ** -0.5
        clipped = step.outcome.received.vectors.double()
        factors = (0.5 / clipped.norm(dim=1)).clamp(max=1)
        mean = (clipped * (factors * weights)[:, None]).sum(dim=0) / 3
        assert torch.allclose(step.outcome.verdict.aggregate.double(), mean, atol=1e-6)
        noise = step.state.params.double() - step.outcome.broadcast.params.double() - mean
        assert float(noise.std()) == pytest.approx(2 * 0.5 / 3, rel=0.1)


NONE = [
    ({"privacy": gaussian("add_remove")}, "schedule"),
    ({"network": PluginSpec("links", {"compute_seconds_per_example": 0.1})}, "selection"),
    (
        {"network": PluginSpec("links", LINKS | {"bandwidth_up": 1e3}), "codec": PluginSpec("topk")},
        "selection",
    ),
    ({"network": PluginSpec("links", LINKS | {"policy": "deadline", "deadline_seconds": 2.0})}, "selection"),
    ({"schedule": PluginSpec("buffered", {"buffer_size": 3, "example_weight": "sqrt"})}, "weights"),
    ({"defense": PluginSpec("mean", {"weighting": "uniform"})}, "weights"),
    ({"defense": PluginSpec("median")}, "aggregator"),
    ({"roles": (RoleSpec(PluginSpec("alie"), count=2),)}, "attackers_see_updates"),
]


@pytest.mark.parametrize(("changes", "reason"), NONE, ids=str)
def test_no_epsilon_where_no_guarantee_holds(private, changes, reason):
    last = steps_of(private(rounds=6, **changes))[-1].outcome.epsilon
    assert (last.value, last.reason) == (None, reason)


SOME = [
    {"network": PluginSpec("links", LINKS | {"bandwidth_up": 1e3})},
    {"network": PluginSpec("ideal")},
    {"schedule": PluginSpec("buffered", {"buffer_size": 3, "reduction": "sum", "average_staleness": 1.0})},
    {"roles": (RoleSpec(PluginSpec("additive_noise", {"std": 1.0}), count=2),)},
    {"privacy": PluginSpec("tree", {"clip_norm": 0.5, "noise_multiplier": 2.0, "delta": 1e-3})},
]


@pytest.mark.parametrize("changes", SOME, ids=str)
def test_an_epsilon_where_who_counts_is_public(private, changes):
    last = steps_of(private(rounds=4, **changes))[-1].outcome.epsilon
    assert last.reason is None
    assert last.value > 0


@pytest.mark.parametrize("name", ["local_gaussian", "dp_sgd"])
def test_messages_that_are_private_by_themselves_are_charged_when_they_begin(private, name):
    """Also those that are lost, too old, or never arrive; and whatever the defense."""
    how = {"clip_norm": 0.5, "noise_multiplier": 2.0, "delta": 1e-3}
    network = PluginSpec("links", {**LINKS, "dropout": 0.2})
    steps = steps_of(private(privacy=PluginSpec(name, how), network=network, defense=PluginSpec("median")))
    began = np.concatenate([step.outcome.began for step in steps])
    last = steps[-1]
    assert last.state.ledger["clients"].tolist() == sorted(set(began.tolist()))
    if name == "local_gaussian":
        most = max(Counter(began.tolist()).values())
        shift = 2 if last.outcome.release.relation == "replace_one" else 1
        expected = gaussian_epsilon(most * (shift / 2.0) ** 2, 1e-3)
        assert last.outcome.epsilon.value == pytest.approx(expected)
    assert last.outcome.epsilon.reason is None


def test_counts_that_are_private_leave_no_epsilon_where_delays_follow_them(private):
    how = {"clip_norm": 0.5, "noise_multiplier": 2.0, "delta": 1e-3, "counts": "private"}
    uniform = PluginSpec("mean", {"weighting": "uniform"})
    slow = PluginSpec("links", {"compute_seconds_per_example": 0.1})
    spec = private(rounds=2, privacy=PluginSpec("local_gaussian", how), defense=uniform)
    assert steps_of(spec)[-1].outcome.epsilon.reason is None
    spec = private(rounds=2, privacy=PluginSpec("local_gaussian", how), defense=uniform, network=slow)
    assert steps_of(spec)[-1].outcome.epsilon.reason == "selection"


@pytest.mark.parametrize("example_weight", ["linear", "sqrt", "log10"])
def test_counts_that_are_private_leave_no_epsilon_where_the_schedule_weighs_by_them(private, example_weight):
    how = {"clip_norm": 0.5, "noise_multiplier": 2.0, "delta": 1e-3, "counts": "private"}
    options = {"buffer_size": 3, "example_weight": example_weight}
    spec = private(
        rounds=2,
        privacy=PluginSpec("local_gaussian", how),
        defense=PluginSpec("mean", {"weighting": "uniform"}),
        schedule=PluginSpec("buffered", options),
    )
    assert steps_of(spec)[-1].outcome.epsilon.reason == "weights"
    public = PluginSpec("local_gaussian", {**how, "counts": "public"})
    assert steps_of(replace(spec, privacy=public))[-1].outcome.epsilon.reason is None


def test_a_weight_above_a_declared_bound_ends_the_run(private):
    simulation = prepare(private(rounds=1))
    loud = replace(simulation.plan, schedule=Loud())
    with pytest.raises(PluginError, match="Loud declares that its weights are bounded by 1"):
        run_round(loud, simulation.first, simulation.serial_pool())


@dataclass(frozen=True)
class Loud(Buffered):
    """Says that its weights are bounded, and gives what many examples deserve."""

    buffer_size: int = 3

    def weights(self, staleness, num_examples):
        return num_examples.double() / 50


def test_a_budget_ends_a_run_before_the_round_that_might_pass_it(private):
    """One message costs gaussian_epsilon(1/4); two cost more than 2: nobody's third could be paid for."""
    budget = gaussian_epsilon(3 / 4, 1e-3) + 1e-6
    spec = private(rounds=20, max_epsilon=budget)
    steps = steps_of(spec)
    assert steps[-1].stopped
    assert 3 <= len(steps) < 20
    assert steps[-1].outcome.epsilon.value <= budget


def test_a_budget_that_cannot_hold_is_refused_with_the_way_out(private):
    with pytest.raises(ScenarioError, match=r"schedule 'buffered' .* privacy.relation = 'zero_out'"):
        prepare(private(privacy=gaussian("add_remove"), max_epsilon=5.0))


REFUSED = [
    (
        {"privacy": PluginSpec("skellam", {"clip_norm": 0.5, "noise_multiplier": 2.0, "delta": 1e-3})},
        "did not begin together",
    ),
    ({"audit": PluginSpec("one_shot_canaries", {"num_canaries": 4})}, "others begin in their place"),
    ({"algorithm": PluginSpec("feddyn"), "privacy": PluginSpec("none")}, "algorithm 'feddyn' counts on"),
    ({"defense": PluginSpec("fldetector"), "privacy": PluginSpec("none")}, "defense 'fldetector' remembers"),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED)
def test_what_counts_on_one_round_is_refused_in_one_line(private, changes, words):
    with pytest.raises(ScenarioError, match=words) as caught:
        prepare(private(**changes))
    assert "\n" not in str(caught.value)
