"""The noise of DIFF2: golden values worked out for this project's test rules (n_min W = 2000)."""

import pytest
import torch

from gauntlet.core.contracts import NoGuarantee, Release
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.seeds import generator
from gauntlet.core.updates import Context, Updates
from gauntlet.privacy.accounting.curves import gaussian_epsilon
from gauntlet.privacy.diff2 import Diff2

RUN = {"rounds": 100, "restart": 10, "c1": 1.0, "c2": 0.25, "delta": 1e-5}
LAYOUT = Layout((Slot("w", (4000,), 0),))


def budget(**options) -> Diff2:
    return Diff2(**{**RUN, "conversion": "zcdp", **options})


def test_the_budget_is_split_as_worked_out():
    """epsilon 3: rho 0.1734832, rho_1 0.00867416, rho_2 0.000963796, z_1 7.59226, z_2 22.77679."""
    mechanism = budget(epsilon=3.0)
    z1, z2 = mechanism.multipliers

    assert mechanism._rho == pytest.approx(0.1734832, rel=1e-6)
    assert (1 / (2 * z1**2), 1 / (2 * z2**2)) == pytest.approx((0.00867416, 0.000963796), rel=1e-5)
    assert (z1, z2) == pytest.approx((7.59226, 22.77679), rel=1e-6)
    assert budget(epsilon=1.0).multipliers == pytest.approx((21.91595, 65.74785), rel=1e-6)


@pytest.mark.parametrize(("epsilon", "spent"), [(3.0, 2.3948), (1.0, 0.7416)])
def test_the_zcdp_budget_spends_less_than_it_may(epsilon, spent):
    """Exact epsilon of 10 Gaussians of z_1 and 90 of z_2."""
    z1, z2 = budget(epsilon=epsilon).multipliers
    assert gaussian_epsilon(10 / z1**2 + 90 / z2**2, 1e-5) == pytest.approx(spent, abs=1e-4)


def test_privacy_loss_distributions_agree():
    """dp-accounting: compose the two Gaussians' exact equivalent, 2.3948."""
    from dp_accounting.pld import privacy_loss_distribution as pld

    z1, z2 = budget(epsilon=3.0).multipliers
    both = [pld.from_gaussian_mechanism(z / n**0.5) for z, n in ((z1, 10), (z2, 90))]
    assert both[0].compose(both[1]).get_epsilon_for_delta(1e-5) == pytest.approx(2.3948, abs=2e-3)


def test_the_exact_conversion_spends_what_it_may():
    z1, z2 = Diff2(**RUN, epsilon=3.0).multipliers
    assert gaussian_epsilon(10 / z1**2 + 90 / z2**2, 1e-5) == pytest.approx(3.0, abs=2e-3)
    assert z1 < budget(epsilon=3.0).multipliers[0]


def test_with_a_restart_every_round_it_is_dp_gradient_descent():
    """z = sqrt(R / (2 rho)) = 16.9768, whatever the split."""
    for split in (0.2, 0.5):
        assert budget(epsilon=3.0, restart=1, budget_split=split).multipliers[0] == pytest.approx(
            16.9768, rel=1e-5
        )


def test_replacing_an_example_needs_twice_the_noise():
    one, other = budget(epsilon=3.0), budget(epsilon=3.0, relation="replace_one")
    assert other.multipliers == pytest.approx([2 * z for z in one.multipliers])


def cohort(params, vectors=None):
    vectors = torch.zeros(4, 4000) if vectors is None else vectors
    context = Context(0, params, LAYOUT, 0)
    return Updates(vectors, torch.arange(4), torch.tensor([500, 700, 900, 500]), 4.0, context=context)


def noise_of(mechanism, state, params):
    updates, state = mechanism.clip(cohort(params), state)
    noised, state = mechanism.noise(
        updates.vectors.mean(dim=0), 4.0, state, generator(0, "noise", state["round"])
    )
    return noised, state


