"""Oracles: update energies, exceedings and probability ratios by hand and in plain loops; groups by hand."""

import math

import numpy as np
import pytest
import torch

from gauntlet.core.layout import Layout, Slot
from gauntlet.core.seeds import generator
from gauntlet.core.updates import Updates
from gauntlet.defenses.deepsight import DeepSight, bias_cosines, energy_shares, exceedings, output_layer

DENSE = Layout((Slot("0.weight", (2, 2), 0), Slot("2.weight", (3, 2), 4), Slot("2.bias", (3,), 10)))
HEAD = DENSE.parameters[1:]
BLANK = torch.zeros(1, 2)


def forward(params, x, buffers=None):
    """A linear model by its last layer alone: outputs W x + b."""
    named = DENSE.views(params)
    return x @ named["2.weight"].mT + named["2.bias"][:, None]


def players(cohort, at, rows, **changes):
    rows = torch.as_tensor(rows, dtype=torch.float32)
    known = {"forward": forward, "blank": BLANK, "layout": DENSE, "params": torch.zeros(13)}
    return at(cohort(rows), **known | changes)


def head(weights, bias):
    return [0.0] * 4 + [w for row in weights for w in row] + list(bias)


def test_shares_of_energy_by_hand():
    """Energies |b| + sum |w|: 1 + 2 + 1 = 4, 0 + 2 + 0 = 2, 1 + 0 + 1 = 2; squares 16, 4, 4 of 24."""
    row = torch.tensor([head([[2.0, -1.0], [2.0, 0.0], [0.0, 1.0]], [1.0, 0.0, -1.0])])
    np.testing.assert_allclose(energy_shares(row, HEAD), [[16 / 24, 4 / 24, 4 / 24]])
    np.testing.assert_array_equal(energy_shares(torch.zeros(1, 13), HEAD), np.zeros((1, 3)))
    huge = energy_shares(1e30 * row, HEAD)
    np.testing.assert_allclose(huge, [[16 / 24, 4 / 24, 4 / 24]], rtol=1e-6)


def test_exceedings_by_hand():
    """Of 3 classes the threshold is a third of the largest share: 0.23, 0.13, 0.15; of 200 a hundredth."""
    shares = np.array([[0.7, 0.2, 0.1], [0.4, 0.3, 0.3], [0.45, 0.2, 0.35], [0.0, 0.0, 0.0]])
    assert exceedings(shares).tolist() == [1, 3, 3, 0]
    assert exceedings(np.array([[1.0, 0.0099, 0.0101] + [0.0] * 197])).tolist() == [2]


def test_the_ratios_are_those_of_plain_loops(cohort, at):
    """Oracle: softmax over softmax in Python, input by input, from the stream of seed and round."""
    rng = np.random.default_rng(4)
    rows, params = rng.normal(size=(5, 13)), torch.from_numpy(rng.normal(size=13)).float()
    updates = players(cohort, at, rows, params=params, round_=2, seed=6)
    found = DeepSight(num_inputs=7, num_seeds=2)._ratios(updates, updates.context)

    stream = generator(6, "deepsight", 2)
    for seed in range(2):
        x = stream.random((7, 2), dtype=np.float32)
        for row in range(5):
            mine = [_softmax(params + updates.vectors[row], one) for one in x]
            theirs = [_softmax(params, one) for one in x]
            for label in range(3):
                ratio = sum(a[label] / b[label] for a, b in zip(mine, theirs, strict=True)) / 7
                assert found[seed, row, label] == pytest.approx(ratio, rel=1e-4)


def test_what_is_asked_about_again_is_what_it_was(cohort, at):
    """An attacker asks about rows of its own beside rows that stay: the same as asked for the first time."""
    rng = np.random.default_rng(5)
    honest, lies = rng.normal(size=(4, 13)), rng.normal(size=(3, 13))
    for lie in lies:
        rows = np.concatenate([honest, [lie, lie]])
        runs = []

        def counted(params, x, buffers=None, runs=runs):
            runs.append(len(params))
            return forward(params, x)

        alone = players(cohort, at, rows, forward=counted)
        wanted = DeepSight(num_inputs=9)._ratios(alone, alone.context)
        assert runs == 3 * [1, 5]  # the global model, and equal rows once
        again = players(cohort, at, rows, forward=forward)
        np.testing.assert_array_equal(DeepSight(num_inputs=9)._ratios(again, again.context), wanted)


