import json
import math
import time

import numpy as np
import pytest

from gauntlet.core.contracts import NoGuarantee, Release, Sampling
from gauntlet.core.trees import equal, pack, unpack
from gauntlet.privacy.accounting import Accountant, Epsilon
from gauntlet.privacy.accounting.curves import gaussian_epsilon

POISSON = Sampling("poisson", 100, 0.1, 10.0)
FIXED = Sampling("fixed_size", 100, 0.1, 10.0)
FULL = Sampling("full", 100, 1.0, 100.0)
OTHER = Sampling("other", 100, 0.1, 10.0)
EVERYONE = range(100)
DELTA = 100**-1.1  # 6.31e-3


def run(accountant: Accountant, event, sampling, cohorts):
    state = accountant.init()
    for cohort in cohorts:
        state = accountant.charge(event, sampling, cohort, state)
    return state


@pytest.fixture
def accountant() -> Accountant:
    return Accountant(DELTA, 100)


@pytest.mark.parametrize("relation", ["add_remove", "zero_out"])
def test_poisson_rounds_are_amplified_and_the_tight_bound_is_smaller(accountant, relation):
    """Golden values: N = 100, m = 10, T = 100, z = 1: privacy loss distributions 3.7239, and Renyi 4.5800.

    (4.6157 on dp-accounting's grid, which has no value at the best order: it does not converge there.)
    """
    state = run(accountant, Release(1.0, relation), POISSON, [[1, 2]] * 100)
    live, tight = accountant.epsilon(state), accountant.epsilon(state, tight=True)
    assert live.value == pytest.approx(4.5800, abs=1e-4)
    assert (live.accountant, tight.accountant) == ("rdp", "pld")
    assert tight.value == pytest.approx(3.7239, abs=5e-3)


def test_a_tight_bound_refines_its_grid_where_privacy_losses_are_tiny():
    """z = 35, q = 5/3120, T = 62400: a grid of 1e-4 would give 0.0616, one of 1e-5 gives 0.0455."""
    accountant = Accountant(1e-7, 3120)
    charges = (("poisson", 35.0, 5 / 3120, 3120, 62400),)
    state = {**accountant.init(), "rule": "poisson add_remove", "charges": charges}
    assert accountant.epsilon(state).value == pytest.approx(0.0491, abs=1e-4)
    assert accountant.epsilon(state, tight=True).value == pytest.approx(0.0454, abs=2e-4)


def test_a_rounds_cost_does_not_depend_on_who_came_under_poisson_sampling(accountant):
    """An empty cohort still releases noise, and is charged like any other."""
    empty = run(accountant, Release(1.0, "add_remove"), POISSON, [[]] * 5)
    some = run(accountant, Release(1.0, "add_remove"), POISSON, [[3, 4, 5]] * 5)
    assert accountant.epsilon(empty) == accountant.epsilon(some)
    assert accountant.epsilon(empty).value > 0.5


@pytest.mark.parametrize(
    ("sampling", "relation"),
    [(FIXED, "zero_out"), (OTHER, "zero_out"), (FULL, "zero_out"), (FULL, "add_remove")],
)
def test_without_amplification_the_busiest_client_decides(accountant, sampling, relation):
    """Golden values: each client 10 times costs 12.1568, one of them 100 times 74.0524."""
    event = Release(1.0, relation)
    each_ten_times = run(accountant, event, sampling, [range(t % 10, 100, 10) for t in range(100)])
    assert accountant.epsilon(each_ten_times).value == pytest.approx(12.1568, abs=1e-3)
    one_always = run(accountant, event, sampling, [np.array([7, 10 + t % 50]) for t in range(100)])
    assert accountant.epsilon(one_always).value == pytest.approx(74.0524, abs=1e-3)
    assert accountant.epsilon(one_always).accountant == "gaussian"


def test_under_full_participation_an_exchanged_client_costs_twice_the_sensitivity(accountant):
    """By hand: z = 8 for T = 4 rounds under replace_one is one Gaussian of s = 8 / 2 / sqrt(4) = 2."""
    state = run(accountant, Release(8.0, "replace_one"), FULL, [EVERYONE] * 4)
    assert accountant.epsilon(state).value == pytest.approx(gaussian_epsilon(1 / 2**2, DELTA), rel=1e-9)


