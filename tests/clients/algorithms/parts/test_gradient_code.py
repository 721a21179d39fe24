"""Gradient codes: any n - s results give the sum of all chunks.

Oracle: the plain sum; Tandon et al. (2017), Theorems 1 and 2.
"""

from itertools import combinations

import numpy as np
import pytest

from gauntlet.clients.algorithms.parts.gradient_code import cyclic, decoding, repeated, shares_of, spare_of


def test_every_set_of_workers_but_s_gives_the_sum():
    code, chunks = cyclic(7, 2, np.random.default_rng(0)), np.random.default_rng(1).standard_normal((7, 5))
    assert np.linalg.matrix_rank(code) == 5
    for came in combinations(range(7), 5):
        found = decoding(code, np.array(came)) @ (code @ chunks)[list(came)]
        assert found == pytest.approx(chunks.sum(axis=0), rel=1e-9, abs=1e-9)


def test_a_worker_holds_the_s_plus_1_chunks_from_its_own():
    code = cyclic(5, 2, np.random.default_rng(0))
    assert [sorted(np.flatnonzero(row)) for row in code] == [
        [0, 1, 2],
        [1, 2, 3],
        [2, 3, 4],
        [0, 3, 4],
        [0, 1, 4],
    ]
    assert np.diag(code) == pytest.approx(1)
    assert np.array_equal(cyclic(5, 0, np.random.default_rng(0)), np.eye(5))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_256_workers_decode_to_eight_digits_without_27_of_them(seed):
    draw = np.random.default_rng(seed)
    code, chunks = cyclic(256, 27, draw), draw.standard_normal((256, 20))
    came = np.sort(draw.choice(256, 229, replace=False))
    found, truth = decoding(code, came) @ (code @ chunks)[came], chunks.sum(axis=0)
    assert np.linalg.norm(found - truth) < 1e-8 * np.linalg.norm(truth)


def test_repetition_adds_and_nothing_else():
    code = repeated(6, 2)
    assert np.array_equal(code[4], [0, 0, 0, 1, 1, 1])
    assert decoding(code, np.array([1, 5])) == pytest.approx([1, 1])


def test_too_few_results_and_other_sizes_are_refused():
    code = cyclic(7, 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="4 of 7 results do not give the sum"):
        decoding(code, np.arange(4))
    with pytest.raises(ValueError, match="0 of 7 results"):
        decoding(code, np.arange(0))
    with pytest.raises(ValueError, match="num_stragglers must be from 0 to 6, got 7"):
        cyclic(7, 7, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"num_stragglers \+ 1 must divide 6 workers, got 3"):
        repeated(6, 3)


@pytest.mark.parametrize(("most", "burst", "window", "spare"), [(23, 2, 3, 12), (6, 1, 2, 3), (5, 2, 5, 2)])
def test_what_is_repeated_needs_a_smaller_code(most, burst, window, spare):
    """ceil(B lambda / (W - 1 + B)); (2, 3, 23) is the paper's choice for 256 workers, of which s is 12."""
    assert spare_of(most, burst, window) == spare


def test_a_part_of_its_own_is_lambda_plus_1_times_as_long_as_a_coded_one():
    own, coded = shares_of(58, 27, 2, 3)  # (W - 1) 28 + B = 58
    assert [len(rows) for rows in own] == [28, 28]
    assert [len(rows) for rows in coded] == [1, 1]
    for size in (0, 1, 5, 59):
        own, coded = shares_of(size, 3, 1, 3)
        assert np.concatenate([*own, *coded]).tolist() == list(range(size))
