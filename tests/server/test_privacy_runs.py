"""Every mechanism end to end on digits: its epsilon from a closed form, or the reason why there is none."""

from dataclasses import replace

import pytest
import torch

from gauntlet.core.contracts import LocalTraining, NoGuarantee
from gauntlet.core.errors import ScenarioError
from gauntlet.core.trees import equal
from gauntlet.privacy.accounting.curves import gaussian_epsilon
from gauntlet.server.checkpoint import load_checkpoint, save_checkpoint
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

FIXED = PluginSpec("mean", {"weighting": "fixed"})
BUDGET = {"clip_norm": 0.5, "noise_multiplier": 2.0, "delta": 1e-3}


def privacy(name, **options):
    return {"privacy": PluginSpec(name, {**BUDGET, **options}), "defense": FIXED}


def run(spec, state=None):
    simulation = prepare(spec)
    return simulation, list(simulation.steps(simulation.serial_pool(), state))


def last_epsilon(spec):
    return run(spec)[1][-1].outcome.epsilon


# Three rounds of 8 clients, all of them in every round unless a sampler is given; z = 2, delta = 1e-3.
TURNS = {"sampler": PluginSpec("round_robin", {"period": 2})}
EXPECTED = [
    ("gaussian", {}, {}, gaussian_epsilon(3 / 4, 1e-3)),
    ("local_gaussian", {}, {}, gaussian_epsilon(3 / 1, 1e-3)),  # any two updates are 2C apart
    ("tree", {}, {}, gaussian_epsilon((1 + 4 + 1) / 4, 1e-3)),  # nodes {0}, {0,1}, {2}
    ("tree", {"restart_every": 1}, {}, gaussian_epsilon(3 / 4, 1e-3)),
    ("banded_mf", {"bands": 1}, {}, gaussian_epsilon(3 / 4, 1e-3)),
    ("banded_mf", {"bands": 2}, TURNS, gaussian_epsilon(2 / 4, 1e-3)),  # rounds 0 and 2, a Gaussian each
    ("skellam", {"bits": 24}, {}, gaussian_epsilon(3 / 4, 1e-3)),
    ("discrete_gaussian", {"bits": 24}, {}, gaussian_epsilon(3 / 4, 1e-3)),
]


@pytest.mark.parametrize(("name", "options", "changes", "expected"), EXPECTED)
def test_a_run_costs_what_the_closed_form_says(small, name, options, changes, expected):
    """Integer mechanisms are accounted by Renyi alone: up to a sixth above the exact Gaussian."""
    epsilon = last_epsilon(small(**privacy(name, **options), **changes))
    if name in ("skellam", "discrete_gaussian"):
        assert expected < epsilon.value < expected * 7 / 6
        assert epsilon.accountant == "rdp"
    else:
        assert epsilon.value == pytest.approx(expected, rel=1e-9)
        assert epsilon.accountant == "gaussian"


def test_an_exchanged_client_under_poisson_sampling_costs_more_than_one_that_leaves(small):
    """Never more than without the secrecy of the sample: s = z / 2 in three rounds."""
    exchanged = last_epsilon(small(**privacy("gaussian", relation="replace_one"), **POISSON))
    leaving = last_epsilon(small(**privacy("gaussian"), **POISSON))
    assert leaving.value < exchanged.value <= gaussian_epsilon(3 / 1, 1e-3)


def test_laplace_costs_at_most_the_sum_of_its_rounds(small):
    """b = 20: 3 / 20 at delta 0, and hardly less at 1e-12."""
    epsilon = last_epsilon(small(**privacy("laplace", noise_multiplier=20.0, delta=1e-12)))
    assert epsilon.value == pytest.approx(0.15)
    assert epsilon.accountant == "pure"


