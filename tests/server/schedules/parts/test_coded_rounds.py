"""Gradient coding over rounds: loads, what may straggle, and that every job can be told in time.

Oracle: the paper's load formulas and its promise that conforming patterns decode; hand-made delays.
"""

import numpy as np
import pytest

from gauntlet.server.schedules.parts.coded_rounds import Multiplexed, SelectiveRepeat, bursty, replay

SCHEMES = [
    SelectiveRepeat(12, 0),
    SelectiveRepeat(12, 1),
    SelectiveRepeat(12, 4, 1, 2),
    SelectiveRepeat(12, 5, 2, 5),
    Multiplexed(12, 3, 1, 2),
    Multiplexed(12, 4, 2, 3),
    Multiplexed(12, 12, 1, 3),
    Multiplexed(12, 5, 3, 5),
]


def late(*workers, n=4):
    return np.isin(np.arange(n), workers)


def test_loads_are_the_papers():
    assert Multiplexed(256, 27, 1, 2).load == pytest.approx(0.0075431, abs=1e-7)
    repeat = SelectiveRepeat(256, 23, 2, 3)
    assert (repeat.spare, repeat.load) == (12, pytest.approx(0.0507813, abs=1e-7))
    assert SelectiveRepeat(256, 15).load == 0.0625
    assert Multiplexed(12, 12, 1, 3).load == 3 / 24
    assert Multiplexed(12, 4, 2, 3).delay == 3


def test_bursts_conform_by_the_two_rules():
    """B = 1, W = 3: at most two workers within three rounds, and nobody again within two."""
    assert bursty([late(0), late()], late(1), 1, 3, 2)
    assert not bursty([late(0), late(2)], late(1), 1, 3, 2)
    assert not bursty([late(0), late()], late(0), 1, 3, 2)
    assert bursty([late(0), late(), late()], late(0), 1, 3, 2)
    assert bursty([late(0)], late(0), 2, 3, 2)  # one burst of two rounds


@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_every_job_is_told_in_time_whoever_straggles(scheme):
    """Heavy tails, 40 seeds: also where few patterns conform, and between the fastest and the slowest."""
    waited, left = 0, 0
    for seed in range(40):
        draw = np.random.default_rng(seed)
        delays = 1 + 0.3 * draw.random((30, 12)) + 4 * (draw.random((30, 12)) < 0.04)
        found = replay(scheme, delays, 20)
        rounds = len(found.seconds)
        assert (rounds, found.decoded) == (20 + scheme.delay, 20)
        assert delays[:rounds].min(1).sum() < sum(found.seconds) < delays[:rounds].max(1).sum() + 1e-9
        waited += found.waited
        left += rounds - found.waited
    assert waited > 0
    assert left > 0


def test_a_straggler_more_than_the_code_stands_is_waited_for():
    delays = np.ones((2, 4))
    delays[0, 0], delays[1, :2] = 5.0, 5.0
    found = replay(SelectiveRepeat(4, 1), delays, 2)
    assert (found.seconds, found.waited) == ((2.0, 5.0), 1)


def test_missing_results_are_done_again_and_no_more_than_need_be():
    """s = 1 of 4 and two stragglers: worker 0, the first of them, repeats; job 1 lacks its result then."""
    progress = SelectiveRepeat(4, 2, 1, 2).begin(2)
    progress.play(late(0, 1))
    assert not progress.decodable(0)
    progress.play(late())
    assert progress.decodable(0)
    assert progress.came.tolist() == [[True, False, True, True], [False, True, True, True]]
    assert progress.decodable(1)


def test_a_worker_makes_up_for_its_own_chunk_before_it_codes():
    """W = 2, B = 1: worker 0 misses its chunk of job 0, and does it in the next round, the others code."""
    progress = Multiplexed(4, 1, 1, 2).begin(1)
    progress.play(late(0))
    assert not progress.decodable(0)
    progress.play(late())
    assert progress.plain.tolist() == [[1, 1, 1, 1]]
    assert progress.coded[0, 0].tolist() == [False, True, True, True]
    assert progress.decodable(0)


def test_other_parameters_and_delays_are_refused():
    with pytest.raises(ValueError, match="burst must divide window - 1, got 2 and 4"):
        SelectiveRepeat(8, 3, 2, 4)
    with pytest.raises(ValueError, match="needs 1 <= burst < window"):
        Multiplexed(8, 3, 2, 2)
    with pytest.raises(ValueError, match=r"delays must be \[21 or more, 12\], got \(20, 12\)"):
        replay(SCHEMES[2], np.ones((20, 12)), 20)
