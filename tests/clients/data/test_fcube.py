"""FCUBE and Synthetic(alpha, beta): what the generators promise, by hand."""

import numpy as np
import pytest

from gauntlet.clients.data.fcube import FCube
from gauntlet.clients.data.fedprox_synthetic import FedProxSynthetic
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.seeds import generator
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RunSpec


def test_a_party_holds_two_opposite_octants():
    """Even points of party r: signs (+, - where r > 1, - where r is odd); odd ones all of them turned."""
    pile = FCube().load()
    for party, signs in enumerate([(1, 1, 1), (1, 1, -1), (1, -1, 1), (1, -1, -1)]):
        x = pile.x[pile.groups == party]
        assert (np.sign(x[::2]) == signs).all()
        assert (np.sign(x[1::2]) == -np.array(signs)).all()
        assert np.abs(x).mean() == pytest.approx(0.5, abs=0.02)
    assert ((pile.x[:, 0] <= 0) == pile.y).all()
    assert np.bincount(pile.y).tolist() == [2000, 2000]
    assert ((pile.test_x[:, 0] <= 0) == pile.test_y).all()
    assert len(pile.test_x) == 1000


def test_a_linear_model_learns_it_although_no_two_parties_share_an_octant():
    """Four parties, one linear layer: above 97 % after ten short rounds."""
    spec = RunSpec(
        seed=0,
        rounds=10,
        num_clients=4,
        data=PluginSpec("fcube"),
        partition=PluginSpec("natural"),
        model=PluginSpec("logistic_regression"),
        training=LocalTraining(local_steps=20, batch_size=64, lr=0.1, momentum=0.9),
        evaluate_every=10,
    )
    simulation = prepare(spec)
    *_, last = simulation.steps(simulation.serial_pool())
    assert last.score.accuracy > 0.97


def test_feature_j_has_variance_j_to_the_minus_1_2_around_its_users_mean():
    pile = FedProxSynthetic(num_users=3, max_examples=4000).load()
    x = pile.x[pile.groups == np.argmax(np.bincount(pile.groups))]
    assert len(x) > 90
    found = x.var(axis=0)
    assert np.median(found / np.arange(1, 61) ** -1.2) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_users_means_spread_as_beta_says(beta):
    """The mean of v_k over 60 features has variance beta^2 + 1/60, and that of 45 examples little more."""
    pile = FedProxSynthetic(beta=beta, num_users=300, max_examples=50).load()
    means = np.array([pile.x[pile.groups == k].mean() for k in range(300)])
    assert means.std() == pytest.approx((beta**2 + 1 / 60) ** 0.5, rel=0.12)


def test_no_label_depends_on_alpha():
    """u_k adds u_k (sum x + 1) to all ten outputs: the largest stays the largest."""
    ours, far = (FedProxSynthetic(alpha=alpha, num_users=20, max_examples=60).load() for alpha in (0.0, 3.0))
    assert np.array_equal(ours.x, far.x)
    assert np.mean(ours.y == far.y) > 0.999


def test_sizes_are_lognormal_and_a_tenth_is_for_test():
    pile = FedProxSynthetic(num_users=40, max_examples=500).load()
    drawn = [min(int(generator(0, "fedprox sizes", k).lognormal(4, 2)) + 50, 500) for k in range(40)]
    kept = np.bincount(pile.groups, minlength=40)
    assert kept.tolist() == [n - round(0.1 * n) for n in drawn]
    assert len(pile.test_y) == sum(drawn) - kept.sum()


def test_iid_users_share_one_model():
    """A least-squares fit of the labels on half of the users predicts the other half's; else it does not."""
    shared = []
    for iid in (True, False):
        pile = FedProxSynthetic(iid=iid, num_users=20, max_examples=400).load()
        first = pile.groups < 10
        x = np.c_[pile.x, np.ones(len(pile.x))]
        fit = np.linalg.lstsq(x[first], np.eye(10)[pile.y[first]], rcond=None)[0]
        shared.append(np.mean((x[~first] @ fit).argmax(axis=1) == pile.y[~first]))
    assert shared[0] > 0.6
    assert shared[1] < 0.3


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: FCube(points_per_party=1), "points_per_party must be at least 2, got 1"),
        (lambda: FedProxSynthetic(alpha=-1), "alpha must be at least 0 and finite, got -1"),
        (lambda: FedProxSynthetic(max_examples=9), "max_examples must be at least 50"),
    ],
)
def test_options_out_of_range_are_refused(make, line):
    with pytest.raises(ValueError, match=line):
        make()
