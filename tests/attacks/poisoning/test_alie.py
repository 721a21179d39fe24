"""Oracles: the golden matrix of the robustness spec, section 7; scipy."""

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.alie import ALittleIsEnough, z_max


def test_the_golden_row_is_sent_by_everybody(golden_scene):
    """Spec 7, row ``ALIE tau=1.5, ddof=1``, on H = X[:9]."""
    sent, _ = ALittleIsEnough(z=1.5).corrupt(*golden_scene, None)
    golden = [0.880595281, 0.980199497, 1.092722281, 0.396949070, 1.238316485]
    np.testing.assert_allclose(sent.vectors, [golden, golden], atol=1e-9)


def test_the_golden_z_max_is_found(golden_scene):
    """Spec 7: K = 11, f = 2 gives s = 4 and z_max = 0.13971029888."""
    assert z_max(11, 2) == pytest.approx(0.13971029888, abs=1e-11)
    sent, _ = ALittleIsEnough(sign="plus").corrupt(*golden_scene, None)
    golden = [-0.327190928, -0.294299042, -0.141206489, -0.497876177, 0.133891892]
    np.testing.assert_allclose(sent.vectors, [golden, golden], atol=1e-9)


@pytest.mark.parametrize(("cohort_size", "num_malicious"), [(20, 4), (50, 24), (100, 20), (7, 3)])
def test_scipys_quantile_gives_the_same_z_max(cohort_size, num_malicious):
    """PhiInv((K - f - s) / (K - f)) with s = floor(K / 2 + 1) - f."""
    from scipy.stats import norm

    s = np.floor(cohort_size / 2 + 1) - num_malicious
    share = (cohort_size - num_malicious - s) / (cohort_size - num_malicious)
    assert z_max(cohort_size, num_malicious) == pytest.approx(norm.ppf(share), abs=1e-9)


def test_z_max_is_never_negative_nor_infinite():
    """Lone attackers would get a negative one, majorities an infinite one, full cohorts a division by 0."""
    assert z_max(4, 1) == 0.0
    assert z_max(10, 6) == pytest.approx(4.753424, abs=1e-6)  # PhiInv(1 - 1e-6)
    assert z_max(3, 3) == 0.0


def test_a_single_honest_client_has_no_spread(scene):
    own, view = scene([[1.0, 2.0]], [[5.0, 5.0]])
    sent, _ = ALittleIsEnough(z=1.5).corrupt(own, view, None)
    assert sent.vectors.tolist() == [[1.0, 2.0]]


def test_float32_rows_keep_their_type_and_lose_nothing_in_the_spread(scene):
    """Updates near 1000 that differ by 0.01: a float32 sum of squares would lose the spread."""
    rows = 1000 + 0.01 * np.random.default_rng(0).normal(size=(12, 50))
    own, view = scene(rows, rows[:2], dtype=torch.float32)
    sent, _ = ALittleIsEnough(z=1.0).corrupt(own, view, None)
    seen = view.honest.vectors.double().numpy()
    assert sent.vectors.dtype == torch.float32
    np.testing.assert_allclose(sent.vectors[0], seen.mean(axis=0) + seen.std(axis=0, ddof=1), rtol=1e-7)


def test_blocks_of_columns_do_not_show(golden_scene, monkeypatch):
    whole, _ = ALittleIsEnough(z=1.5).corrupt(*golden_scene, None)
    monkeypatch.setattr("gauntlet.attacks.poisoning.parts.moments.BLOCK_ELEMENTS", 18)
    parts, _ = ALittleIsEnough(z=1.5).corrupt(*golden_scene, None)
    torch.testing.assert_close(whole.vectors, parts.vectors, rtol=1e-14, atol=0)


def test_each_sign_moves_each_coordinate_its_way(scene):
    """By hand: means 2, -2, 0 and standard deviation sqrt(2) in each coordinate."""
    own, view = scene([[1.0, -1.0, 1.0], [3.0, -3.0, -1.0]], [[0.0, 0.0, 0.0]])
    root = 2**0.5
    moved = {
        "plus": [2 + root, -2 + root, root],
        "minus": [2 - root, -2 - root, -root],
        "against": [2 - root, -2 + root, 0.0],
    }
    for sign, expected in moved.items():
        sent, _ = ALittleIsEnough(z=1.0, sign=sign).corrupt(own, view, None)
        assert sent.vectors[0].tolist() == pytest.approx(expected)


def test_the_papers_shift_goes_against_the_mean_and_a_given_one_keeps_its_own_sign(golden_scene):
    def sent(**options):
        return ALittleIsEnough(**options).corrupt(*golden_scene, None)[0].vectors

    assert torch.equal(sent(), sent(sign="against"))
    assert not torch.equal(sent(), sent(sign="plus"))
    assert torch.equal(sent(z=-1.5), sent(z=1.5, sign="minus"))
    assert torch.equal(sent(z=1.5), sent(z=1.5, sign="plus"))


def test_a_sign_that_is_none_is_refused():
    with pytest.raises(ValueError, match="sign must be one of plus, minus, against or None, got 'up'"):
        ALittleIsEnough(sign="up")


def test_a_shift_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="z must be finite or None, got nan"):
        ALittleIsEnough(float("nan"))