def test_calibrated_annealing_costs_more_every_round(small):
    spec = small(
        privacy=PluginSpec("annealed", {"eta": 0.04, "clip_norm": 0.5, "calibrated": True, "delta": 1e-3}),
        defense=FIXED,
    )
    _, steps = run(spec)
    z = [(0.04 / (1 + t) ** 0.55) ** 0.5 * 8 / 0.5 for t in range(3)]
    for t, step in enumerate(steps):
        expected = gaussian_epsilon(sum(1 / x**2 for x in z[: t + 1]), 1e-3)
        assert step.outcome.epsilon.value == pytest.approx(expected, rel=1e-9)


def test_the_clients_noise_fades_with_the_rounds(small):
    """Next to noise of sigma_t around 100, updates are nothing: norms are sigma_t sqrt(610), within 5 %."""
    noise = PluginSpec("annealed", {"eta": 1e4, "where": "local"})
    _, steps = run(small(privacy=noise, rounds=2))
    for t, step in enumerate(steps):
        norms = step.outcome.sent.vectors.double().norm(dim=1)
        assert float(norms.mean()) == pytest.approx((1e4 * 610 / (1 + t) ** 0.55) ** 0.5, rel=0.05)


POISSON = {"sampler": PluginSpec("poisson", {"sample_rate": 0.9})}
REASONS = [
    ("no_mechanism", {"privacy": PluginSpec("none")}),
    ("no_mechanism", privacy("tree", noise_multiplier=0.0)),
    ("uncalibrated_noise", {"privacy": PluginSpec("annealed", {"eta": 0.01}), "defense": FIXED}),
    ("uncalibrated_noise", {"privacy": PluginSpec("annealed", {"where": "local"}), "defense": FIXED}),
    ("weights", {**privacy("gaussian"), "defense": PluginSpec("mean")}),
    ("weights", {**privacy("banded_mf", bands=1), "defense": PluginSpec("mean", {"weighting": "uniform"})}),
    ("weights", {**privacy("laplace"), "defense": PluginSpec("mean")}),
    ("aggregator", {**privacy("tree"), "defense": PluginSpec("median")}),
    ("aggregator", {**privacy("laplace"), "defense": PluginSpec("trimmed_mean", {"num_byzantine": 1})}),
    ("aggregator", {**privacy("gaussian"), "pre_aggregations": (PluginSpec("nnm", {"num_byzantine": 1}),)}),
    (
        "selection",
        {
            **privacy("tree"),
            "network": PluginSpec("links", {"policy": "deadline", "deadline_seconds": 9.0}),
        },
    ),
    ("distributed_shares", {**privacy("skellam"), "network": PluginSpec("links", {"dropout": 0.5})}),
    ("distributed_shares", {**privacy("discrete_gaussian"), **POISSON}),
    (
        "distributed_shares",
        {**privacy("skellam"), "roles": (RoleSpec(PluginSpec("sign_flip"), clients=(0,)),)},
    ),
]


@pytest.mark.parametrize(("reason", "changes"), REASONS)
def test_no_epsilon_where_nothing_holds_but_the_reason(small, reason, changes):
    epsilon = last_epsilon(small(**changes))
    assert (epsilon.value, epsilon.reason, epsilon.accountant) == (None, reason, None)


def test_dropouts_that_were_counted_on_keep_the_guarantee(small):
    spec = small(
        **privacy("skellam", max_dropouts=6), network=PluginSpec("links", {"dropout": 0.2}), rounds=2
    )
    _, steps = run(spec)
    assert min(int(s.outcome.delivery.arrived.sum()) for s in steps) < 8
    assert steps[-1].outcome.epsilon.value > 0


def test_clients_with_poor_data_add_their_share_of_noise(small):
    """They are honest: the guarantee stands, which an attacker's missing share would end."""
    poor = RoleSpec(PluginSpec("unreliable", {"kernel_size": 3}), clients=(0,))
    _, steps = run(small(**privacy("skellam", bits=24), roles=(poor,), rounds=1))
    assert steps[-1].state.privacy["shares"] == 8
    assert steps[-1].outcome.epsilon.value is not None


