import math
import re

import numpy as np
import pytest
import torch

from gauntlet.core.contracts import NoGuarantee, Release
from gauntlet.core.errors import PluginError
from gauntlet.core.seeds import generator, normal
from gauntlet.privacy import PRIVACY
from gauntlet.privacy.gaussian import Gaussian
from gauntlet.privacy.local_gaussian import LocalGaussian


def no_stream(client_id: int) -> np.random.Generator:
    raise LookupError(f"client {client_id} must not draw")


@pytest.fixture
def mechanism() -> Gaussian:
    return Gaussian(clip_norm=2.0, noise_multiplier=1.5, delta=1e-5)


def test_client_and_server_clip_alike_and_the_client_draws_no_noise(cohort, mechanism):
    """By hand: (3, 4) has norm 5, so the bound 2 gives (1.2, 1.6)."""
    updates = cohort([[3.0, 4.0], [0.3, 0.4]])
    sent = mechanism.privatize(updates, no_stream).vectors
    received = mechanism.clip(updates, None)[0].vectors
    assert torch.allclose(sent, torch.tensor([[1.2, 1.6], [0.3, 0.4]]), rtol=2e-6)
    assert torch.equal(sent, received)


def test_a_broken_update_leaves_the_client_broken_so_that_the_server_can_count_it(cohort, mechanism):
    updates = cohort([[math.nan, 4.0], [0.3, 0.4]])
    sent = mechanism.privatize(updates, no_stream)
    assert sent.vectors[0].isnan().any()
    with pytest.raises(ValueError, match="NaN or infinity in rows"):
        mechanism.clip(sent, None)


def test_the_noise_is_z_times_c_over_the_expected_size_times_standard_normals(mechanism):
    """By hand: z C / m = 1.5 * 2 / 10 = 0.3, drawn from the given stream and nothing else."""
    aggregate = torch.linspace(-1, 1, 50)
    noised, _ = mechanism.noise(aggregate, 10.0, None, generator(1, "noise", 3))
    drawn = torch.from_numpy(generator(1, "noise", 3).standard_normal(50) * 0.3).float()
    assert torch.allclose(noised, aggregate + drawn, atol=1e-7)
    assert mechanism.noise_std(10.0) == pytest.approx(0.3)


