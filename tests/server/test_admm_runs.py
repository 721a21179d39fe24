"""ADMM in whole runs on least squares: against the same recursion in float64, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from whole_runs import rounds as run

from gauntlet.clients.algorithms.admm import ADMM, dual_step, free_step, solvers
from gauntlet.clients.data.wls import WeightedLeastSquares
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.core.seeds import generator
from gauntlet.server.spec import PluginSpec

K = 20


@pytest.fixture
def wls(small):
    """ADMM on 20 clients of weighted least squares; ``options`` are its, keywords replace fields."""

    def spec(options, features=8, **changes):
        return small(
            **{
                "rounds": 12,
                "num_clients": K,
                "data": PluginSpec("wls", {"num_features": features}),
                "task": PluginSpec("regression"),
                "model": PluginSpec("linear", {"zero_init": True, "bias": False}),
                "algorithm": PluginSpec("admm", options),
                "defense": PluginSpec("mean", {"weighting": "uniform"}),
                "training": LocalTraining(),
                "rows": False,
                **changes,
            }
        )

    return spec


def problem(features=8, seed=7, rho=1.0):
    """Return N [K, P, P] and b [K, P] of the run's clients, from their rows in float64."""
    data = WeightedLeastSquares(num_features=features).populate(K, seed)
    rows = [tuple(part.double() for part in data.client(i)) for i in range(K)]
    gram = torch.stack([x.T @ x for x, _ in rows])
    moment = torch.stack([(x.T @ y)[:, 0] for x, y in rows])
    return solvers(2 * gram, 2 * moment, rho)


def expected(form, rounds, cohort, rho):
    """Return the server's mean after each round."""
    inverse, b = problem(rho=rho)
    local, dual, kept, found = b, torch.zeros_like(b), b, [b.mean(0)]
    rule = ADMM(cohort_size=cohort)
    for n in range(1, rounds):
        ids = rule.sample(K, generator(7, "sample"), n)
        here = torch.zeros(K, 1, dtype=torch.bool)
        here[ids] = True
        before = found[-2] if n > 1 else torch.zeros_like(found[0])
        if form == "dual_free":
            new, after = free_step(local, 2 * found[-1] - before, inverse, rho), dual
        else:
            new, after = dual_step(local, dual, found[-1].expand_as(local), inverse, b, rho)
        local, dual = torch.where(here, new, local), torch.where(here, after, dual)
        kept = torch.where(here, local + dual / rho, kept)
        found.append(kept.mean(0) if form == "dual" else local[ids].mean(0))
    return torch.stack(found)


@pytest.mark.parametrize("reception", ["one", "two"])
@pytest.mark.parametrize(
    ("form", "rho"), [("dual", 1.0), ("dual", 2.5), ("dual_mean", 1.0), ("dual_free", 0.5)]
)
def test_a_run_is_the_recursion_in_float64(wls, form, rho, reception):
    options = {"form": form, "rho": rho, "reception": reception, "noise_std": 0.0, "cohort_size": 5}
    steps = run(wls(options))[1]
    rule = ADMM(**options)
    means = torch.stack([rule.model(s.state.params, s.state.optimizer) for s in steps])
    assert torch.allclose(means.double(), expected(form, 12, 5, rho), atol=2e-5)


def test_cohorts_differ_from_round_to_round_and_all_begin():
    rule, key = ADMM(cohort_size=5), generator(0, "sample")
    assert rule.sample(K, key, 0).tolist() == list(range(K))
    drawn = {tuple(rule.sample(K, generator(0, "sample"), n)) for n in range(1, 50)}
    assert len(drawn) > 45
    assert np.bincount(np.concatenate([list(one) for one in drawn]), minlength=K).min() > 3


@pytest.mark.parametrize("options", [{"noise_std": 0.01}, {"snr_db": 40.0}])
def test_each_link_adds_its_noise(wls, options):
    """One round of ``dual``: client k sends (2 rho N_k - I) of its downlink's noise, and its uplink's."""
    features = 100
    noisy, quiet = (
        run(wls(o, features, rounds=2))[1][-1].state.params for o in (options, {"noise_std": 0.0})
    )
    inverse, b = problem(features)
    eye = torch.eye(features, dtype=torch.float64)
    down, up = options.get("noise_std", 0) * torch.ones(K), options.get("noise_std", 0) * torch.ones(K)
    if "snr_db" in options:
        mean = b.mean(0).expand_as(b)
        local, dual = dual_step(b, torch.zeros_like(b), mean, inverse, b, 1.0)
        down, up = (one.square().mean(1).sqrt() / 100 for one in (mean, local + dual))
    spread = (2 * inverse - eye).square().sum((1, 2)) / features
    variance = float((down**2 * spread + up**2).sum()) / K**2
    assert float((noisy - quiet).square().mean()) == pytest.approx(variance, rel=0.3)  # 2 deviations


@pytest.mark.parametrize(("reception", "heard"), [("one", 4.0 + 1), ("two", 2 * (4.0 + 1) - (3.0 + 10))])
def test_both_receptions_have_noise_of_their_own(reception, heard):
    """By hand, noise of 1 on what is received first and 10 on what is received second: s is ``heard``."""

    class Loud(ADMM):
        def _noise(self, visit, purpose, sent):
            return {"downlink": 1.0, "second downlink": 10.0}[purpose] * torch.ones_like(sent)

    visit = SimpleNamespace(received=torch.full((2,), 4.0), extra=torch.full((1, 2), 3.0))
    inverse, local = torch.eye(2).double() / 8, torch.tensor([1.0, -1.0]).double()
    rule = Loud("dual_free", 2.0, reception=reception)
    found, _ = rule._solve(visit, {"local": local}, inverse, torch.zeros(2))
    assert found.tolist() == (local + 2.0 / 8 * (heard - local)).tolist()


def test_what_is_not_least_squares_is_refused(wls):
    mlp = PluginSpec("mlp", {"hidden": [4]})
    with pytest.raises(PluginError, match="admm needs a loss that is quadratic in the parameters"):
        run(wls({}, model=mlp))
    with pytest.raises(ScenarioError, match=r"'admm' goes with loss mse, and task 'regression' is .* 'mae'"):
        run(wls({}, training=LocalTraining(loss="mae")))
    with pytest.raises(ScenarioError, match="needs the plain mean"):
        run(wls({}, defense=PluginSpec("median")))
