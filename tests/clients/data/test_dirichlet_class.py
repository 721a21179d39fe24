import numpy as np
import pytest

from gauntlet.clients.data.dirichlet_class import DirichletClass


def test_the_authors_sizes_on_mnist(mnist_labels):
    """Measured on the authors' rule, seed 1, 40 clients: 671 to 3223, the first five as below."""
    sizes = [len(r) for r in DirichletClass().split(mnist_labels, None, 40, 0)]
    assert sizes[:5] == [1378, 1801, 1350, 3223, 1214]
    assert (min(sizes), max(sizes), sum(sizes)) == (671, 3223, 60_000)


def test_the_authors_examples_on_real_mnist(real_data):
    """The rule written out with lists, as the authors do."""
    y = real_data("mnist").y
    rng = np.random.RandomState(1)
    owners: list[list[int]] = [[] for _ in range(40)]
    for label in range(10):
        members = np.where(y == label)[0]
        rng.shuffle(members)
        p = rng.dirichlet(np.array(40 * [0.9]))
        for row, owner in zip(members, rng.choice(40, len(members), p=p), strict=True):
            owners[owner].append(row)
    rows = DirichletClass().split(y, None, 40, 0)
    assert [r.tolist() for r in rows] == [sorted(o) for o in owners]


def test_the_split_hangs_on_its_own_seed_and_not_on_the_runs(mnist_labels):
    first, same, other = (
        DirichletClass(partition_seed=own).split(mnist_labels, None, 5, run)[0]
        for own, run in ((1, 0), (1, 9), (2, 0))
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_an_alpha_below_the_old_generators_range_ends_in_one_clear_line():
    with pytest.raises(ValueError, match=r"alpha = 0.001 underflows"):
        DirichletClass(alpha=0.001).split(np.repeat(np.arange(1000), 3), None, 2, 0)


@pytest.mark.parametrize(
    ("option", "value"), [("alpha", 0.0), ("partition_seed", -1), ("partition_seed", 2**32)]
)
def test_an_option_out_of_range_is_refused(option, value):
    with pytest.raises(ValueError, match=f"{option} must be"):
        DirichletClass(**{option: value})
