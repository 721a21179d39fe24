"""Laws of durations against their moments, bursts against their chain, measured delays against the files."""

from math import exp, sqrt
from pathlib import Path

import numpy as np
import pytest

from gauntlet.clients.data.files import find_folder
from gauntlet.core.errors import DataError, PluginError
from gauntlet.core.seeds import generator
from gauntlet.server.networks.bursts import Bursts
from gauntlet.server.networks.durations import Durations
from gauntlet.server.networks.script import Script
from gauntlet.server.networks.trace import FILE, NAME, Trace
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

N = 20_000
OWN = Path(__file__).with_name("delays.csv")
LAWS = [  # options, mean, standard deviation, least
    ({"law": "constant", "seconds": 3.0}, 3.0, 0.0, 3.0),
    ({"law": "gaussian", "seconds": 5.0, "std": 1.0}, 5.0, 1.0, 0.0),
    (
        {"law": "half_normal", "std": 2.0, "least_seconds": 1.0},
        1 + 2 * sqrt(2 / np.pi),
        2 * sqrt(1 - 2 / np.pi),
        1.0,
    ),
    ({"law": "uniform", "seconds": 3.0, "least_seconds": 1.0}, 3.0, 4 / sqrt(12), 1.0),
    ({"law": "exponential", "seconds": 2.0}, 2.0, 2.0, 0.0),
    (
        {"law": "lognormal", "seconds": 2.0, "std": 0.5},
        2 * exp(0.125),
        2 * exp(0.125) * sqrt(exp(0.25) - 1),
        0.0,
    ),
]


def drawn(network, examples=None):
    examples = np.ones(N, dtype=np.int64) if examples is None else np.array(examples)
    return network.deliver(examples, 0, np.zeros(len(examples), dtype=np.int64), generator(0, "network", 0))


@pytest.mark.parametrize(("options", "mean", "std", "least"), LAWS, ids=lambda v: str(v))
def test_each_law_has_its_moments(options, mean, std, least):
    """Within 5 standard errors; of the deviation, 4 %."""
    fate = drawn(Durations(**options))
    assert abs(fate.client_seconds.mean() - mean) <= 5 * std / sqrt(N)
    assert fate.client_seconds.std() == pytest.approx(std, rel=0.04)
    assert fate.client_seconds.min() >= least
    assert fate.arrived.all()
    assert fate.round_seconds == fate.client_seconds.max()


def test_a_gaussian_is_cut_at_its_least_duration():
    """FLSim's is not, and then time may run backwards: P(N(1, 1) < 0) = 0.1587."""
    seconds = drawn(Durations(law="gaussian", std=1.0)).client_seconds
    assert abs((seconds == 0).mean() - 0.15866) < 5 * sqrt(0.15866 * 0.84134 / N)


def test_a_duration_per_example_is_multiplied_and_says_so():
    network = Durations(seconds=0.5, per_example=True)
    assert drawn(network, [4, 10]).client_seconds.tolist() == [2.0, 5.0]
    assert (network.timed_by, Durations().timed_by) == (("examples",), ())


BURSTS = [(0.05, 1.1), (0.3, 4.0), (0.4, 1.0)]


@pytest.mark.parametrize(("slow", "burst"), BURSTS)
def test_bursts_are_as_frequent_and_as_long_as_the_chain_says(slow, burst):
    """40 clients in 100 rounds, within 5 standard errors of independent rounds, stretched by the bursts."""
    network = Bursts(slow=slow, mean_burst=burst)
    states = np.array([[network.is_slow(i, r, 3) for r in range(100)] for i in range(40)])
    error = sqrt(slow * (1 - slow) / states.size * (2 * burst + 1))
    assert abs(states.mean() - slow) < 5 * error
    assert abs(states[:, 0].mean() - slow) < 5 * sqrt(slow * (1 - slow) / 40)  # from the first round on
    ends = (states[:, :-1] & ~states[:, 1:]).sum()
    assert states[:, :-1].sum() / ends == pytest.approx(burst, rel=0.15)


def test_a_slow_round_takes_so_many_times_as_long_and_an_outlier_ten_to_a_hundred():
    plain, ids = Bursts(jitter=0.0, outliers=0.0, slow=0.4), np.arange(200)
    seconds, slow = plain.own_seconds(ids, 2, 0), [plain.is_slow(i, 2, 0) for i in ids.tolist()]
    assert (seconds[~np.array(slow)] == 0.6).all()
    assert 1.2 <= seconds[slow].min() < 1.3
    assert 1.7 < seconds[slow].max() <= 1.8
    far = Bursts(jitter=0.0, slow=0.0, outliers=1.0).own_seconds(ids, 2, 0)
    assert far.min() >= 6.0
    assert far.max() <= 60.0
    assert np.median(far) == pytest.approx(0.6 * 10**1.5, rel=0.25)


