"""Oracles: the spec's values by hand, torch's singular values, a crowd in which two are unusual."""

import numpy as np
import pytest
import torch

from gauntlet.core.layout import Layout, Slot
from gauntlet.defenses.spectral_screen import SpectralScreen, spectra

SQUARE = Layout((Slot("w", (4, 4), 0),))


def turned(values, seed):
    """Return a matrix with these singular values, flat.  # [16]"""
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.normal(size=(4, 4)))[0] for _ in range(2))
    return torch.from_numpy((u * values) @ v).flatten()


@pytest.mark.parametrize(
    ("values", "rank"), [((1, 1, 1, 1), 4.0), ((4, 2, 1, 0.5), 3.117142), ((1, 0, 0, 0), 1.0)]
)
def test_effective_rank_and_nuclear_norm_are_those_of_the_singular_values(values, rank):
    """Spec 24: exp(-sum p log p) with p = s / sum s; scale changes the norm alone."""
    rows = torch.stack([turned(np.array(values), 1), 3 * turned(np.array(values), 2)])
    found = spectra(rows, SQUARE)
    assert found[:, 0].tolist() == pytest.approx([rank, rank], abs=1e-5)
    assert found[:, 1].tolist() == pytest.approx([sum(values), 3 * sum(values)])


def test_every_matrix_counts_and_vectors_do_not():
    """Oracle: torch.linalg.svdvals, of a convolution as [out, in * height * width]."""
    layout = Layout((Slot("a", (5, 3), 0), Slot("b", (5,), 15), Slot("c", (4, 2, 3, 3), 20)))
    rows = torch.randn(6, 92, dtype=torch.float64)
    found = spectra(rows, layout)
    for column, (start, out, rest) in zip((0, 2), ((0, 5, 3), (20, 4, 18)), strict=True):
        for row, vector in enumerate(rows):
            s = torch.linalg.svdvals(vector[start : start + out * rest].view(out, rest))
            p = s / s.sum()
            assert float(found[row, column]) == pytest.approx(float((-(p * p.log()).sum()).exp()))
            assert float(found[row, column + 1]) == pytest.approx(float(s.sum()))


def crowd(cohort, at, round_=0):
    """Return eleven alike matrices; that of client 105 has one direction more, that of 25 is shorter."""
    rng = np.random.default_rng(round_)
    rows = torch.stack(
        [turned(np.array([4, 2, 1, 0.01]) * rng.uniform(0.97, 1.03, 4), 100 * round_ + k) for k in range(11)]
    )
    rows[10] = turned(np.array([4, 2, 1, 1.0]), 7)
    rows[2] *= 0.5
    return at(cohort(rows), round_, layout=SQUARE)


def test_an_unusual_spectrum_is_flagged_unreliable_and_weighs_half(cohort, at):
    verdict, _ = SpectralScreen(threshold=6.0).aggregate(crowd(cohort, at), {})
    assert verdict.flags == {25: "unreliable", 105: "unreliable"}
    assert verdict.weights.tolist() == pytest.approx([0.05 if k in (2, 10) else 0.1 for k in range(11)])
    expected = verdict.weights @ crowd(cohort, at).vectors
    torch.testing.assert_close(verdict.aggregate, expected)


def test_what_counts_is_the_mean_over_a_clients_rounds(cohort, at):
    """By hand: a client that is unusual once in five rounds is off by a fifth of what it was."""
    rule, state, scores = SpectralScreen(threshold=6.0), {}, []
    for round_ in range(5):
        updates = crowd(cohort, at, round_)
        if round_:
            updates.vectors[2] *= 2
        verdict, state = rule.aggregate(updates, state)
        scores.append(verdict.scores[25])
    assert float(state[25][0]) == 5
    nuclear = state[25][1][1] / 5
    assert float(nuclear) == pytest.approx(0.9, abs=0.02)
    assert scores[-1] < scores[0]


def test_a_client_that_came_less_often_is_judged_by_its_own_mean(cohort, at):
    """Twelve alike clients, of whom six miss the first round: no sum of features is anybody's score."""
    first, second = crowd(cohort, at, 0), crowd(cohort, at, 1)
    for one in (first, second):
        one.vectors[10], one.vectors[2] = one.vectors[0], one.vectors[1]
    rule = SpectralScreen(threshold=20.0)
    _, state = rule.aggregate(first.rows(torch.arange(11) % 2 == 0), {})
    verdict, state = rule.aggregate(second, state)
    assert [float(state[id_][0]) for id_ in (5, 15)] == [2, 1]
    assert not verdict.flags


def test_memory_is_bounded_and_the_oldest_go(cohort, at):
    _, state = SpectralScreen(max_clients=3).aggregate(crowd(cohort, at), {})
    assert list(state) == [85, 95, 105]


def test_a_model_without_a_matrix_and_options_out_of_range_are_refused(cohort, at):
    with pytest.raises(ValueError, match="needs a model with a matrix"):
        SpectralScreen().aggregate(at(cohort(torch.ones(3, 4))), {})
    for wrong in ({"threshold": 0.0}, {"unreliable_weight": 1.5}, {"max_clients": 0}):
        with pytest.raises(ValueError, match="must be"):
            SpectralScreen(**wrong)


def test_a_client_is_judged_by_its_mean_over_all_its_rounds(cohort, at):
    """Oracle: the features of either round over their medians, averaged, and z by the formula."""
    first, second = crowd(cohort, at, 0), crowd(cohort, at, 1)
    features = [spectra(one.vectors, SQUARE) for one in (first, second)]
    mean = sum(one / one.quantile(0.5, dim=0) for one in features) / 2
    apart = (mean - mean.quantile(0.5, dim=0)).abs()
    expected = (apart / (1.4826 * apart.quantile(0.5, dim=0))).amax(dim=1)
    _, state = SpectralScreen().aggregate(first, {})
    verdict, _ = SpectralScreen().aggregate(second, state)
    assert list(verdict.scores.values()) == pytest.approx(expected.tolist())
