"""The terms of a guarantee: whose number of examples is public, and how large delta may be."""

from dataclasses import replace

import pytest
import torch

from gauntlet.core.contracts import NoGuarantee, Release
from gauntlet.core.errors import ScenarioError
from gauntlet.core.updates import Updates
from gauntlet.privacy.local_gaussian import LocalGaussian
from gauntlet.server.guarantee.reading import delta_warning, stated
from gauntlet.server.guarantee.release import release_of
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

FIXED = PluginSpec("mean", {"weighting": "fixed"})
UNIFORM = PluginSpec("mean", {"weighting": "uniform"})
LATE = PluginSpec("links", {"policy": "deadline", "deadline_seconds": 9.0})
SEES = RoleSpec(PluginSpec("ipm"), clients=(0, 1))


def local(**options):
    return PluginSpec("local_gaussian", {"clip_norm": 0.5, "noise_multiplier": 2.0, "delta": 1e-3, **options})


def released(small, **changes):
    run = prepare(small(**changes))
    return release_of(run.plan, run.first.privacy, 0, range(8))


def test_how_many_examples_a_client_has_changes_what_a_weighted_mean_makes_of_its_noise(small):
    """Ten clients of 40 examples; one of them with 4 or with 400: its share is 4/364 or 400/760."""
    plan = prepare(small(privacy=local())).plan
    rows = torch.zeros(10, 4)
    rows[0] = 1.0  # one client's noise
    moved = []
    for count in (4, 400):
        counts = torch.tensor([count] + [40] * 9)
        verdict, _ = plan.defense.aggregate(Updates(rows, torch.arange(10), counts), None)
        moved.append(float(verdict.aggregate[0]))
    assert moved == pytest.approx([4 / 364, 400 / 760])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "weights"),
        ({"defense": PluginSpec("median")}, "weights"),
        ({"defense": UNIFORM, "pre_aggregations": (PluginSpec("nnm", {"num_byzantine": 1}),)}, "weights"),
        ({"defense": UNIFORM, "network": LATE}, "selection"),
        ({"defense": FIXED, "roles": (SEES,)}, "attackers_see_updates"),
        ({"defense": UNIFORM}, None),
        ({"defense": FIXED, "network": PluginSpec("links", {"dropout": 0.1})}, None),
    ],
)
def test_a_number_of_examples_that_is_secret_must_decide_nothing(small, changes, reason):
    found = released(small, privacy=local(counts="private"), **changes)
    assert found == NoGuarantee(reason) if reason else isinstance(found, Release)
    assert isinstance(released(small, privacy=local(), **changes), Release)  # neighbours hold equally many


@pytest.mark.parametrize(
    ("privacy", "public"),
    [
        (local(), ["num_examples"]),
        (local(counts="private"), []),
        (PluginSpec("dp_sgd", {"clip_norm": 0.5, "noise_multiplier": 2.0, "delta": 1e-5}), ["num_examples"]),
        (PluginSpec("gaussian", {"clip_norm": 0.5, "noise_multiplier": 2.0, "delta": 1e-3}), []),
    ],
)
def test_the_terms_say_what_neighbours_have_in_common(small, privacy, public):
    terms = stated(prepare(small(privacy=privacy, defense=FIXED)).plan)
    assert terms["public"] == public
    assert terms["delta"] == privacy.options["delta"]


def test_counts_are_public_or_private():
    with pytest.raises(ValueError, match="counts must be public or private, got 'hidden'"):
        LocalGaussian(0.5, 1.0, delta=1e-3, counts="hidden")


# ---- delta ----------------------------------------------------------------------------------------------


def central(delta, **changes):
    return {
        "privacy": PluginSpec("gaussian", {"clip_norm": 0.5, "noise_multiplier": 2.0, "delta": delta}),
        "defense": FIXED,
        **changes,
    }


@pytest.mark.parametrize(("delta", "warned"), [(0.1, False), (0.12499, False), (0.125, True), (0.5, True)])
def test_a_delta_of_one_over_the_clients_is_warned_of(small, delta, warned):
    """Of 8 clients, each given away entirely with probability 1/8: delta = 0.125 calls that private."""
    warning = delta_warning(prepare(small(**central(delta, max_delta=0.9))).plan)
    assert (warning is not None) == warned
    if warning:
        assert warning.startswith(f"delta = {delta:g} is not below 1 / 8 (the number of clients)")
        assert "\n" not in warning


def test_where_examples_are_protected_delta_is_held_against_their_number(small):
    """Digits hold 1,437 training examples: 1e-3 is above one over them, and below one over 8 clients."""
    dp_sgd = PluginSpec("dp_sgd", {"clip_norm": 0.5, "noise_multiplier": 2.0, "delta": 1e-3})
    plan = prepare(small(privacy=dp_sgd)).plan
    assert f"1 / {plan.accountant.num_clients} (the number of examples)" in delta_warning(plan)


def test_a_trusted_server_that_protects_examples_counts_them_too(small):
    """Digits' 1,437 training examples at 8 clients: delta = 0.05 is below 1/8, and far above 1/1437."""
    diff2 = PluginSpec("diff2", {"gradient_multiplier": 1.0, "difference_multiplier": 1.0, "delta": 0.05})
    spec = small(algorithm=PluginSpec("diff2_gd"), model=PluginSpec("linear"), defense=FIXED, privacy=diff2)
    assert "delta = 0.05 is not below 1 / 1437 (the number of examples)" in delta_warning(prepare(spec).plan)


def test_a_delta_above_a_tenth_must_be_said(small):
    with pytest.raises(ScenarioError, match=r"delta = 0.5 is above max_delta = 0.1: .* or max_delta = 0.5"):
        prepare(small(**central(0.5)))
    prepare(small(**central(0.5, max_delta=0.5)))
    prepare(replace(small(**central(0.1))))


@pytest.mark.parametrize("bound", [float("nan"), float("inf")])
def test_a_bound_that_diverged_with_the_model_ends_the_guarantee_and_blames_no_defense(small, bound):
    diff2 = PluginSpec("diff2", {"gradient_multiplier": 1.0, "difference_multiplier": 1.0, "delta": 0.05})
    spec = small(algorithm=PluginSpec("diff2_gd"), model=PluginSpec("linear"), defense=FIXED, privacy=diff2)
    run = prepare(spec)
    diverged = {**run.first.privacy, "clip_norm": bound}

    assert isinstance(release_of(run.plan, run.first.privacy, 0, range(8)), Release)
    assert release_of(run.plan, diverged, 0, range(8)) == NoGuarantee("not_finite")