def _softmax(params, x):
    w, b = params[4:10].view(3, 2).tolist(), params[10:].tolist()
    powers = [math.exp(w[c][0] * x[0] + w[c][1] * x[1] + b[c]) for c in range(3)]
    return [power / sum(powers) for power in powers]


def crowd(rng, wide, narrow):
    """Return clients that move all three classes alike, then clients that move the last one alone."""
    rows = 0.02 * rng.normal(size=(wide + narrow, 13))
    rows[:wide, 4:] += 0.5 * np.array([1, 1, -1, -1, 1, -1, 1, -1, 1])
    rows[wide:, [8, 9, 12]] += 0.6
    return rows


def test_a_cluster_of_narrow_updates_is_left_out_and_the_rest_is_clipped(cohort, at):
    """By hand: shares are near (1/3, 1/3, 1/3) and (0, 0, 1), exceedings 3 and 1, the boundary 1.5."""
    rows = crowd(np.random.default_rng(0), 8, 4)
    updates = players(cohort, at, rows)
    verdict, _ = DeepSight(num_inputs=50).aggregate(updates, None)
    assert set(verdict.flags) == {85, 95, 105, 115}
    assert set(verdict.scores.values()) == {3.0, 1.0}

    matrix = updates.vectors.double().numpy()
    lengths = np.linalg.norm(matrix, axis=1)
    clipped = matrix * np.minimum(1, np.median(lengths) / lengths)[:, None]
    np.testing.assert_allclose(verdict.aggregate, clipped[:8].mean(axis=0), rtol=1e-5)


def test_a_cluster_with_fewer_suspects_than_the_share_is_kept_whole():
    """One of four is below a third, two of four are not; one in no cluster is judged by its own label."""
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, -1, -1])
    suspicious = np.array([1, 0, 0, 0, 1, 1, 0, 0, 1, 0], dtype=bool)
    keep = DeepSight()._accepted(labels, suspicious)
    assert keep.tolist() == [True] * 4 + [False] * 4 + [False, True]


def test_one_of_three_is_the_share_itself_and_goes():
    labels, suspicious = np.array([0, 0, 0]), np.array([True, False, False])
    assert not DeepSight()._accepted(labels, suspicious).any()


def test_half_of_the_median_score_is_suspicious(cohort, at):
    """By hand: eight move two classes alike and four the third alone: scores 2 and 1, the boundary is 1."""
    rng = np.random.default_rng(0)
    rows = 0.002 * rng.normal(size=(12, 13))
    rows[:8, [4, 5, 6, 7, 10, 11]] += 0.5 * np.array([1, 1, -1, 1, 1, -1])
    rows[8:, [8, 9, 12]] += 0.6
    verdict, _ = DeepSight(num_inputs=50).aggregate(players(cohort, at, rows), None)
    assert set(verdict.scores.values()) == {2.0, 1.0}
    assert set(verdict.flags) == {85, 95, 105, 115}


def test_the_cosines_are_those_of_the_biases():
    """By hand: weights alike, biases (1, 0, 0), (0, 2, 0), (-3, 0, 0)."""
    rows = torch.ones(3, 13)
    rows[:, 10:] = torch.tensor([[1.0, 0, 0], [0, 2, 0], [-3, 0, 0]])
    assert bias_cosines(rows, HEAD).tolist() == [[1, 0, -1], [0, 1, 0], [-1, 0, 1]]


