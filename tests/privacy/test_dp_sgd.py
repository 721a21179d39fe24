"""What local steps cost, against golden values, closed forms and another library; and what is refused."""

import numpy as np
import pytest
import torch

from gauntlet.core.contracts import NoGuarantee, Release, Sampling
from gauntlet.core.errors import PluginError
from gauntlet.privacy import PRIVACY
from gauntlet.privacy.accounting import Accountant
from gauntlet.privacy.accounting.calibration import calibrate, calibrate_steps
from gauntlet.privacy.accounting.curves import gaussian_epsilon, rdp_epsilon
from gauntlet.privacy.accounting.local_steps import worst_epsilon
from gauntlet.privacy.dp_sgd import DpSgd

BUDGET = {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-5}
FULL = Sampling("full", 3, 1.0, 3.0)


def cost(z, rates, steps, delta, tight=False):
    return worst_epsilon(z, np.array(rates, dtype=float), np.array(steps, dtype=float), delta, tight)


@pytest.mark.parametrize(
    ("case", "renyi", "pld"),
    [
        ((1.5, 0.04, 2250, 1e-5), 7.3284, 6.7688),
        ((1.0, 0.01, 1000, 1e-5), 2.1013, 1.8282),
        ((1.0, 0.1, 100, 100**-1.1), 4.5800, 3.7239),
        ((1.3, 150 / 60000, 6000, 1e-5), 0.7242, 0.6401),
    ],
)
def test_one_clients_steps_have_the_golden_values(case, renyi, pld):
    """As one release of the server's: the Renyi bounds of ``test_curves``, dp-accounting's distributions."""
    z, q, steps, delta = case
    live, tight = (cost(z, [q], [steps], delta, t) for t in (False, True))

    assert live == (pytest.approx(renyi, rel=1e-4), "rdp")
    assert tight == (pytest.approx(pld, rel=1e-3), "pld")


def test_steps_that_touch_every_example_are_gaussians_one_after_the_other():
    """Closed form: z / sqrt(T)."""
    assert cost(1.0, [1.0], [100], 1e-5) == (pytest.approx(91.81729, rel=1e-6), "gaussian")
    assert cost(3.0, [1.0], [7], 1e-3, tight=True)[0] == pytest.approx(gaussian_epsilon(7 / 9, 1e-3))


def test_epsilon_is_the_worst_clients_own_and_not_their_sum():
    """Clients hold different examples. Oracle: Opacus' arithmetic by dp-accounting, one client at a time."""
    clients = [(0.5, 10), (0.1, 300), (0.1, 20), (0.02, 400)]
    alone = [rdp_epsilon([("poisson", 1.2, q, 1, t)], 1e-4) for q, t in clients]
    value, _ = cost(1.2, *zip(*clients, strict=True), 1e-4)

    assert value == pytest.approx(max(alone), rel=0.02)
    assert value >= max(alone) * (1 - 1e-9)


def test_a_tight_bound_is_the_largest_of_all_clients_tight_bounds():
    """Renyi and privacy loss distributions need not agree on who is worst."""
    clients = [(0.5, 10), (0.1, 300), (0.3, 30)]
    alone = [cost(1.2, [q], [t], 1e-4, tight=True)[0] for q, t in clients]

    assert cost(1.2, *zip(*clients, strict=True), 1e-4, tight=True)[0] == pytest.approx(max(alone))


def test_a_round_in_which_a_client_stays_away_costs_it_nothing():
    """Two of three clients a round, rates 1: 2 rounds of 3 steps for the busiest; exact Gaussian."""
    steps = {0: 3, 1: 1, 2: 2}
    accountant = Accountant(
        1e-3, 60, local=lambda ids: (torch.ones(len(ids)), torch.tensor([steps[i] for i in ids]).double())
    )
    state, release = accountant.init(), DpSgd(1.0, noise_multiplier=2.0, delta=1e-3).event(None, 2.0, None)
    assert accountant.epsilon(state).value == 0
    seen = []
    for cohort in ([0, 1], [1, 2], [0, 2], []):
        state = accountant.charge(release, FULL, cohort, state)
        seen.append(accountant.epsilon(state).value)
    expected = [gaussian_epsilon(n / 4, 1e-3) for n in (3, 3, 6, 6)]

    assert seen == pytest.approx(expected)


