"""Oracles: hand cases of the robustness spec, section 5 (its form of the score is unverified)."""

import numpy as np
import pytest
import torch

from gauntlet.core.layout import Layout, Slot
from gauntlet.defenses.lasa import LASA, mz_scores
from gauntlet.defenses.parts import columns

TWO_LAYERS = Layout((Slot("a", (2,), 0), Slot("b", (2,), 2)))


def test_the_score_is_the_distance_to_the_median_in_standard_deviations():
    """By hand: median 2, mean 3, variance (4 + 1 + 1 + 0 + 16 - ...) = 5 over n - 1."""
    values = torch.tensor([1.0, 2.0, 2.0, 3.0, 7.0], dtype=torch.float64)
    expected = np.abs(values.numpy() - 2.0) / np.std([1, 2, 2, 3, 7], ddof=1)
    np.testing.assert_allclose(mz_scores(values), expected)
    assert mz_scores(torch.full((4,), 0.3)).tolist() == [0.0] * 4
    assert mz_scores(torch.tensor([5.0])).tolist() == [0.0]


def test_a_client_is_left_out_of_the_layer_in_which_it_lies(cohort, at):
    """By hand: client 25 flips layer b. Its layer a counts, its layer b does not; all norms are 2."""
    rows = np.ones((5, 4))
    rows[2, 2:] = -1.0
    verdict, _ = LASA(sparsity=0.0).aggregate(at(cohort(rows), layout=TWO_LAYERS), None)
    assert verdict.aggregate.tolist() == [1.0] * 4
    assert verdict.scores == {5: 0.0, 15: 0.0, 25: 0.5, 35: 0.0, 45: 0.0}
    assert verdict.flags == {}

    rows[2, :2] = -1.0
    verdict, _ = LASA(sparsity=0.0).aggregate(at(cohort(rows), layout=TWO_LAYERS), None)
    assert verdict.aggregate.tolist() == [1.0] * 4
    assert verdict.flags == {25: "malicious"}


def test_a_layer_that_is_too_long_is_left_out(cohort, at):
    rows = np.ones((6, 4))
    rows[3, 0] = 1.5
    verdict, _ = LASA(sparsity=0.0).aggregate(at(cohort(rows), layout=TWO_LAYERS), None)
    assert verdict.scores[35] > 0
    assert verdict.aggregate[:2].tolist() == [1.0, 1.0]


def test_what_is_averaged_is_clipped_but_not_sparsified(cohort, at):
    """By hand: norms 5, 5, 10; the last is halved; the small entries, dropped for the tests, come back."""
    updates = cohort([[4.0, 3.0], [4.0, 3.0], [8.0, 6.0]])
    verdict, _ = LASA(sparsity=0.5, sign_tolerance=9, norm_tolerance=9).aggregate(at(updates), None)
    assert verdict.aggregate.tolist() == pytest.approx([4.0, 3.0])


def test_the_tests_do_not_see_the_smallest_coordinates(cohort, at):
    """By hand: client 15 differs in the sign of its smaller entry only."""
    updates = at(cohort([[4.0, 1.0], [4.0, -1.0], [4.0, 1.0], [4.0, 1.0], [4.0, 1.0]]))
    assert LASA(sparsity=0.0).aggregate(updates, None)[0].flags == {15: "malicious"}
    assert LASA(sparsity=0.5).aggregate(updates, None)[0].flags == {}


def test_a_layer_that_nobody_passes_stays(cohort, at):
    """Two clients, each 0.71 standard deviations from the median between them."""
    verdict, _ = LASA(sparsity=0.0, sign_tolerance=0.5).aggregate(at(cohort([[1.0], [-1.0]])), None)
    assert verdict.aggregate.tolist() == [0.0]
    assert len(verdict.flags) == 2


def test_blocks_of_rows_and_columns_change_nothing(golden_cohort, at, monkeypatch):
    whole, _ = LASA().aggregate(at(golden_cohort), None)
    from gauntlet.defenses import lasa

    monkeypatch.setattr(columns, "BLOCK_ELEMENTS", 11)
    monkeypatch.setattr(lasa, "BLOCK_ELEMENTS", 11)
    again, _ = LASA().aggregate(at(golden_cohort), None)
    np.testing.assert_allclose(again.aggregate, whole.aggregate, atol=1e-12)
    assert again.scores == whole.scores


def test_it_says_what_it_lacks(cohort):
    with pytest.raises(ValueError, match="lasa needs the layers of the model"):
        LASA().aggregate(cohort(np.eye(2)), None)


@pytest.mark.parametrize("options", [{"sparsity": 1.0}, {"norm_tolerance": 0.0}, {"sign_tolerance": -1.0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        LASA(**options)
