"""ADMM's recursions over noisy links, against least squares and a table of steady states.

Oracle: the solution of the normal equations; and mean squared distances that an independent NumPy program
gave for 20 clients with 20 rows each and 8 unknowns, rho = 1 (mean of 20 problems with w_true ~ N(0, I)).
Here are other problems, with ||w_true||^2 at the middles of equally likely pieces of chi^2 with 8 degrees of
freedom: 1 / ||w_true||^2, by which distances are measured, is off by 16 % in a mean of 20 draws.
"""

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from gauntlet.clients.algorithms.admm import ADMM, dual_step, free_step, solvers

K, D, ROWS = 20, 8, 20
AT = (10, 50, 200, 1000, 2000)
TABLE = {  # (sigma, cohort, form, reception): the distance after so many rounds, AT
    (0.0, 20, "dual", "one"): (3.1e-4, 3.9e-5, 1.3e-6, 4.2e-11, 1.7e-15),
    (0.01, 20, "dual", "one"): (3.2e-4, 4.4e-5, 7.4e-6, 5.3e-6, 5.7e-6),
    (0.01, 20, "dual_mean", "one"): (3.2e-4, 4.5e-5, 8.3e-6, 1.3e-5, 2.2e-5),
    (0.01, 20, "dual_free", "two"): (3.3e-4, 5.8e-5, 2.4e-5, 3.8e-5, 6.2e-5),
    (0.01, 20, "dual_free", "one"): (3.2e-4, 4.3e-5, 6.8e-6, 1.1e-5, 2.0e-5),
    (0.0, 5, "dual", "one"): (1.4e-3, 2.6e-4, 4.0e-5, 6.2e-7, 1.8e-8),
    (0.0, 5, "dual_mean", "one"): (1.3e-3, 2.8e-4, 4.2e-5, 1.8e-6, 1.2e-6),
    (0.0, 5, "dual_free", "two"): (3.4e-3, 1.2e-3, 4.6e-4, 3.0e-4, 3.0e-4),
    (0.0, 5, "dual_free", "one"): (3.2e-3, 1.1e-3, 4.6e-4, 3.0e-4, 3.0e-4),
    (0.01, 5, "dual", "one"): (1.4e-3, 2.7e-4, 4.5e-5, 6.0e-6, 5.7e-6),
    (0.01, 5, "dual_mean", "one"): (1.7e-3, 2.8e-4, 5.0e-5, 1.1e-5, 1.3e-5),
    (0.01, 5, "dual_free", "two"): (3.6e-3, 1.2e-3, 4.8e-4, 3.3e-4, 3.3e-4),
    (0.01, 5, "dual_free", "one"): (3.8e-3, 1.2e-3, 4.8e-4, 3.1e-4, 3.0e-4),
}


class Links:
    """Many problems at once, [T, K, ...] in float64, with the noise of every transmission."""

    def __init__(self, problems, sigma=0.0, cohort=K, seed=0):
        self.draw, self.sigma, self.cohort = np.random.default_rng(seed), sigma, cohort
        truth = self.normal(problems, D)
        self.size = torch.from_numpy(chi2.ppf((np.arange(problems) + 0.5) / problems, D))  # of w_true
        truth *= (self.size.sqrt() / truth.norm(dim=1))[:, None]
        scale = torch.from_numpy(self.draw.uniform(0.5, 1.5, (problems, K, 1, 1)))
        x, y = scale * self.normal(problems, K, ROWS, D), 0.1 * self.normal(problems, K, ROWS)
        weight = torch.from_numpy(self.draw.uniform(0.5, 1.5, (problems, K, ROWS)))
        y = y + torch.einsum("tknd,td->tkn", x, truth)
        self.gram = torch.einsum("tknd,tkn,tkne->tkde", x, weight, x)
        self.moment = torch.einsum("tknd,tkn,tkn->tkd", x, weight, y)
        self.best = torch.linalg.solve(self.gram.sum(1), self.moment.sum(1))
        self.inverse, self.b = solvers(2 * self.gram, 2 * self.moment, 1.0)

    def normal(self, *shape):
        return torch.from_numpy(self.draw.standard_normal(shape))

    def noise(self):
        return self.sigma * self.normal(*self.b.shape) if self.sigma else 0.0

    def present(self):
        order = torch.from_numpy(self.draw.random(self.b.shape[:2])).argsort(dim=1).argsort(dim=1)
        return (order < self.cohort)[..., None]

    def rounds(self, form, reception, last):
        """Yield (w_k [T, K, D], w [T, D]) after each round from the first one behind the start."""
        local, dual, kept = self.b, torch.zeros_like(self.b), self.b
        mean, before = self.b.mean(1), torch.zeros_like(self.b[:, 0])
        for _ in range(last):
            here, received = self.present(), mean[:, None] + self.noise()
            if form == "dual_free":
                old = before[:, None]
                two = reception == "two"
                s = 2 * received - old - self.noise() if two else 2 * mean[:, None] - old + self.noise()
                new, dual_new = free_step(local, s, self.inverse, 1.0), dual
            else:
                new, dual_new = dual_step(local, dual, received, self.inverse, self.b, 1.0)
            local, dual = torch.where(here, new, local), torch.where(here, dual_new, dual)
            sent = local + (dual if form == "dual" else 0.0) + self.noise()
            kept = torch.where(here, sent, kept)
            one = kept.mean(1) if form == "dual" else (sent * here).sum(1) / self.cohort
            before, mean = mean, one
            yield local, mean

    def distances(self, form, reception, at):
        """Return the mean of ||w_k - w*||^2 / ||w_true||^2 after these rounds."""
        found = []
        for n, (local, _) in enumerate(self.rounds(form, reception, max(at)), start=1):
            if n in at:
                off = (local - self.best[:, None]).square().sum(-1).mean(1)  # [T]
                found.append(float((off / self.size).mean()))
        return found