@pytest.mark.parametrize("seed", range(3))
def test_who_sent_a_row_does_not_matter_where_averaged_distances_tie(cohort, at, seed):
    """24 clients without groups: of HDBSCAN alone many would be left out in one order and not in another."""
    rng = np.random.default_rng(seed)
    rows = torch.from_numpy(0.05 * rng.normal(size=13) + 0.02 * rng.normal(size=(24, 13))).float()
    order = torch.from_numpy(rng.permutation(24))
    straight, _ = DeepSight(num_inputs=20).aggregate(players(cohort, at, rows), None)
    turned, _ = DeepSight(num_inputs=20).aggregate(players(cohort, at, rows[order]), None)
    assert {int(row) for row in order[[(i - 5) // 10 for i in sorted(turned.flags)]]} == {
        (i - 5) // 10 for i in straight.flags
    }
    torch.testing.assert_close(straight.aggregate, turned.aggregate)


def test_nobody_is_kept_where_all_are_suspicious():
    labels = np.full(3, -1)
    assert DeepSight()._accepted(labels, np.ones(3, dtype=bool)).tolist() == [False] * 3


def test_inputs_and_candidates_are_written_down_some_at_a_time(cohort, at):
    """2^22 numbers of inputs, or of candidates, stand together at most."""
    seen = []

    def watched(params, x, buffers=None):
        seen.append((params.numel(), x.numel()))
        return forward(params, x[:, :2])

    rows = torch.zeros(12, 13)
    updates = players(cohort, at, rows, forward=watched, blank=torch.zeros(1, 2**20))
    DeepSight(num_inputs=10, num_seeds=1).aggregate(updates, None)
    assert max(x for _, x in seen) <= 2**22
    assert len(seen) == 2 * 3


def test_candidates_have_their_clients_own_buffers(cohort, at):
    seen = []

    def watched(params, x, buffers=None):
        seen.append(buffers)
        return forward(params, x)

    updates = players(cohort, at, torch.ones(3, 13), forward=watched)
    buffers = torch.arange(6.0).view(3, 2)
    named = Updates(updates.vectors, updates.client_ids, updates.num_examples, 3.0, buffers, updates.context)
    DeepSight(num_inputs=5, num_seeds=1).aggregate(named, None)
    assert seen[0] is None
    assert torch.equal(seen[1], buffers)


def test_the_output_layer_is_the_last_module_s_rows_of_classes(cohort, at):
    context = players(cohort, at, torch.zeros(1, 13)).context
    assert [slot.name for slot in output_layer(context, 3)] == ["2.weight", "2.bias"]
    with pytest.raises(ValueError, match=r"a bias for each of the 4 outputs.* got 2\.weight \[3, 2\]"):
        output_layer(context, 4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"forward": None}, "needs to run models"),
        ({"blank": None}, "needs to run models"),
        ({"blank": torch.zeros(1, 2, dtype=torch.int64)}, "inputs of real numbers"),
        ({"forward": lambda params, x, b=None: torch.zeros(len(params), len(x))}, "one output a class"),
        ({"forward": lambda params, x, b=None: torch.zeros(len(params), len(x), 1)}, r"got shape \[\d+, 1\]"),
    ],
)
def test_it_says_what_it_lacks(cohort, at, changes, words):
    with pytest.raises(ValueError, match=words):
        DeepSight().aggregate(players(cohort, at, torch.ones(3, 13), **changes), None)


@pytest.mark.parametrize(
    "options",
    [
        {"num_inputs": 0},
        {"num_seeds": 0},
        {"suspicious_share": 0.0},
        {"suspicious_share": 1.1},
        {"min_cluster_size": 1},
        {"min_samples": 0},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        DeepSight(**options)


@pytest.mark.parametrize("telling", [0, 1, 2])
def test_each_of_the_three_signals_tells_groups_apart_by_itself(telling):
    """Four and four clients, alike in the other two: a third apart of each other."""
    group = np.repeat([0, 1], 4)
    shares, ratios, cosine = np.ones((8, 3)), np.ones((2, 8, 3)), np.ones((8, 8))
    if telling == 0:
        shares[group == 1] = 5
    elif telling == 1:
        ratios[:, group == 1] = 5
    else:
        cosine = np.where(group[:, None] == group, 1.0, -1.0)
    labels = DeepSight(min_samples=2)._clusters(shares, ratios, cosine)
    assert [len(set(labels[group == part])) for part in (0, 1)] == [1, 1]
    assert labels[0] != labels[4]
