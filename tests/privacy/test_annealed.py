import pytest
import torch

from gauntlet.core.contracts import NoGuarantee, Sampling
from gauntlet.core.layout import Layout
from gauntlet.core.seeds import generator
from gauntlet.core.updates import Context, Updates
from gauntlet.privacy.accounting import Accountant
from gauntlet.privacy.accounting.curves import gaussian_epsilon
from gauntlet.privacy.annealed import Annealed

GOLDEN = {
    0.01: (0.1, 0.0517, 0.0281, 0.0150, 0.0079),
    0.3: (0.5477, 0.2833, 0.1539, 0.0819, 0.0435),
    1.0: (1.0, 0.5172, 0.2811, 0.1496, 0.0794),
}


@pytest.mark.parametrize("eta", GOLDEN)
def test_the_noise_fades_as_published(eta):
    """sigma_t^2 = eta / (1 + t)^0.55: golden standard deviations at t = 0, 10, 100, 1000, 10000."""
    found = [Annealed(eta=eta).noise_std(t) for t in (0, 10, 100, 1000, 10_000)]
    assert found == pytest.approx(GOLDEN[eta], abs=5e-5)


def test_the_servers_noise_has_the_step_of_the_whole_run():
    """Standard deviations within 2 %; the state goes on counting over rounds."""
    mechanism, state, zeros = Annealed(eta=0.3), 0, torch.zeros(100_000)
    for t in range(3):
        noised, state = mechanism.noise(zeros, 10.0, state, generator(0, "noise", t))
        assert float(noised.double().std()) == pytest.approx((0.3 / (1 + t) ** 0.55) ** 0.5, rel=0.02)
    assert state == 3


def test_a_clients_noise_has_the_step_of_the_round_and_comes_after_clipping():
    mechanism = Annealed(eta=0.3, where="local", clip_norm=0.5)
    layout = Layout.of(torch.nn.Linear(2, 1))
    context = Context(10, torch.zeros(3), layout, 0)
    rows = torch.full((2, 100_000), 1.0)
    updates = Updates(rows, torch.arange(2), torch.ones(2, dtype=torch.int64), context=context)
    sent = mechanism.privatize(updates, lambda i: generator(0, "client noise", i)).vectors.double()
    noise = sent - 0.5 / 100_000**0.5
    assert float(noise.std()) == pytest.approx(0.2833, rel=0.02)
    assert abs(float((noise[0] * noise[1]).mean())) < 6 * 0.2833**2 / 100_000**0.5
    assert mechanism.noise(torch.zeros(3), 10.0, 4, generator(0, "noise"))[0].tolist() == [0.0] * 3
    assert torch.equal(rows, torch.full((2, 100_000), 1.0))


def test_it_proves_nothing_however_much_noise_there_is():
    assert Annealed(eta=1e6).event(0.1, 10.0, 0) == NoGuarantee("uncalibrated_noise")
    assert Annealed(eta=0.0).event(0.1, 10.0, 0) == NoGuarantee("no_mechanism")
    assert Annealed().trust_model == Annealed().unit == "none"


def test_calibrated_it_is_a_gaussian_of_less_and_less_noise():
    """By hand: z_t = sigma_t m / C; two full rounds cost one Gaussian of precision 1/z_0^2 + 1/z_1^2."""
    mechanism = Annealed(eta=0.3, clip_norm=0.5, calibrated=True, delta=1e-5)
    accountant, full = Accountant(1e-5, 10), Sampling("full", 10, 1.0, 10.0)
    ledger, state = accountant.init(), mechanism.init()
    for t in range(2):
        _, state = mechanism.noise(torch.zeros(3), 10.0, state, generator(0, "noise", t))
        ledger = accountant.charge(mechanism.event(0.05, 10.0, state), full, range(10), ledger)
    z0, z1 = 0.3**0.5 * 10 / 0.5, (0.3 / 2**0.55) ** 0.5 * 10 / 0.5
    expected = gaussian_epsilon(1 / z0**2 + 1 / z1**2, 1e-5)
    assert accountant.epsilon(ledger).value == pytest.approx(expected, rel=1e-9)
    assert mechanism.event(None, 10.0, 0) == NoGuarantee("aggregator")
    assert (mechanism.trust_model, mechanism.unit) == ("central", "client")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eta": -1.0}, "eta must be finite and at least 0, got -1.0"),
        ({"gamma": float("nan")}, "gamma must be finite and at least 0, got nan"),
        ({"where": "both"}, "where must be server or local, got 'both'"),
        ({"clip_norm": 0.0}, "clip_norm must be finite and at least 1e-20, got 0.0"),
        ({"delta": 1.0}, "delta must be between 0 and 1, both excluded, got 1.0"),
        ({"calibrated": True}, "calibrated needs clip_norm, delta, eta above 0"),
        ({"calibrated": True, "clip_norm": 1.0, "delta": 0.1, "where": "local"}, "where 'local'"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Annealed(**options)