@pytest.mark.parametrize("case", [(0.01, 20, "dual", "one"), (0.01, 5, "dual_free", "one")])
def test_the_first_rounds_are_those_of_the_table(case):
    sigma, cohort, form, reception = case
    found = Links(40, sigma, cohort).distances(form, reception, AT[:2])
    assert found == pytest.approx(list(TABLE[case][:2]), rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("case", TABLE)
def test_distances_are_those_of_the_table(case):
    """Within a quarter while they fall or rest; of a vanishing one, which the worst problem decides, 20.

    After ten rounds of 5 of 20 some have been asked once or never: the table's mean of 20 draws is then good
    to a half (measured here: 0.70 to 1.15 of it).
    """
    sigma, cohort, form, reception = case
    found = Links(40, sigma, cohort).distances(form, reception, AT)
    for n, mine, theirs in zip(AT, found, TABLE[case], strict=True):
        vanishing = sigma == 0 and form != "dual_free" and n >= 1000
        off = 20 if vanishing else 1.5 if (n, cohort) == (10, 5) else 1.25
        assert np.log(mine / theirs) == pytest.approx(0, abs=np.log(off)), n


def test_without_noise_and_with_everybody_all_forms_go_the_same_way():
    means = [
        [mean for _, mean in Links(3).rounds(form, reception, 50)]
        for form, reception in (("dual", ""), ("dual_mean", ""), ("dual_free", "one"), ("dual_free", "two"))
    ]
    for other in means[1:]:
        assert torch.allclose(torch.stack(other), torch.stack(means[0]), atol=1e-12)


def test_the_solution_is_a_fixed_point_of_every_form():
    """At w* the dual variables are minus the gradients: z_k = -2 X'W(X w* - y), which add up to 0."""
    links = Links(5)
    at = links.best[:, None].expand_as(links.b)
    dual = 2 * (links.moment - torch.einsum("tkde,tke->tkd", links.gram, at))
    local, after = dual_step(at, dual, at, links.inverse, links.b, 1.0)
    assert torch.allclose(local, at, atol=1e-12)
    assert torch.equal(after, dual)
    assert torch.allclose(dual.sum(1), torch.zeros(5, D, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(free_step(at, at, links.inverse, 1.0), at, atol=1e-12)


def test_two_noisy_receptions_cost_two_to_four_times_as_much_as_one():
    """The ratio at 1000 rounds is between 2 and 4 (the paper's abstract says "one" is better)."""
    one, two = (Links(6, 0.01).distances("dual_free", how, (1000,))[0] for how in ("one", "two"))
    assert 2 < two / one < 4.5


def test_other_options_are_refused():
    for options, message in (
        ({"form": "free"}, "form must be dual, dual_mean or dual_free, got 'free'"),
        ({"rho": 0.0}, "rho must be finite and above 0, got 0.0"),
        ({"noise_std": -1.0}, "noise_std must be finite and at least 0, got -1.0"),
        ({"cohort_size": 0}, "cohort_size must be at least 1, got 0"),
        ({"reception": "three"}, "reception must be one or two, got 'three'"),
        ({"snr_db": float("nan")}, "snr_db must be finite, got nan"),
    ):
        with pytest.raises(ValueError, match=message):
            ADMM(**options)
    with pytest.raises(ValueError, match="cohort_size 9 is larger than the population of 8 clients"):
        ADMM(cohort_size=9).sampling(8)