def test_the_server_sees_one_row_the_sum_of_the_honest_updates(small):
    """At 30 bits and hardly any noise the aggregate is the plain mean, to the noise that is left."""
    spec = small(**privacy("skellam", noise_multiplier=1e-4, bits=30), rounds=1)
    _, (step,) = run(spec)
    u = step.outcome.honest.vectors.double()
    assert torch.allclose(step.outcome.verdict.aggregate.double(), u.sum(dim=0) / 8, atol=5e-5)
    assert step.outcome.verdict.weights.tolist() == [1 / 8]
    assert float(u.norm(dim=1).max()) <= 0.5 * (1 + 1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"defense": PluginSpec("krum", {"num_byzantine": 1})},
            "defense 'krum' needs single updates; use mean",
        ),
        ({"defense": PluginSpec("mean")}, "defense 'mean' .* does not divide by a fixed size; use mean with"),
        (
            {"pre_aggregations": (PluginSpec("nnm", {"num_byzantine": 1}),)},
            "pre-aggregation 'nnm' needs single",
        ),
        ({"codec": PluginSpec("terngrad")}, "what codec 'terngrad' makes cannot be added up; use identity"),
        ({"codec": PluginSpec("zero_rows")}, "what codec 'zero_rows' makes cannot be added up; use identity"),
    ],
)
def test_what_needs_single_updates_is_refused_in_one_line(small, changes, message):
    spec = small(**{**privacy("skellam"), **changes})
    with pytest.raises(ScenarioError, match=f"'skellam' the server sees only the sum.* {message}") as refused:
        prepare(spec)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (privacy("banded_mf", bands=2), "banded_mf: a client's rounds must be at least 2 apart"),
        (privacy("tree", max_participations=2), "tree: a client may take part in at most 2 rounds"),
        (
            {**privacy("laplace", relation="replace_one"), **POISSON},
            "no guarantee holds for sampling 'poisson'",
        ),
    ],
)
def test_a_sampler_that_cannot_keep_the_promise_is_refused(small, changes, message):
    with pytest.raises(ScenarioError, match=message):
        prepare(small(**changes))


@pytest.mark.parametrize(("name", "options"), [("tree", {}), ("banded_mf", {"bands": 2}), ("skellam", {})])
def test_a_run_goes_on_from_a_checkpoint_to_the_bit(small, tmp_path, name, options):
    spec = small(**privacy(name, **options), **TURNS, rounds=5)
    _, steps = run(spec)
    save_checkpoint(tmp_path, steps[2].state, "run")
    restored = load_checkpoint(tmp_path, "run")
    _, rest = run(spec, restored)
    assert torch.equal(rest[-1].state.params, steps[-1].state.params)
    assert equal(rest[-1].state.ledger, steps[-1].state.ledger)
    assert equal(rest[-1].state.privacy, steps[-1].state.privacy)
    assert rest[-1].outcome.epsilon == steps[-1].outcome.epsilon


def test_a_tree_of_a_thousandth_of_the_noise_hardly_changes_the_model(small):
    """z -> 0 is the run without noise; z = 0 to the bit."""
    plain = run(small(**privacy("gaussian", noise_multiplier=0.0)))[1][-1].state.params
    none = run(small(**privacy("tree", noise_multiplier=0.0)))[1][-1].state.params
    little = run(small(**privacy("tree", noise_multiplier=1e-5)))[1][-1].state.params
    assert torch.equal(plain, none)
    assert 0 < float((little - plain).norm()) < 1e-3