def test_fixed_size_with_exchanged_clients_takes_the_smaller_of_two_bounds(accountant):
    """Golden values: z = 2 without replacement 8.9733; ten times s = 0.5 is less than its 77.49."""
    event = Release(2.0, "replace_one")
    busy = run(accountant, event, FIXED, [range(10)] * 100)
    assert accountant.epsilon(busy).value == pytest.approx(8.9733, abs=1e-3)
    assert accountant.epsilon(busy).accountant == "rdp"
    strong = Release(1.0, "replace_one")
    evenly = run(accountant, strong, FIXED, [range(t % 10, 100, 10) for t in range(100)])
    assert accountant.epsilon(evenly).value == pytest.approx(gaussian_epsilon(10 / 0.5**2, DELTA))
    assert accountant.epsilon(evenly).accountant == "gaussian"


@pytest.mark.parametrize("sampling", [POISSON, FIXED, FULL, OTHER])
def test_a_release_in_view_of_its_sender_is_never_amplified(accountant, sampling):
    """Local noise: z = 6 seen 4 times by one client is one Gaussian of s = 6 / 2 / sqrt(4) = 1.5."""
    event = Release(6.0, "replace_one", amplified=False)
    state = run(accountant, event, sampling, [[1, 5], [5], [5, 9], [2, 5], []])
    assert accountant.epsilon(state).value == pytest.approx(gaussian_epsilon(1 / 1.5**2, DELTA), rel=1e-9)


def test_noise_that_varies_over_the_rounds_adds_up_by_precision(accountant):
    """By hand: 1 / 1^2 + 1 / 2^2 = 1.25 for client 1, less for the others."""
    state = accountant.charge(Release(1.0, "zero_out"), OTHER, [1, 2], accountant.init())
    state = accountant.charge(Release(2.0, "zero_out"), OTHER, [1, 3], state)
    assert accountant.epsilon(state).value == pytest.approx(gaussian_epsilon(1.25, DELTA), rel=1e-9)


@pytest.mark.parametrize(
    ("event", "sampling", "reason"),
    [
        (Release(1.0, "replace_one"), POISSON, None),
        (Release(1.0, "replace_one"), OTHER, "sampling_mismatch"),
        (Release(1.0, "add_remove"), POISSON, None),
        (Release(1.0, "add_remove"), FULL, None),
        (Release(1.0, "add_remove"), FIXED, "sampling_mismatch"),
        (Release(1.0, "add_remove", amplified=False), OTHER, "sampling_mismatch"),
        (Release(1.0, "swap"), FULL, "sampling_mismatch"),
        (Release(0.0, "add_remove"), POISSON, "no_mechanism"),
        (Release(math.nan, "add_remove"), POISSON, "no_mechanism"),
        (Release(1e-300, "add_remove"), POISSON, "no_mechanism"),
        (NoGuarantee("aggregator"), POISSON, "aggregator"),
    ],
)
def test_what_proves_nothing_has_no_epsilon_but_a_reason(accountant, event, sampling, reason):
    epsilon = accountant.epsilon(accountant.charge(event, sampling, [1, 2], accountant.init()))
    assert epsilon.reason == reason
    assert (epsilon.value is None) == (reason is not None)
    assert (epsilon.accountant is None) == (reason is not None)


def test_a_client_that_is_drawn_twice_in_one_round_proves_nothing(accountant):
    state = accountant.charge(Release(1.0, "add_remove"), OTHER, [4, 4], accountant.init())
    assert accountant.epsilon(state).reason == "sampling_mismatch"


def test_one_round_without_guarantee_is_never_forgotten_and_the_first_reason_stays(accountant):
    good, state = Release(1.0, "add_remove"), accountant.init()
    for event in (good, NoGuarantee("codec"), good, NoGuarantee("aggregator"), good):
        state = accountant.charge(event, POISSON, [1], state)
    assert accountant.epsilon(state) == Epsilon(None, "codec", None)
    assert accountant.epsilon(state, tight=True) == Epsilon(None, "codec", None)


def test_rounds_under_different_rules_are_not_added_up(accountant):
    state = accountant.charge(Release(1.0, "add_remove"), POISSON, [1], accountant.init())
    mixed = accountant.charge(Release(1.0, "zero_out"), POISSON, [1], state)
    assert accountant.epsilon(mixed).reason == "sampling_mismatch"
    mixed = accountant.charge(Release(1.0, "add_remove"), FIXED, [1], state)
    assert accountant.epsilon(mixed).reason == "sampling_mismatch"