def test_nothing_is_claimed_where_nobody_tells_the_steps_or_the_noise_changed():
    release = Release(1.0, "zero_out", local_steps=True)
    silent = Accountant(1e-3, 60)
    state = silent.charge(release, FULL, [0], silent.init())
    assert silent.epsilon(state).reason == "sampling_mismatch"

    told = Accountant(1e-3, 60, local=lambda ids: (torch.ones(len(ids)), torch.ones(len(ids))))
    state = told.charge(release, FULL, [0], told.init())
    state = told.charge(Release(2.0, "zero_out", local_steps=True), FULL, [0], state)
    assert told.epsilon(state).reason == "sampling_mismatch"
    assert DpSgd(1.0, noise_multiplier=0.0).event(1.0, 1.0, None) == NoGuarantee("no_mechanism")


@pytest.mark.parametrize("target", [1.0, 8.0])
def test_calibrated_noise_costs_the_worst_client_no_more_than_it_may(target):
    """The spent epsilon lies within a thousandth below the budget."""
    rates, steps = np.array([0.3, 0.1]), np.array([4.0, 10.0])
    mechanism = calibrate_steps(DpSgd(1.0, epsilon=target, delta=1e-4), rates, steps, 10)
    spent = cost(mechanism.noise_multiplier, rates, 10 * steps, 1e-4, tight=True)[0]

    assert target * (1 - 1e-3) <= spent <= target
    assert mechanism.epsilon is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clipping": "quantile"}, "one for a single gradient"),
        ({"batches": "fixed"}, "shuffle"),
        ({"clip_norm": 0.0}, "at least 1e-20"),
        ({"relation": "add_remove"}, "unknown option 'relation'"),
        ({"epsilon": 3.0}, "give noise_multiplier and delta, or epsilon and delta"),
    ],
)
def test_options_out_of_range_are_refused_in_one_line(options, words):
    with pytest.raises(PluginError, match=words):
        PRIVACY.build("dp_sgd", {**BUDGET, **options})


def test_epsilon_cannot_become_noise_without_the_clients_numbers_of_examples():
    with pytest.raises(ValueError, match="how many examples each client holds"):
        calibrate(DpSgd(1.0, epsilon=3.0, delta=1e-4), FULL, 3)


@pytest.mark.parametrize(
    ("clipping", "expected"),
    [
        ("fixed", [1, 1, 1, 1, 1, 1, 0.2]),
        ("autos", [100, 16.67, 9.09, 4.42, 1.96, 0.990, 0.200]),
        ("psac", [1, 1.395, 1.667, 1.878, 1.5, 0.917, 0.199]),
    ],
)
def test_weights_are_those_of_the_papers(clipping, expected):
    """The golden table of clipping weights for norms 0 to 5 and C = 1."""
    norms = torch.tensor([0.0, 0.05, 0.1, 0.216, 0.5, 1.0, 5.0])
    weights = DpSgd(**BUDGET, clipping=clipping).weigh(norms.square()[None], [9])

    assert weights[0].tolist() == pytest.approx(expected, rel=2e-3)


def test_a_layer_is_clipped_to_its_share_of_c():
    """By hand: two tensors, C = 1: each to 1 / sqrt(2); lengths 2 and 0.1."""
    weights = DpSgd(**BUDGET, clipping="per_layer").weigh(torch.tensor([[4.0], [0.01]]), [9, 1])

    assert weights.flatten().tolist() == pytest.approx([0.5**0.5 / 2, 1.0], rel=1e-5)