def test_a_trace_is_read_by_worker_and_round_and_grows_with_the_load():
    """By hand: workers 0, 1, 2 and 0 again in round 3, the file's round 1; the slope is 1 s."""
    ids = np.array([0, 1, 2, 3])
    assert Trace(path=str(OWN)).own_seconds(ids, 3, 0).tolist() == [2.0, 0.5, 0.5, 2.0]
    loaded = Trace(path=str(OWN), load=0.25).own_seconds(ids, 0, 9)
    np.testing.assert_allclose(loaded, [0.75, 1.25, 1.0, 0.75], rtol=1e-12)


@pytest.mark.skipif(find_folder(NAME, (FILE,)) is None, reason="the measured delays are not on this machine")
def test_the_measured_delays_are_those_of_the_published_file():
    """Mean 0.703, median 0.644, maximum 2.25 s at load 0; 5.0 % of them above twice the least of the round;
    0.7108 s and a slope of 1.1218 s by least squares over all loads."""
    zero, slope = Trace().measured()
    assert zero.shape == (30, 256)
    assert (zero.mean(), np.median(zero), zero.max()) == pytest.approx((0.703, 0.644, 2.25), abs=0.005)
    assert (zero > 2 * zero.min(axis=1, keepdims=True)).mean() == pytest.approx(0.05, abs=0.0005)
    assert slope == pytest.approx(1.1218, abs=1e-4)


def test_a_run_takes_the_seconds_of_its_clients_and_rounds(small):
    """By hand: the slowest of eight clients in each round of the script, the third and the sixth."""
    options = {"seconds": [[1.0, 2.0, 4.0], [0.5, 0.5, 0.5, 0.5, 0.5, 3.0, 0.5, 0.5]]}
    run = prepare(small(network=PluginSpec("script", options), rounds=2))
    steps = list(run.steps(run.serial_pool()))
    assert [step.state.clock for step in steps] == [4.0, 7.0]
    assert steps[1].outcome.delivery.client_seconds.tolist() == [0.5] * 5 + [3.0] + [0.5] * 2
    over = prepare(small(network=PluginSpec("script", options), rounds=3))
    with pytest.raises(PluginError, match="written down for 2 rounds, and round 2 came"):
        list(over.steps(over.serial_pool()))


BAD = [
    (Durations, {"law": "weibull"}, "law must be one of constant, gaussian"),
    (Durations, {"seconds": 0.0}, "seconds must be above 0 and finite, got 0.0"),
    (Durations, {"std": -1.0}, "std must be at least 0 and finite, got -1.0"),
    (Durations, {"law": "uniform", "least_seconds": 2.0}, "least_seconds must be at most seconds, 1.0"),
    (Bursts, {"seconds": float("inf")}, "seconds must be above 0"),
    (Bursts, {"jitter": -0.1}, "jitter must be at least 0"),
    (Bursts, {"slow": 0.6}, "slow must be from 0 to 0.5, got 0.6"),
    (Bursts, {"mean_burst": 0.5}, "mean_burst must be at least 1"),
    (Bursts, {"slow_factors": (3.0, 2.0)}, "ascending"),
    (Bursts, {"outliers": 2.0}, "outliers must be from 0 to 1"),
    (Script, {"seconds": [[]]}, "at least one duration"),
    (Script, {"seconds": [[-1.0]]}, "finite and at least 0, got -1.0"),
    (Trace, {"path": str(OWN), "load": 2.0}, "load must be from 0 to 1, got 2.0"),
]


@pytest.mark.parametrize(("network", "options", "words"), BAD)
def test_options_that_cannot_be_are_refused(network, options, words):
    with pytest.raises(ValueError, match=words):
        network(**options)


def test_a_file_that_is_no_trace_is_refused(tmp_path):
    file = tmp_path / "mine.csv"
    with pytest.raises(DataError, match=r"there is no file .*mine\.csv"):
        Trace(path=str(file))
    file.write_text("round,worker,duration_s\n0,0,1.0\n")
    with pytest.raises(DataError, match="has no column load; a trace has load, round, worker, duration_s"):
        Trace(path=str(file))
    hole = tmp_path / "hole.csv"
    hole.write_text("load,round,worker,duration_s\n0,0,0,1.0\n0,1,1,1.0\n")
    with pytest.raises(DataError, match="holds no whole table of delays at load 0"):
        Trace(path=str(hole))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("", "is no CSV file"),
        ("0,0,0,1.0\n0.5,0,0,nan\n", "finite numbers in column duration_s"),  # its slope would be NaN
        ("0,0,0,1.0\ninf,0,0,2.0\n", "finite numbers in column load"),
        ("0,0,0,slow\n", "finite numbers in column duration_s"),
        ("0,0,0,1.0\n0,0,0,9.0\n", "one delay of a worker at a load in a round, and holds several"),
    ],
)
def test_rows_that_no_delay_follows_from_are_refused(tmp_path, rows, words):
    file = tmp_path / "mine.csv"
    file.write_text(rows and "load,round,worker,duration_s\n" + rows)
    with pytest.raises(DataError, match=words):
        Trace(path=str(file))
