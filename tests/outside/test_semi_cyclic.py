"""The sampler by day and night: who is awake, by hand, and everybody equally often."""

import numpy as np
import pytest
from outsiders import FOLDER

from gauntlet.core.errors import PluginError
from gauntlet.core.seeds import generator
from gauntlet.server.cohort.sampling import sample_cohort
from gauntlet.server.samplers import SAMPLERS


def sampler(**options):
    return SAMPLERS.build(f"{FOLDER}/semi_cyclic.py:SemiCyclic", options)


def test_blocks_come_in_turn():
    """Ten clients in three blocks, i * 3 // 10: 0 to 3, 4 to 6, 7 to 9; each awake for two rounds."""
    one = sampler(cohort_size=3, blocks=3, rounds_awake=2)
    blocks = [{0, 1, 2, 3}, {4, 5, 6}, {7, 8, 9}]
    for t in range(12):
        cohort = set(sample_cohort(one, one.sampling(10), 0, t).tolist())
        assert len(cohort) == 3
        assert cohort <= blocks[t // 2 % 3]


def test_in_its_block_every_client_comes_equally_often():
    """The first block's four clients: each in 3 of 4 cohorts of 3; 5 standard deviations of 1000 draws."""
    one = sampler(cohort_size=3, blocks=3, rounds_awake=1)
    counts = np.zeros(10)
    for t in range(0, 3000, 3):
        counts[one.sample(10, generator(0, "sample"), t)] += 1
    assert counts[4:].sum() == 0
    assert np.abs(counts[:4] - 750).max() < 5 * (1000 * 0.75 * 0.25) ** 0.5


def test_a_block_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="cohort_size 4 is above the smallest block's 3 clients"):
        sampler(cohort_size=4, blocks=3).sampling(10)
    with pytest.raises(PluginError, match="rounds_awake must be at least 1, got 0"):
        sampler(cohort_size=1, rounds_awake=0)