def test_noise_is_that_of_the_smallest_worker_and_follows_the_step():
    """sigma_1 = 0.00379613, sigma_2 = 0.00284710 |step|, within 7 %: chi-square of 4000 at 1e-9."""
    mechanism, params = budget(epsilon=3.0), torch.zeros(4000)
    state = mechanism.init()
    noise, state = noise_of(mechanism, state, params)
    assert float(noise.std()) == pytest.approx(0.00379613, rel=0.07)
    for length in (0.1, 3.0):
        params = params + length / 4000**0.5
        noise, state = noise_of(mechanism, state, params)
        assert float(noise.std()) == pytest.approx(0.00284710 * length, rel=0.07)
    noise, state = noise_of(mechanism, state, params)
    assert torch.equal(noise, torch.zeros(4000))  # no step: nothing to hide


def test_messages_longer_than_the_bound_are_cut():
    mechanism = budget(epsilon=3.0)
    sent = cohort(torch.zeros(4000), torch.ones(4, 4000))
    cut, _ = mechanism.clip(sent, mechanism.init())
    assert cut.vectors.norm(dim=1) == pytest.approx(torch.ones(4), abs=1e-5)


def test_a_round_is_charged_its_own_multiplier():
    mechanism, state = budget(epsilon=3.0), budget(epsilon=3.0).init()
    z1, z2 = mechanism.multipliers
    found = []
    for t in range(11):
        _, state = noise_of(mechanism, state, torch.full((4000,), 0.1 * t))
        event = mechanism.event(state["clip_norm"] / 4, 4.0, state)
        assert isinstance(event, Release)
        found.append(event.noise_multiplier)
    assert found == pytest.approx([z1, *[z2] * 9, z1])


def test_a_defense_that_moves_twice_as_far_halves_what_is_charged():
    mechanism = budget(epsilon=3.0)
    _, state = noise_of(mechanism, mechanism.init(), torch.zeros(4000))
    event = mechanism.event(2 * state["clip_norm"] / 4, 4.0, state)
    assert event.noise_multiplier == pytest.approx(mechanism.multipliers[0] / 2)


@pytest.mark.parametrize("bound", [float("nan"), float("inf")])
def test_a_model_that_diverged_has_no_bound_and_nothing_is_promised(bound):
    """C follows the model's own steps; not the defense is at fault."""
    mechanism = budget(epsilon=3.0)
    state = {**mechanism.init(), "clip_norm": bound}
    assert mechanism.event(None, 4.0, state) == NoGuarantee("not_finite")


def test_a_visit_without_noise_of_its_own_proves_nothing():
    options = {"gradient_multiplier": 5.0, "difference_multiplier": 5.0, "exchanges": 2}
    bare, noised = (Diff2(**RUN, **options, inner_multiplier=z) for z in (0.0, 3.0))
    after = {**bare.init(), "round": 2}  # the round that ended was a visit

    assert bare.event(None, 1.0, after) == NoGuarantee("no_mechanism")
    assert noised.event(None, 1.0, after) == Release(3.0, "zero_out", amplified=False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give epsilon"),
        ({"epsilon": 1.0, "gradient_multiplier": 1.0}, "give epsilon"),
        ({"gradient_multiplier": 1.0}, "give epsilon"),
        ({"epsilon": 1.0, "budget_split": 1.0}, "budget_split must be between 0 and 1"),
        ({"epsilon": 1.0, "exchanges": 2}, "not known beforehand"),
        ({"epsilon": 1.0, "relation": "add_remove"}, "relation must be"),
        ({"epsilon": -1.0}, "at least 0, got -1"),
    ],
)
def test_options_that_say_nothing_or_too_much_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Diff2(**{**RUN, **options})


def test_noise_without_a_delta_is_refused():
    with pytest.raises(ValueError, match="delta"):
        Diff2(gradient_multiplier=1.0, difference_multiplier=1.0)