def test_without_noise_and_with_a_huge_bound_nothing_changes_by_a_single_bit(cohort):
    mechanism = Gaussian(clip_norm=1e9, noise_multiplier=0.0)
    updates = cohort(torch.randn(4, 30, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(mechanism.privatize(updates, no_stream).vectors, updates.vectors)
    assert torch.equal(mechanism.clip(updates, None)[0].vectors, updates.vectors)
    aggregate = updates.vectors.mean(dim=0)
    assert torch.equal(mechanism.noise(aggregate, 4.0, None, generator(0, "n"))[0], aggregate)
    assert mechanism.event(1e9 / 4, 4.0, None) == NoGuarantee("no_mechanism")


@pytest.mark.parametrize("relation", ["add_remove", "zero_out", "replace_one"])
def test_a_mean_with_fixed_denominator_is_charged_at_exactly_z(relation):
    mechanism = Gaussian(clip_norm=0.3, noise_multiplier=1.1, delta=1e-5, relation=relation)
    assert mechanism.event(0.3 / 7, 7.0, None) == Release(1.1, relation)


def test_a_defense_of_three_times_the_sensitivity_is_charged_at_a_third_of_z(mechanism):
    """By hand: noise 0.3 on the mean over a sensitivity of 0.6 is a multiplier of 0.5."""
    event = mechanism.event(0.6, 10.0, None)
    assert isinstance(event, Release)
    assert event.noise_multiplier == pytest.approx(0.5)


@pytest.mark.parametrize("sensitivity", [None, math.inf, math.nan, 0.0, -1.0])
def test_a_defense_of_unknown_sensitivity_proves_nothing(mechanism, sensitivity):
    assert mechanism.event(sensitivity, 10.0, None) == NoGuarantee("aggregator")


@pytest.mark.parametrize("kind", [Gaussian, LocalGaussian])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_norm": 0.0}, "clip_norm must be finite and at least 1e-20, got 0.0"),
        ({"clip_norm": math.nan}, "clip_norm must be finite and at least 1e-20, got nan"),
        ({"epsilon": -1.0, "noise_multiplier": None}, "epsilon must be finite and above 0, got -1.0"),
        ({"epsilon": 0.0, "noise_multiplier": None}, "epsilon must be finite and above 0, got 0.0"),
        ({"noise_multiplier": -0.5}, "noise_multiplier must be finite and at least 0, got -0.5"),
        ({"noise_multiplier": math.inf}, "noise_multiplier must be finite and at least 0, got inf"),
        ({"delta": 0.0}, "delta must be between 0 and 1, both excluded, got 0.0"),
        ({"delta": 1.0}, "delta must be between 0 and 1, both excluded, got 1.0"),
        ({"delta": None}, "give noise_multiplier and delta, or epsilon and delta, got noise_multiplier"),
        ({"noise_multiplier": None}, "got delta"),
        ({"epsilon": 1.0}, "got noise_multiplier and epsilon and delta"),
        ({"epsilon": 1.0, "delta": None}, "got noise_multiplier and epsilon"),
        ({"noise_multiplier": None, "epsilon": 1.0, "delta": None}, "got epsilon"),
        ({"noise_multiplier": None, "delta": None}, "got none of them"),
    ],
)
def test_options_out_of_range_or_in_another_combination_are_refused(kind, options, message):
    with pytest.raises(ValueError, match=re.escape(message) + "$"):
        kind(**{"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-5, **options})


def test_an_unknown_relation_is_refused_with_the_allowed_ones():
    with pytest.raises(ValueError, match="one of add_remove, zero_out, replace_one, got 'swap'"):
        Gaussian(clip_norm=1.0, noise_multiplier=1.0, delta=1e-5, relation="swap")  # type: ignore[arg-type]


def test_a_scenario_with_a_negative_epsilon_gets_one_line_with_value_and_range():
    with pytest.raises(PluginError, match=r"^gaussian: epsilon must be finite and above 0, got -2\.0$"):
        PRIVACY.build("gaussian", {"clip_norm": 1.0, "epsilon": -2.0, "delta": 1e-5})


@pytest.mark.parametrize("kind", [Gaussian, LocalGaussian])
def test_noise_that_is_still_to_be_calibrated_is_not_taken_for_zero(kind, cohort):
    mechanism, updates = kind(clip_norm=1.0, epsilon=1.0, delta=1e-5), cohort([[1.0]])
    with pytest.raises(ValueError, match="calibrate"):
        mechanism.event(0.1, 10.0, None)
    add_noise = (
        (lambda: mechanism.noise(torch.zeros(3), 10.0, None, generator(0, "n")))
        if kind is Gaussian
        else (lambda: mechanism.privatize(updates, lambda i: generator(0, "p", i)))
    )
    with pytest.raises(ValueError, match="calibrate"):
        add_noise()


def test_local_clients_clip_and_add_their_own_noise(cohort):
    """By hand: (3, 4) clipped to (0.6, 0.8), plus N(0, 2^2) from the client's own stream."""
    mechanism = LocalGaussian(clip_norm=1.0, noise_multiplier=2.0, delta=1e-5)
    sent = mechanism.privatize(cohort([[3.0, 4.0], [0.3, 0.4]]), lambda i: generator(9, "privatize", 0, i))
    for k, clipped in enumerate([[0.6, 0.8], [0.3, 0.4]]):
        expected = torch.tensor(clipped) + normal(generator(9, "privatize", 0, k), 2, 2.0)
        assert torch.allclose(sent.vectors[k], expected, atol=1e-6)


def test_a_local_client_with_a_broken_update_sends_noise_and_nothing_else(cohort):
    mechanism = LocalGaussian(clip_norm=1.0, noise_multiplier=2.0, delta=1e-5)
    sent = mechanism.privatize(cohort([[math.inf, 4.0]]), lambda i: generator(9, "privatize", i))
    assert torch.allclose(sent.vectors[0], normal(generator(9, "privatize", 0), 2, 2.0))


def test_a_local_release_needs_no_known_sensitivity_and_is_never_amplified():
    mechanism = LocalGaussian(clip_norm=1.0, noise_multiplier=2.0, delta=1e-5)
    assert mechanism.event(None, 10.0, None) == Release(2.0, "replace_one", amplified=False)
    silent = LocalGaussian(clip_norm=1.0, noise_multiplier=0.0)
    assert silent.event(None, 10.0, None) == NoGuarantee("no_mechanism")


def test_no_privacy_hands_everything_through_and_proves_nothing(cohort):
    mechanism = PRIVACY.build("none")
    updates, aggregate = cohort([[3.0, 4.0]]), torch.ones(2)
    assert mechanism.privatize(updates, no_stream) is updates
    assert mechanism.clip(updates, None)[0] is updates
    assert mechanism.noise(aggregate, 1.0, None, generator(0, "n"))[0] is aggregate
    assert mechanism.event(1.0, 1.0, None) == NoGuarantee("no_mechanism")
