"""What goes with messages of two vectors, what is refused, and what privacy promises of them."""

import numpy as np
import pytest
import torch
from whole_runs import states

from gauntlet.attacks.poisoning import UPDATE_ATTACKS
from gauntlet.core.contracts import LocalTraining, NoGuarantee
from gauntlet.core.errors import GauntletError, ScenarioError
from gauntlet.defenses import DEFENSES, PRE_AGGREGATIONS
from gauntlet.privacy.accounting.curves import gaussian_epsilon
from gauntlet.server.cohort.sampling import sample_cohort
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

SCAFFOLD = PluginSpec("scaffold")


@pytest.mark.parametrize(
    "ingredient",
    [
        {"defense": PluginSpec("median")},
        {"defense": PluginSpec("krum", {"num_byzantine": 1})},
        {"defense": PluginSpec("lasa")},
        {"codec": PluginSpec("terngrad")},
        {"roles": (RoleSpec(PluginSpec("sign_flip"), count=2),)},
        {"roles": (RoleSpec(PluginSpec("gradient_ascent"), count=2),)},
        {"vectorize": "off"},
        {"privacy": PluginSpec("dp_sgd", {"clip_norm": 1.0, "noise_multiplier": 0.5, "delta": 1e-4})},
        {"privacy": PluginSpec("local_gaussian", {"clip_norm": 1.0, "noise_multiplier": 0.5, "delta": 1e-4})},
        {"defense": PluginSpec("fltrust"), "root_examples": 20},
    ],
    ids=lambda changes: next(iter(changes)) + " " + str(next(iter(changes.values())))[:20],
)
def test_scaffold_goes_with_what_works_on_messages(small, ingredient):
    spec = small(
        **{"algorithm": SCAFFOLD, "defense": PluginSpec("mean", {"weighting": "uniform"})} | ingredient
    )
    first, *_, last = states(spec)

    assert bool(last.params.isfinite().all())
    assert not torch.equal(first.params, last.params)
    assert len(last.clients) == 8 + (spec.root_examples > 0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mean", {}),
        ("norm_clipping", {}),
        ("geometric_median", {}),
        ("multi_krum", {"num_byzantine": 1}),
        ("mud_hog", {}),
        ("flower:FedAvg", {}),
    ],
)
@pytest.mark.parametrize("algorithm", ["scaffold", "feddyn"])
def test_a_rule_that_weighs_claimed_examples_is_refused_where_all_count_alike(
    small, algorithm, name, options
):
    """c and h are means of all clients only where nobody counts more: any rule that says otherwise."""
    weighting = {} if name.startswith("flower") else {"weighting": "num_examples"}
    alike = {"weighting": "uniform"}
    with pytest.raises(ScenarioError, match="weighs all clients alike, such as defense mean with weighting"):
        prepare(small(algorithm=PluginSpec(algorithm), defense=PluginSpec(name, {**options, **weighting})))
    if not name.startswith("flower"):
        prepare(small(algorithm=PluginSpec(algorithm), defense=PluginSpec(name, {**options, **alike})))


def test_flowers_strategies_take_updates_alone(small):
    """They are handed local models, which two vectors are not."""
    median = PluginSpec("flower:FedMedian")
    with pytest.raises(ScenarioError, match="'flower:FedMedian' sets messages beside the parameters"):
        prepare(small(algorithm=SCAFFOLD, defense=median))
    assert bool(states(small(algorithm=PluginSpec("feddyn"), defense=median))[-1].params.isfinite().all())


def test_under_central_privacy_rounds_are_charged_without_amplification(small):
    """The busiest client pays for its rounds at z = 4 as one Gaussian each, whoever else was drawn."""
    gaussian = {"clip_norm": 1.0, "noise_multiplier": 4.0, "delta": 1e-3}
    base = {
        "rounds": 3,
        "defense": PluginSpec("mean", {"weighting": "fixed"}),
        "sampler": PluginSpec("poisson", {"sample_rate": 0.5}),
        "privacy": PluginSpec("gaussian", gaussian),
    }
    simulation = prepare(small(**base, algorithm=SCAFFOLD))
    *_, step = simulation.steps(simulation.serial_pool())
    plan = simulation.plan
    cohorts = [sample_cohort(plan.sampler, plan.sampling, 7, t) for t in range(3)]
    rounds = int(np.bincount(np.concatenate(cohorts)).max())
    assert step.outcome.release.amplified is False
    assert step.outcome.epsilon.value == pytest.approx(gaussian_epsilon(rounds / 16, 1e-3))
    assert bool((step.outcome.norms <= 1 + 1e-6).all())  # the whole message: update and control together
    asked = base | {"privacy": PluginSpec("gaussian", {"clip_norm": 1.0, "epsilon": 3.0, "delta": 1e-3})}
    *_, step = (s := prepare(small(**asked, algorithm=SCAFFOLD))).steps(s.serial_pool())
    assert step.outcome.epsilon.value <= 3.0