def test_a_run_without_delta_proves_nothing_unless_nothing_was_released():
    accountant = Accountant(None, 100)
    assert accountant.epsilon(accountant.init()) == Epsilon(0.0, None, "gaussian")
    state = accountant.charge(NoGuarantee("no_mechanism"), POISSON, [1], accountant.init())
    assert accountant.epsilon(state).reason == "no_mechanism"
    state = accountant.charge(Release(1.0, "add_remove"), POISSON, [1], accountant.init())
    assert accountant.epsilon(state).reason == "no_delta"


def test_poisson_sampling_of_everyone_is_the_exact_gaussian(accountant):
    """Golden value: (z, q, T) = (1, 1, 100) at delta = 1e-5 costs 91.81729; Renyi alone says 96.1."""
    accountant = Accountant(1e-5, 100)
    certain = Sampling("poisson", 100, 1.0, 100.0)
    state = run(accountant, Release(1.0, "add_remove"), certain, [EVERYONE] * 100)
    assert accountant.epsilon(state, tight=True).value == pytest.approx(91.81729, abs=1e-4)
    assert accountant.epsilon(state).accountant == "gaussian"


@pytest.mark.parametrize(
    ("relation", "sampling"), [("add_remove", POISSON), ("replace_one", FIXED), ("zero_out", OTHER)]
)
def test_epsilon_never_falls_from_round_to_round(accountant, relation, sampling):
    state, last = accountant.init(), 0.0
    for t in range(40):
        state = accountant.charge(Release(1.2, relation), sampling, [t % 7, 10 + t % 11], state)
        value = accountant.epsilon(state).value
        assert value >= last
        last = value
    assert last > 1


def test_more_noise_than_can_be_told_apart_is_charged_and_stays_finite(accountant):
    state = run(accountant, Release(1e200, "add_remove"), POISSON, [[1]] * 3)
    assert 0 <= accountant.epsilon(state, tight=True).value < 1e-3


def test_the_ledger_survives_a_checkpoint_and_goes_on_alike(accountant):
    event = Release(1.0 / 3.0, "replace_one")
    state = run(accountant, event, FIXED, [[1, 5, 9], [2, 5, 7]])
    skeleton, tensors = pack(state)
    restored = unpack(json.loads(json.dumps(skeleton)), tensors)
    assert equal(restored, state)
    going_on = accountant.charge(event, FIXED, [5], state)
    resumed = accountant.charge(event, FIXED, [5], restored)
    assert equal(going_on, resumed)
    assert accountant.epsilon(going_on) == accountant.epsilon(resumed)


def test_charging_leaves_the_ledger_before_as_it_was(accountant):
    before = run(accountant, Release(1.0, "add_remove"), OTHER, [[1, 5]])
    copy = unpack(*pack(before))
    accountant.charge(Release(1.0, "add_remove"), OTHER, [1, 7], before)
    assert equal(before, copy)


def test_delta_is_called_out_from_one_over_the_number_of_clients():
    assert Accountant(0.01, 100).delta_warning
    assert not Accountant(0.0099, 100).delta_warning
    assert not Accountant(None, 100).delta_warning


@pytest.mark.parametrize(
    ("delta", "num_clients", "message"),
    [(0.0, 10, "got 0.0"), (1.0, 10, "got 1.0"), (math.nan, 10, "got nan"), (0.1, 0, "at least 1, got 0")],
)
def test_an_accountant_out_of_range_is_refused(delta, num_clients, message):
    with pytest.raises(ValueError, match=message):
        Accountant(delta, num_clients)


def test_a_live_epsilon_costs_next_to_nothing_after_the_first_round(accountant):
    state = accountant.charge(Release(1.0, "add_remove"), POISSON, [1], accountant.init())
    accountant.epsilon(state)
    best = math.inf
    for _ in range(10):
        start = time.perf_counter()
        state = accountant.charge(Release(1.0, "add_remove"), POISSON, [1], state)
        accountant.epsilon(state)
        best = min(best, time.perf_counter() - start)
    assert best < 5e-3  # about 0.5 ms on one core


