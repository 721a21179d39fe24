import numpy as np
import pytest

from gauntlet.privacy.parts.factorization import banded_rows, dense, prefix_error

GOLDEN = {
    (4, 1): 10.0,
    (4, 2): 7.5464,
    (4, 4): 6.8741,
    (8, 2): 23.9411,
    (8, 4): 19.1263,
    (8, 8): 17.8662,
    (16, 2): 82.1151,
    (16, 4): 57.9362,
    (16, 16): 45.6654,
}


@pytest.mark.parametrize(("rounds", "bands"), GOLDEN)
def test_the_optimum_has_its_golden_error(rounds, bands):
    """tr(A' A X^-1), measured; here from the explicit inverse of X = C' C."""
    matrix = dense(banded_rows("optimal", rounds, bands))
    ones = np.tril(np.ones((rounds, rounds)))
    error = np.trace(ones.T @ ones @ np.linalg.inv(matrix.T @ matrix))
    assert error == pytest.approx(GOLDEN[rounds, bands], rel=1e-4)
    assert prefix_error(banded_rows("optimal", rounds, bands)) == pytest.approx(error, rel=1e-9)


def test_the_optimal_matrix_of_four_rounds_is_the_golden_one():
    expected = [
        [0.8247, 0, 0, 0],
        [0.4495, 0.8854, 0, 0],
        [0.3011, 0.4131, 0.9377, 0],
        [0.1647, 0.2131, 0.3475, 1],
    ]
    assert np.allclose(dense(banded_rows("optimal", 4, 4)), expected, atol=2e-4)


@pytest.mark.parametrize("kind", ["optimal", "sqrt_toeplitz"])
@pytest.mark.parametrize(("rounds", "bands"), [(1, 1), (7, 1), (7, 3), (16, 4), (40, 40)])
def test_columns_have_norm_one_and_nothing_lies_outside_the_band(kind, rounds, bands):
    """Of columns, not rows: what one participation costs. A Cholesky factor of X would have unit rows."""
    matrix = dense(banded_rows(kind, rounds, bands))
    assert np.allclose(np.linalg.norm(matrix, axis=0), 1, atol=1e-7)
    distance = np.subtract.outer(np.arange(rounds), np.arange(rounds))
    assert not matrix[(distance < 0) | (distance >= bands)].any()
    assert np.linalg.eigvalsh(matrix.T @ matrix).min() > 0
    if bands > 1:
        assert np.linalg.norm(matrix, axis=1).max() > 1.05


def test_one_band_is_plain_noise():
    assert np.array_equal(dense(banded_rows("optimal", 5, 1)), np.eye(5))


def test_the_root_of_prefix_sums_has_its_known_entries_and_error():
    """binom(2k, k) / 4^k: 1, 1/2, 3/8, 5/16. T = 64: error a round 4.97, against 32.5 of plain noise."""
    rows = banded_rows("sqrt_toeplitz", 64, 64)
    first = dense(rows)[:, 0]
    assert first[:4] / first[0] == pytest.approx([1, 1 / 2, 3 / 8, 5 / 16], rel=1e-12)
    assert 1 / first[0] == pytest.approx(1.5456, abs=1e-4)  # its column norm before scaling
    plain = prefix_error(banded_rows("optimal", 64, 1)) / 64
    assert plain == pytest.approx(32.5)
    assert prefix_error(banded_rows("optimal", 64, 64)) < prefix_error(rows) < 64 * 4.97


def test_more_bands_never_hurt():
    errors = [prefix_error(banded_rows("optimal", 12, b)) for b in (1, 2, 3, 6, 12)]
    assert errors == sorted(errors, reverse=True)