@pytest.mark.parametrize(
    ("privacy", "sampler"),
    [
        ("gaussian", PluginSpec("fixed_size", {"cohort_size": 4})),
        ("laplace", PluginSpec("poisson", {"sample_rate": 0.5})),
    ],
)
def test_where_no_analysis_is_known_nothing_is_promised(small, privacy, sampler):
    """A client that stays away gives its place in a cohort of fixed size to another, whose memory moves."""
    options = {"clip_norm": 1.0, "noise_multiplier": 4.0, "delta": 1e-3}
    spec = small(
        rounds=1,
        algorithm=SCAFFOLD,
        defense=PluginSpec("mean", {"weighting": "fixed"}),
        sampler=sampler,
        privacy=PluginSpec(privacy, options),
    )
    (step,) = (s := prepare(spec)).steps(s.serial_pool())
    assert step.outcome.release == NoGuarantee("client_memory")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"defense": PluginSpec("mean")}, "weighs all clients alike"),
        ({"server_optimizer": PluginSpec("adam")}, "brings its own server_optimizer"),
        (
            {
                "algorithm": PluginSpec("scaffold", {"option": "I"}),
                "privacy": PluginSpec("dp_sgd", {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-4}),
            },
            "takes the gradient of all of a client's examples",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(small, changes, line):
    base = {"algorithm": SCAFFOLD, "defense": PluginSpec("mean", {"weighting": "uniform"})}
    with pytest.raises(GauntletError, match=line) as caught:
        prepare(small(**base | changes))
    assert "\n" not in str(caught.value)


TWICE = {
    "algorithm": SCAFFOLD,
    "model": PluginSpec("logistic_regression"),
    "num_clients": 12,
    "training": LocalTraining(local_steps=2, batch_size=16, lr=0.1),
}
BESIDE = "sets messages beside the parameters, and algorithm 'scaffold' sends 1300 numbers for 650 of these"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"defense": PluginSpec("fldetector")}, f"defense 'fldetector' {BESIDE}"),
        ({"defense": PluginSpec("flame")}, f"defense 'flame' {BESIDE}"),
        ({"roles": (RoleSpec(PluginSpec("neurotoxin"), (1,)),)}, f"attack 'neurotoxin' {BESIDE}"),
        (
            {"roles": (RoleSpec(PluginSpec("free_rider", {"mode": "previous"}), (1,)),)},
            f"attack 'free_rider' {BESIDE}",
        ),
    ],
)
def test_what_sets_messages_beside_the_parameters_needs_updates_alone(small, changes, line):
    """FLDetector foretells from moves of the model, FLAME compares local models: [P] beside [M]."""
    with pytest.raises(GauntletError, match=line):
        prepare(small(**TWICE | {"defense": PluginSpec("mean", {"weighting": "uniform"})} | changes))


NEEDS = {
    "mean": {"weighting": "uniform"},
    "lora_product": {"weighting": "uniform"},
    "train_and_scale": {"norm_bound": 1.0},
    "parameter_certificate": {"clip_norm": 1.0, "num_byzantine": 2},
}


def options(family, name):
    """Return options with which it can be built."""
    for one in (NEEDS.get(name, {}), {"num_byzantine": 2}, {"clip_norm": 1.0}):
        try:
            family.build(name, one)
        except GauntletError:
            continue
        return one
    raise AssertionError(f"say in NEEDS what {name} needs")


SETS_BESIDE = {
    *("fldetector", "flame", "zeno", "parameter_certificate", "deepsight", "alignins", "freqfed"),
    *("multi_metrics", "crfl", "spectral_screen", "fedguard", "neurotoxin", "poisonedfl", "three_d_fed"),
    *("weight_matching", "client_influence", "lora_product"),
}
PLANTS = {"backdoor_indicator"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*DEFENSES.table, *PRE_AGGREGATIONS.table, *UPDATE_ATTACKS.table])
def test_every_rule_and_every_attack_takes_two_vectors_or_is_refused_by_name(small, name):
    """Three rounds, so that what remembers the rounds before has something to remember."""
    changes = {"defense": PluginSpec("mean", {"weighting": "uniform"})}
    if name in DEFENSES.table:
        changes = {"defense": PluginSpec(name, options(DEFENSES, name)), "root_examples": 20}
    elif name in PRE_AGGREGATIONS.table:
        changes |= {"pre_aggregations": (PluginSpec(name, options(PRE_AGGREGATIONS, name)),)}
    else:
        changes |= {"roles": (RoleSpec(PluginSpec(name, options(UPDATE_ATTACKS, name)), (1, 2)),)}
    spec = small(**TWICE | changes)
    if name in SETS_BESIDE or name in PLANTS:
        refusal = BESIDE if name in SETS_BESIDE else "plants something in them"
        with pytest.raises(GauntletError, match=f"'{name}' {refusal}"):
            prepare(spec)
        return
    simulation = prepare(spec)
    *_, last = simulation.steps(simulation.serial_pool())
    assert last.state.params.shape == (650,)
    assert len(last.outcome.sent.vectors[0]) == 1300
