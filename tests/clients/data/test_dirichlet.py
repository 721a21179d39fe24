import warnings

import numpy as np
import pytest

from gauntlet.clients.data.dirichlet import Dirichlet
from gauntlet.clients.data.flower import flower_rows


def sizes(rows):
    return [len(r) for r in rows]


@pytest.mark.parametrize(
    ("balanced", "golden"),
    [
        (False, [9415, 8110, 1846, 9081, 6295, 5982, 4996, 3424, 8249, 2602]),
        (True, [6128, 6913, 2088, 8319, 6181, 7590, 6026, 3629, 10374, 2752]),
    ],
)
def test_the_sizes_on_mnist_are_the_golden_ones(mnist_labels, balanced, golden):
    """Measured apart from this code: default_rng(42), MNIST's class counts, alpha 0.5, 10 clients."""
    assert sizes(Dirichlet(0.5, balanced=balanced).split(mnist_labels, None, 10, 42)) == golden


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize(("alpha", "seed"), [(0.1, 0), (1.0, 1), (100.0, 2)])
def test_label_counts_are_those_of_flowers_partitioner(mnist_labels, alpha, seed, balanced):
    """Oracle: flwr-datasets' DirichletPartitioner, an implementation of the same rule."""
    y = mnist_labels[::20]

    def counts(rows):
        return np.stack([np.bincount(y[r], minlength=10) for r in rows])

    rows = Dirichlet(alpha, min_size=5, balanced=balanced).split(y, None, 8, seed)
    oracle = flower_rows(
        lambda flower: flower.DirichletPartitioner(8, "label", alpha, 5, self_balancing=balanced, seed=seed),
        y,
    )
    assert np.array_equal(counts(rows), counts(oracle))


def test_sizes_do_not_hang_on_the_order_of_examples_but_members_are_shuffled(mnist_labels):
    mixed = np.random.default_rng(0).permutation(mnist_labels)
    plain, other = (Dirichlet().split(y, None, 10, 3) for y in (mnist_labels, mixed))
    assert sizes(plain) == sizes(other)
    zeros = plain[0][mnist_labels[plain[0]] == 0]
    assert np.diff(zeros).max() > 1  # not one run of the class


def test_draws_are_repeated_until_every_client_holds_the_least_size(mnist_labels):
    y = mnist_labels[::60]
    assert min(sizes(Dirichlet(0.1, min_size=1).split(y, None, 10, 5))) < 30
    assert min(sizes(Dirichlet(0.1, min_size=30).split(y, None, 10, 5))) >= 30


@pytest.mark.parametrize("balanced", [False, True])
def test_a_hopeless_setting_ends_in_one_clear_line(balanced):
    y = np.arange(1000) % 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            ValueError, match=r"alpha = 0.001 never gave each of 50 clients min_size = 10 of 1000"
        ):
            Dirichlet(0.001, balanced=balanced).split(y, None, 50, 0)


def test_a_balanced_draw_that_leaves_nobody_to_give_to_is_drawn_again():
    """With alpha this small the shares of all who may still get something are often exactly 0."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(5):
            rows = Dirichlet(0.001, min_size=1, balanced=True).split(np.arange(1500) % 3, None, 3, seed)
            assert sum(sizes(rows)) == 1500


def test_too_many_clients_are_refused_with_the_numbers():
    with pytest.raises(
        ValueError, match="1000 examples cannot give 101 clients at least 10 each; take at most 100"
    ):
        Dirichlet().split(np.arange(1000) % 10, None, 101, 0)


@pytest.mark.parametrize(("option", "value"), [("alpha", 0.0), ("alpha", float("nan")), ("min_size", 0)])
def test_an_option_out_of_range_is_refused(option, value):
    with pytest.raises(ValueError, match=f"{option} must be at least"):
        Dirichlet(**{option: value})


def test_a_negative_seed_is_a_seed_like_any_other(mnist_labels):
    assert sizes(Dirichlet().split(mnist_labels, None, 10, -1)) != sizes(
        Dirichlet().split(mnist_labels, None, 10, 1)
    )
