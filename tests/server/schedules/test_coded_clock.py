"""Gradient coding within a round: ``quorum`` on measured delays is its clock, and what it leaves decodes.

Oracle: ``parts.coded_rounds.replay`` (the authors' rule of a round's length, on the published delays), and
the gradient over all examples at once.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from event_script import script

from gauntlet.clients.algorithms.parts.gradient_code import cyclic, decoding
from gauntlet.clients.data.digits import Digits
from gauntlet.clients.data.files import find_folder
from gauntlet.core.contracts import Traffic
from gauntlet.server.networks.trace import FILE, NAME, Trace
from gauntlet.server.schedules.bursty import Bursty
from gauntlet.server.schedules.parts.coded_rounds import Multiplexed, SelectiveRepeat, replay
from gauntlet.server.schedules.quorum import Quorum
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

WORKERS, JOBS = 256, 26
MEASURED = pytest.mark.skipif(
    find_folder(NAME, (FILE,)) is None, reason="the measured delays are not on this machine"
)


def round_of(seconds, now, schedule, state=None):
    """Play one round of workers that begin together; return its length, who counts, and the memory."""
    ids, zeros = np.arange(len(seconds)), np.full(len(seconds), now)
    waits = np.full(len(seconds), now + seconds.max())
    traffic = Traffic(0, now, ids, ids, np.zeros_like(ids), zeros, now + seconds, waits)
    found, state = schedule.arrivals(traffic, state)
    return found.at - now, found.counted, state


@MEASURED
@pytest.mark.parametrize(("spare", "total", "waited"), [(0, 40.87, 26), (14, 33.67, 2)])
def test_the_clock_of_gradient_coding_is_a_quorum_with_as_many_late_as_the_code_spares(spare, total, waited):
    """docs/papers/algorithms.md: 26 jobs of 256 workers in 40.87 s uncoded, and in 33.67 s with s = 14."""
    scheme = SelectiveRepeat(WORKERS, spare)
    network, schedule = Trace(load=scheme.load), Quorum(slack=1.0, most_late=spare)
    delays = np.stack([network.own_seconds(np.arange(WORKERS), r, 0) for r in range(JOBS)])
    clock, whole, lengths = 0.0, 0, []
    for seconds in delays:
        length, counted, _ = round_of(seconds, clock, schedule)
        clock, whole = clock + length, whole + bool(counted.all())
        lengths.append(length)
        assert (~counted).sum() <= spare
    oracle = replay(scheme, delays, JOBS)
    assert lengths == pytest.approx(oracle.seconds, abs=1e-9)
    assert clock == pytest.approx(total, abs=0.01)
    assert (oracle.waited, oracle.decoded) == (waited, JOBS)
    assert whole >= waited


@MEASURED
@pytest.mark.parametrize(
    ("scheme", "total", "waited"),
    [(Multiplexed(WORKERS, 26, 1, 2), 34.73, 10), (SelectiveRepeat(WORKERS, 22, 1, 2), 35.82, 6)],
    ids=["m_sgc", "sr_sgc"],
)
def test_the_clock_of_codes_over_rounds_is_that_of_bursty(scheme, total, waited):
    """docs/papers/algorithms.md: 26 jobs in 27 rounds, 34.73 s of M-SGC and 35.82 s of SR-SGC."""
    network, schedule = Trace(load=scheme.load), Bursty(burst=1, window=2, most_late=scheme.most)
    rounds = JOBS + scheme.delay
    delays = np.stack([network.own_seconds(np.arange(WORKERS), r, 0) for r in range(rounds)])
    clock, lengths, whole, memory = 0.0, [], 0, schedule.init()
    for seconds in delays:
        length, counted, memory = round_of(seconds, clock, schedule, memory)
        clock, whole = clock + length, whole + bool(counted.all())
        lengths.append(length)
    oracle = replay(scheme, delays, JOBS)
    assert lengths == pytest.approx(oracle.seconds, abs=1e-9)
    assert clock == pytest.approx(total, abs=0.01)
    assert (oracle.waited, oracle.decoded) == (waited, JOBS)
    assert waited <= whole < rounds


def test_stragglers_of_a_burst_that_is_over_are_waited_for():
    """B = 1, W = 3, two at most, by hand: who straggles again within two rounds, or is a third."""
    schedule, memory, clock = Bursty(burst=1, window=3, most_late=2), [], 0.0
    slow = [[0], [1], [0], [3], [2, 4], [1, 3, 4], []]
    left, lengths = [[0], [1], [], [3], [], [], []], []
    for late, expected in zip(slow, left, strict=True):
        seconds = np.ones(5)
        seconds[late] = 7.0
        length, counted, memory = round_of(seconds, clock, schedule, memory)
        assert np.flatnonzero(~counted).tolist() == expected
        lengths.append(length)
    assert lengths == [2, 2, 7, 2, 7, 7, 1]


@MEASURED
def test_the_engine_keeps_the_same_clock():
    """Three rounds of 256 clients, of which those at the end count that the code can tell the sum from."""
    scheme = SelectiveRepeat(WORKERS, 14)
    spec = script([1] * WORKERS, "/".join([" ".join(map(str, range(WORKERS)))] * 3), 3)
    changes = {
        "network": PluginSpec("trace", {"load": scheme.load}),
        "schedule": PluginSpec("quorum", {"slack": 1.0, "most_late": 14}),
    }
    run = prepare(replace(spec, **changes))
    delays = np.stack([Trace(load=scheme.load).own_seconds(np.arange(WORKERS), r, 0) for r in range(3)])
    steps = list(run.steps(run.serial_pool()))
    assert steps[-1].state.clock == pytest.approx(sum(replay(scheme, delays, 3).seconds), abs=0.01)
    assert all(WORKERS - 14 <= len(step.outcome.received) <= WORKERS for step in steps)
    assert any(len(step.outcome.received) < WORKERS for step in steps)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_a_quorum_leaves_decodes_to_the_gradient_of_all_examples(seed):
    """32 workers, each with 8 of 32 chunks of digits that others hold too; in float64 below 1e-8."""
    n, spare, chance = 32, 7, np.random.default_rng(seed)
    pile = Digits().load()
    size = len(pile.y) // n
    x = torch.from_numpy(pile.x[: n * size].reshape(n * size, -1)).double()
    y = torch.from_numpy(pile.y[: n * size])
    weight = torch.from_numpy(0.1 * chance.standard_normal((10, x.shape[1])))

    def gradient(rows):
        w = weight.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(x[rows] @ w.T, y[rows], reduction="sum")
        return torch.autograd.grad(loss, w)[0].flatten().numpy()

    chunks = np.stack([gradient(slice(i * size, (i + 1) * size)) for i in range(n)])
    code = cyclic(n, spare, chance)
    sent = np.stack([code[i, held] @ chunks[held] for i in range(n) for held in [np.flatnonzero(code[i])]])
    seconds = 1 + 0.2 * chance.random(n)
    seconds[chance.choice(n, spare, replace=False)] += 5
    length, counted, _ = round_of(seconds, 0.0, Quorum(slack=1.0, most_late=spare))
    came = np.flatnonzero(counted)
    assert (len(came), length) == (n - spare, pytest.approx(2 * seconds.min()))
    truth = gradient(slice(None))
    found = decoding(code, came) @ sent[came]
    assert np.linalg.norm(found - truth) < 1e-8 * np.linalg.norm(truth)