SHAPES = {"laplace": (2.0,), "skellam": (10.0, 100.0, 400.0), "discrete_gaussian": (0.5, 5.0, 0.0, 64.0)}


@pytest.mark.parametrize("noise", SHAPES)
@pytest.mark.parametrize(
    ("sampling", "relation", "amplified", "proves"),
    [
        (POISSON, "add_remove", True, True),
        (POISSON, "zero_out", False, True),
        (FIXED, "zero_out", True, True),
        (FIXED, "add_remove", True, False),
        (OTHER, "add_remove", False, False),
        (FULL, "replace_one", True, True),
        (OTHER, "replace_one", False, True),
        (POISSON, "replace_one", True, False),
        (FIXED, "replace_one", True, False),
        (OTHER, "swap", True, False),
    ],
)
def test_other_noise_follows_the_same_table(accountant, noise, sampling, relation, amplified, proves):
    event = Release(1.0, relation, amplified, noise, SHAPES[noise])
    epsilon = accountant.epsilon(run(accountant, event, sampling, [[1, 2]] * 3))
    assert (epsilon.reason is None) == proves
    assert epsilon.reason in (None, "sampling_mismatch")
    assert not proves or epsilon.value > 0


@pytest.mark.parametrize("noise", SHAPES)
def test_the_ledger_of_other_noise_survives_a_checkpoint(accountant, noise):
    event = Release(1.0, "zero_out", True, noise, SHAPES[noise])
    state = run(accountant, event, FIXED, [[1, 2], [2, 3]])
    skeleton, tensors = pack(state)
    restored = unpack(json.loads(json.dumps(skeleton)), tensors)
    assert equal(restored, state)
    going_on = accountant.charge(event, FIXED, [2], restored)
    assert accountant.epsilon(going_on) == accountant.epsilon(
        run(accountant, event, FIXED, [[1, 2], [2, 3], [2]])
    )
    values = [accountant.epsilon(run(accountant, event, FIXED, [[7]] * t)).value for t in range(1, 6)]
    assert values == sorted(values)


def test_noise_of_two_kinds_or_an_unknown_one_proves_nothing(accountant):
    state = accountant.charge(Release(1.0, "add_remove"), FULL, [1], accountant.init())
    laplace = Release(1.0, "add_remove", True, "laplace", (2.0,))
    assert accountant.epsilon(accountant.charge(laplace, FULL, [1], state)).reason == "sampling_mismatch"
    odd = Release(1.0, "add_remove", True, "uniform", (2.0,))
    assert (
        accountant.epsilon(accountant.charge(odd, FULL, [1], accountant.init())).reason == "sampling_mismatch"
    )


def test_a_bound_beyond_every_number_is_no_epsilon(accountant):
    """Skellam noise of variance 1e-320: every Renyi divergence overflows."""
    event = Release(1.0, "add_remove", True, "skellam", (1.0, 1.0, 1e-320))
    state = accountant.charge(event, FULL, [1], accountant.init())
    assert accountant.epsilon(state) == Epsilon(None, "not_finite", None)


def test_a_live_bound_above_the_budget_is_worked_out_tightly_and_never_falls():
    """z = 1, q = 0.1, T = 100, delta = 1e-3: Renyi 5.655, privacy loss distributions 4.784."""
    state = run(Accountant(1e-3, 100), Release(1.0, "add_remove"), POISSON, [[1]] * 100)
    within, beyond = Accountant(1e-3, 100, 5.0), Accountant(1e-3, 100, 4.7)
    assert within.epsilon(state) == Epsilon(5.0, None, "pld")
    assert within.epsilon(state, tight=True).value == pytest.approx(4.784, abs=5e-3)
    assert beyond.epsilon(state).value == pytest.approx(4.784, abs=5e-3)
    assert Accountant(1e-3, 100, 6.0).epsilon(state).accountant == "rdp"
    values = []
    state = within.init()
    for _ in range(105):
        state = within.charge(Release(1.0, "add_remove"), POISSON, [1], state)
        if len(values) < 85 or len(values) > 100:
            values.append(within.epsilon(state).value)
        else:
            values.append(values[-1])
    assert values == sorted(values)


def test_a_budget_out_of_range_is_refused():
    for value in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="max_epsilon must be finite and above 0, got"):
            Accountant(1e-3, 100, value)