# ---- the budget -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "rounds"),
    [
        (privacy("gaussian"), 3),
        (privacy("local_gaussian"), 3),
        (privacy("tree"), 3),
        (
            {
                **privacy("gaussian", noise_multiplier=1.0),
                "sampler": PluginSpec("poisson", {"sample_rate": 0.2}),
            },
            4,
        ),
        (privacy("skellam"), 3),
        ({**privacy("banded_mf", bands=2), **TURNS}, 3),
    ],
)
def test_a_run_stops_before_its_budget_is_passed(small, changes, rounds):
    """The budget lies between what ``rounds`` and one more round cost without one."""
    spec = small(**changes, rounds=rounds + 3)
    simulation, steps = run(spec)
    tight = [simulation.plan.accountant.epsilon(s.state.ledger, tight=True).value for s in steps]
    budget = (tight[rounds - 1] + tight[rounds]) / 2
    if budget == tight[rounds]:
        budget = tight[rounds] * 1.0001
    _, stopped = run(replace(spec, max_epsilon=budget))
    assert len(stopped) == sum(value <= budget for value in tight)
    assert [s.stopped is None for s in stopped] == [True] * (len(stopped) - 1) + [len(stopped) == len(steps)]
    values = [s.outcome.epsilon.value for s in stopped]
    assert values == sorted(values)
    assert values[-1] <= budget
    assert torch.equal(stopped[-1].state.params, steps[len(stopped) - 1].state.params)
    if stopped[-1].stopped:
        assert "one more round would cost epsilon" in stopped[-1].stopped
        assert "\n" not in stopped[-1].stopped


def test_the_last_round_that_the_budget_pays_for_is_evaluated(small):
    spec = small(**privacy("gaussian"), rounds=9, evaluate_every=9, max_epsilon=gaussian_epsilon(4 / 4, 1e-3))
    _, steps = run(spec)
    assert [s.score is not None for s in steps] == [False, False, False, True]


def test_a_resumed_run_stops_at_the_same_round(small, tmp_path):
    spec = small(**privacy("tree"), rounds=9, max_epsilon=4.0)
    _, steps = run(spec)
    save_checkpoint(tmp_path, steps[0].state, "run")
    _, rest = run(spec, load_checkpoint(tmp_path, "run"))
    assert rest[-1].state.round == steps[-1].state.round < 9
    assert rest[-1].stopped == steps[-1].stopped
    _, nothing = run(spec, steps[-1].state)
    assert nothing == []


def test_a_budget_that_cannot_be_kept_is_refused_before_anything_runs(small):
    with pytest.raises(ScenarioError, match=r"not even one round can run: .* epsilon 1\.\d+ in all, and max"):
        prepare(small(**privacy("gaussian"), max_epsilon=0.5))
    with pytest.raises(
        ScenarioError, match="max_epsilon = 3 was asked for, and privacy 'none' adds no noise"
    ):
        prepare(small(max_epsilon=3.0))


def test_a_guarantee_that_is_lost_on_the_way_ends_a_run_with_a_budget(small):
    """A model that diverges takes the bound of ``diff2`` along, which nobody could foresee."""
    noise = {"gradient_multiplier": 5.0, "difference_multiplier": 5.0, "delta": 0.01}
    spec = small(
        algorithm=PluginSpec("diff2_gd", {"lr": 1e25}),
        model=PluginSpec("linear"),
        privacy=PluginSpec("diff2", noise),
        defense=FIXED,
        rounds=6,
        max_epsilon=50.0,
    )
    _, steps = run(spec)
    assert steps[-1].outcome.release == NoGuarantee("not_finite")
    assert len(steps) < 6
    assert "no guarantee holds (not_finite)" in steps[-1].stopped


@pytest.mark.parametrize("name", ["skellam", "discrete_gaussian"])
def test_whoever_overflows_still_adds_a_share_of_the_noise(small, name):
    """Who left it out would be seen by the noise that is missing: there are eight shares in every round."""
    _, steps = run(
        small(**privacy(name), training=LocalTraining(local_epochs=3, batch_size=16, lr=1e30), rounds=2)
    )
    assert [step.outcome.epsilon.reason for step in steps] == [None, None]
    assert [step.state.privacy["shares"] for step in steps] == [8, 8]
