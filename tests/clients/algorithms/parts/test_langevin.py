"""Langevin samplers on shards of Gaussian points: the posterior is known in closed form.

With S shards of n points of unit variance and a flat prior it is N(mean of all points, 1 / (S n)). A step of
h with minibatches of m makes an autoregression of it: with a = h S n / 2 its variance is
(h + h^2 V / 4) / (1 - (1 - a)^2), V = (S n)^2 / m being the variance of the estimated gradient.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from gauntlet.clients.algorithms.dsgld import DSGLD
from gauntlet.clients.algorithms.fsgld import FSGLD, conducive, laplace, surrogate
from gauntlet.clients.algorithms.parts import langevin
from gauntlet.core.seeds import generator, normal

S, N, H = 10, 200, 1e-4
CENTRES = generator(0, "centres").uniform(-6, 6, (S, 2))
SHARDS = [c + generator(0, "points", s).standard_normal((N, 2)) for s, c in enumerate(CENTRES)]
EXACT = np.concatenate(SHARDS).mean(axis=0)


@dataclass
class Points:
    """A visit to a shard whose loss is |x - theta|^2 / 2, its gradient written down."""

    client_id: int
    received: torch.Tensor
    round: int = 2
    extra: torch.Tensor = field(default_factory=lambda: torch.zeros(2, 2))
    memory: object = None
    num_clients: int = S
    dtype: torch.dtype = torch.float32

    def __post_init__(self):
        self.x = torch.from_numpy(SHARDS[self.client_id]).to(self.dtype)
        self.mean = self.x.mean(dim=0)

    num_examples = N

    def gradient(self, params, rows=None):
        return params - (self.mean if rows is None else self.x[rows].mean(dim=0)), torch.zeros(())

    def stream(self, purpose):
        return generator(1, purpose, self.round, self.client_id)


def predicted_std(m: int) -> float:
    a = H * S * N / 2
    minibatch = (S * N) ** 2 / m if m else 0.0
    return float(np.sqrt((H + H**2 * minibatch / 4) / (1 - (1 - a) ** 2)))


def exact_surrogate(s: int, dtype=torch.float32):
    precision = torch.full((2,), float(N), dtype=dtype)
    return precision, precision * torch.from_numpy(SHARDS[s]).to(dtype).mean(dim=0)


def sampled(rule, visits: int) -> np.ndarray:
    """Run the server's and the clients' halves; return the kept samples."""
    own = [exact_surrogate(s) for s in range(S)]
    extra = torch.stack([torch.stack([q[i] for q in own]).mean(dim=0) for i in range(2)])
    theta, state = torch.zeros(2), rule.init()
    state = state | {"round": 2} if "round" in state else state
    stream = generator(0, "sample")
    for t in range(2, visits + 2):
        (s,) = rule.sample(S, generator(0, "sample") if t else stream, t)
        visit = Points(int(s), theta, t, extra, own[s])
        theta, state = rule.step(theta, rule.work(visit)[0], state)
    return torch.stack(rule.posterior(state)).double().numpy()


def test_conducive_gradients_have_mean_zero_whatever_the_surrogates_are():
    """E_s[g_s] = sum_s f_s g_s = grad log q - sum_s grad log q_s = 0, for any probabilities f."""
    draw = generator(3, "surrogates")
    precisions, shifts = (torch.from_numpy(draw.standard_normal((7, 5)) ** 2 * 50) for _ in range(2))
    f = draw.dirichlet(np.ones(7))
    for theta in torch.from_numpy(draw.standard_normal((4, 5)) * 10):
        g = [
            conducive(theta, precisions.sum(0), shifts.sum(0), precisions[s], shifts[s], f[s])
            for s in range(7)
        ]
        assert torch.stack([w * x for w, x in zip(f, g, strict=True)]).sum(dim=0).abs().max() < 1e-10


def test_with_exact_surrogates_every_client_sees_the_gradient_of_the_whole_posterior():
    theta = torch.tensor([1.5, -2.5], dtype=torch.float64)
    own = [exact_surrogate(s, torch.float64) for s in range(S)]
    total = [sum(q[i] for q in own) for i in range(2)]
    whole = S * N * (torch.from_numpy(EXACT) - theta)
    for s in range(S):
        visit = Points(s, theta, dtype=torch.float64)
        v = langevin.likelihood_gradient(visit, theta, None)[0] * S
        assert (v + conducive(theta, *total, *own[s], 1 / S) - whole).abs().max() < 1e-8  # of 1e4: 1e-12


@pytest.mark.parametrize("rule", [DSGLD, FSGLD])
def test_one_client_and_full_batches_is_langevin_dynamics(rule):
    """theta + (h/2) (n (mean - theta) - p theta) + N(0, h), step by step, by hand."""
    sampler = rule(step_size=1e-3, batch_size=0, local_steps=5, prior_precision=2.0)
    visit = Points(3, torch.tensor([1.0, 2.0]), extra=torch.stack(exact_surrogate(3)), num_clients=1)
    visit.memory = exact_surrogate(3)
    by_hand, noise = visit.received, visit.stream("langevin noise")
    for _ in range(5):
        drift = N * (visit.mean - by_hand) - 2.0 * by_hand
        by_hand = by_hand + 5e-4 * drift + normal(noise, 2, 1e-3**0.5)

    moved, _ = sampler.work(visit)

    assert moved + visit.received == pytest.approx(by_hand, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("local_steps", "m"), [(100, 10), (10, 10), (100, 0)])
def test_fsgld_samples_the_posterior_and_dsgld_does_not(local_steps, m):
    """30 000 steps, the first third dropped. Predicted 0.0761 for m = 10, 0.0229 for full batches."""
    options = {"step_size": H, "batch_size": m, "local_steps": local_steps, "prior_precision": 0.0}
    options |= {"burn_in": 10_000, "thin": 100}
    far, near = (sampled(rule(**options), 30_000 // local_steps) for rule in (DSGLD, FSGLD))

    assert len(near) == len(far) == 200
    assert predicted_std(10) == pytest.approx(0.0761, abs=1e-4)
    assert predicted_std(0) == pytest.approx(0.0229, abs=1e-4)
    assert near.std(axis=0) == pytest.approx(np.full(2, predicted_std(m)), rel=0.2)
    assert np.abs(near.mean(axis=0) - EXACT).max() < 4 * predicted_std(m) / np.sqrt(200)
    assert far.std(axis=0).min() > 10 * near.std(axis=0).max()
    assert np.abs(far.mean(axis=0) - EXACT).max() > 3 * np.abs(near.mean(axis=0) - EXACT).max()


def test_without_correction_it_is_dsgld():
    theta, options = torch.tensor([1.0, -1.0]), {"prior_precision": 0.0, "local_steps": 20}
    visit = Points(4, theta, extra=torch.stack(exact_surrogate(1)), memory=exact_surrogate(4))

    assert torch.equal(DSGLD(**options).work(visit)[0], FSGLD(alpha=0.0, **options).work(visit)[0])


def test_the_noise_of_a_step_has_variance_h():
    """No drift: 1000 steps of two coordinates, chi-square of 2000 at 1e-9 is within 19 % of its mean."""
    visit = Points(0, torch.zeros(2))
    _, _, states = langevin.wander(visit, lambda t, _: (t * 0, t.sum()), torch.zeros(2), 0.04, 0, 1000, 0)
    steps = torch.stack(states).diff(dim=0, prepend=torch.zeros(1, 2))

    assert float(steps.square().mean()) == pytest.approx(0.04, rel=0.19)


def test_samples_are_kept_after_the_burn_in_and_thinned():
    """Visits of 30 steps, burn-in 100, thin 60: after 120, 180, 240 and 300 of 300 steps."""
    chain = langevin.Chain(1e-3, 0, 30, 0.0, 100, 60)
    samples = []
    for visit in range(1, 11):
        samples = chain.keep(torch.tensor([30.0 * visit]), visit, samples)

    assert [float(s) for s in samples] == [120.0, 180.0, 240.0, 300.0]


def test_a_surrogate_is_the_mean_and_the_variances_of_the_samples():
    samples = torch.tensor([[1.0, 0.0], [3.0, 4.0], [5.0, 8.0]])  # variances 4 and 16, means 3 and 4
    precision, shift = surrogate(samples)

    assert precision.tolist() == pytest.approx([1 / 4, 1 / 16])
    assert shift.tolist() == pytest.approx([3 / 4, 4 / 16])


def test_laplace_is_exact_for_a_gaussian():
    b, c = torch.tensor([200.0, 7.0]), torch.tensor([2.0, -5.0])
    precision, shift = laplace(lambda theta: b * (c - theta), torch.zeros(2), 5e-3, 500, 200)

    assert precision == pytest.approx(b, rel=1e-4)
    assert shift / precision == pytest.approx(c, rel=1e-3)


def test_a_client_fits_its_surrogate_to_its_own_points():
    """The local posterior is N(mean, 1/n), and h = 1e-3 widens its variance by 1 / (1 - h n / 4)."""
    visit = Points(5, torch.zeros(2), round=0)
    precision, shift = FSGLD(step_size=H, prior_precision=0.0).prepare(visit)

    assert precision == pytest.approx(torch.full((2,), N * (1 - 0.05)), rel=0.3)
    assert shift / precision == pytest.approx(visit.mean, abs=0.03)


def test_the_chain_goes_to_every_client_as_often():
    """2000 visits to 10 clients: counts within 5 standard deviations of 200."""
    visited = np.bincount(
        [int(DSGLD().sample(S, generator(7, "sample"), t)[0]) for t in range(2000)], minlength=S
    )
    assert np.abs(visited - 200).max() < 5 * np.sqrt(2000 * 0.1 * 0.9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"step_size": 0.0}, "step_size must be finite and above 0, got 0.0"),
        ({"batch_size": -1}, "batch_size must be at least 0, got -1"),
        ({"thin": 0}, "thin must be at least 1, got 0"),
        ({"prior_precision": -1.0}, "prior_precision must be finite and at least 0"),
        ({"surrogate": "vi"}, "surrogate must be sgld or laplace, got 'vi'"),
        ({"surrogate_steps": 1}, "surrogate_steps must be at least 2, got 1"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        FSGLD(**options)
