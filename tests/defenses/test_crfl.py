"""Oracles: the paper's formula typed once more, closed forms of a linear model, attacks inside the radius."""

import math

import pytest
import torch
from scipy.stats import norm

from gauntlet.core.contracts import EvaluatedModel
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.seeds import generator
from gauntlet.defenses.crfl import CRFL

LAYOUT = Layout((Slot("weight", (2, 3), 0), Slot("bias", (2,), 6)))


def dense(params, x, buffers=None):
    named = LAYOUT.views(params)
    return x @ named["weight"].mT + named["bias"][:, None]


def model(forward=dense, classes=2, gain=1.0, expected_size=10.0, round_=0):
    return EvaluatedModel(round_, LAYOUT, classes, 0, forward, expected_size, gain)


def drawn(seed, examples=60):
    torch.manual_seed(seed)
    return torch.randn(8), torch.rand(examples, 3)


def papers_radius(pa, pb, sigma, rho, attackers, weight, scale, steps, lr, share, lipschitz, left):
    """Return the radius in examples, as the paper's theorem and its code have it, with one attacked round."""
    numerator = -math.log(1 - (math.sqrt(pa) - math.sqrt(pb)) ** 2) * sigma**2
    spent = 2 * attackers * lipschitz**2 * attackers * (weight * scale * steps * lr * share) ** 2
    return math.sqrt(numerator / (spent * (2 * norm.cdf(rho / sigma) - 1) ** left))


def test_the_radius_is_the_papers_times_what_an_example_moves_the_parameters():
    """R = 2 of N = 20, gamma = 10, tau = 30, eta = .001, q / n = .05, L^2 = 17, rho = 2, sigma = .01."""
    rule, slack = CRFL(), math.sqrt(math.log(1000) / 2000)
    for first, second in ((1000, 0), (900, 60), (700, 300), (620, 200)):
        pa, pb = first / 1000 - slack, second / 1000 + slack
        told = papers_radius(pa, pb, 0.01, 2.0, 2, 1 / 20, 10, 30, 0.001, 0.05, math.sqrt(17), 90)
        moved = 2 * math.sqrt(17) * math.sqrt(2 * 2 * (1 / 20 * 10 * 30 * 0.001 * 0.05) ** 2)
        found = 0.01 * float(rule.radii(torch.tensor([[first, second, 1000 - first - second]]))[0])
        assert found == pytest.approx(told * moved, rel=1e-9)


def test_a_vote_that_is_not_sure_has_no_radius():
    """The paper's formula squares a difference of roots, and would certify where p_a is below p_b."""
    slack = 1000 * math.sqrt(math.log(1000) / 2000)  # 58.8 votes
    counts = torch.tensor([[540, 460], [int(500 + slack), int(500 - slack)], [560, 440]])
    assert CRFL().radii(counts)[:2].tolist() == [0.0, 0.0]
    assert float(CRFL().radii(counts)[2]) > 0


def test_the_radius_is_never_beyond_what_two_gaussians_allow():
    """Cohen, Rosenfeld, Kolter (2019): (Phi^-1(p_a) - Phi^-1(p_b)) / 2 is the largest that can hold."""
    first = torch.arange(51, 100).double() * 10**4
    rule = CRFL(votes=10**6, alpha=0.5)
    slack = math.sqrt(math.log(2) / 2e6)
    found = rule.radii(torch.stack([first, 10**6 - first], dim=1))
    tight = norm.ppf(first.numpy() / 1e6 - slack)
    assert bool((found.numpy() <= tight).all())
    assert float(found[-1]) > 0.7 * tight[-1]


@pytest.mark.parametrize("seed", range(4))
def test_no_attack_inside_the_radius_changes_a_vote_and_twice_as_far_many_do(seed):
    """Closed form: the vote of a linear model of two classes is that of its mean, w itself.

    The shortest way to flip it is along the margin's gradient, as long as the margin over its norm. At 0.999
    of the radius nobody's vote flips; were the radius twice as large, certified votes would.
    """
    params, x = drawn(seed)
    rule = CRFL(noise_std=0.5, votes=4000, alpha=0.01)
    radius = rule.evaluate(params, x, model())["radius"]
    logits = dense(params[None], x)[0]
    told, every = logits.argmax(dim=1), torch.arange(len(x))
    seen = torch.cat([x, torch.ones(len(x), 1)], dim=1)  # [m, 4]
    push = torch.zeros(len(x), 2, 4)
    push[every, 1 - told], push[every, told] = seen, -seen
    way = torch.cat([push[..., :3].flatten(1), push[..., 3]], dim=1)
    way = torch.nn.functional.normalize(way, dim=1)  # [m, P]

    def votes_at(scale):
        moved = params + scale * radius[:, None].float() * way
        return dense(moved, x)[every, every].argmax(dim=1)

    sure = radius > 0
    assert int(sure.sum()) > 20
    assert not bool(((votes_at(0.999) != told) & sure).any())
    assert bool(((votes_at(2.0) != told) & sure).any())


def test_votes_are_those_of_the_closed_form():
    """A linear margin's sign is that of w with chance Phi(margin / (sigma sqrt(2) |(x, 1)|))."""
    params, x = drawn(7)
    rule = CRFL(noise_std=0.5, votes=20_000)
    counts = rule._counted(params, x, model())
    logits = dense(params[None], x)[0].double()
    length = (1 + x.double().square().sum(dim=1)).sqrt()
    chance = norm.cdf(((logits[:, 0] - logits[:, 1]) / (0.5 * math.sqrt(2) * length)).numpy())
    assert bool((counts.sum(dim=1) == 20_000).all())
    assert abs(counts[:, 0].numpy() / 20_000 - chance).max() < 4 * 0.5 / math.sqrt(20_000)


def test_the_aggregate_leads_to_the_clipped_noisy_model(cohort, at):
    """By hand: w = (3, 0), the mean of (0, 2), (0, 6) is (0, 4): norm 5, clipped to 2 + 0.1 * 5 = 2.5."""
    updates = at(cohort(torch.tensor([[0.0, 2.0], [0.0, 6.0]])), 5, params=torch.tensor([3.0, 0.0]), seed=4)
    verdict, _ = CRFL(noise_std=0.01).aggregate(updates, None)
    noise = generator(4, "crfl", 5).standard_normal(2)
    model = torch.tensor([3.0, 0.0]) + verdict.aggregate - 0.01 * torch.from_numpy(noise)
    assert model.tolist() == pytest.approx([1.5, 2.0])
    assert verdict.weights.tolist() == [0.5, 0.5]


def test_with_a_bound_f_liars_move_the_model_by_no_more_than_the_reach(cohort, at):
    """By hand: gain 0.5, f = 2, C = 4, K = 10: 0.4. Clipping the model afterwards moves nothing apart."""
    rule = CRFL(clip_norm=1.0, noise_std=0.01, update_clip_norm=4.0, num_byzantine=2, votes=50)
    params, x = drawn(3)
    columns = rule.evaluate(params, x, model(gain=0.5))
    assert columns["reach"] == pytest.approx(0.4, rel=2e-5)
    assert torch.equal(columns["certified"], columns["radius"] > columns["reach"])
    honest, ends = torch.randn(10, 8), []
    for lie in (torch.zeros(8), 1e6 * torch.randn(8)):
        rows = honest.clone()
        rows[:2] = lie
        verdict, _ = rule.aggregate(at(cohort(rows, expected_size=10.0), params=params), None)
        ends.append(verdict.aggregate)
    assert 0 < float((ends[0] - ends[1]).norm()) <= columns["reach"] / 0.5
    assert set(rule.evaluate(params, x, model(gain=None))) == {"radius"}
    assert set(CRFL(votes=50).evaluate(params, x, model())) == {"radius"}


def test_a_small_cohort_is_divided_by_the_expected_one(cohort, at):
    """By hand: of ten expected clients one came with (6, 8), clipped to 5: w moves by (3, 4) / 10."""
    updates = at(cohort(torch.tensor([[6.0, 8.0]]), expected_size=10.0), params=torch.zeros(2))
    verdict, _ = CRFL(noise_std=1e-9, update_clip_norm=5.0).aggregate(updates, None)
    assert verdict.aggregate.tolist() == pytest.approx([0.3, 0.4])
    assert verdict.weights.tolist() == pytest.approx([0.05])


def test_where_the_model_answers_otherwise_than_the_vote_nothing_is_certified():
    """Every noisy model says class 1, the model itself 0."""
    params, x = drawn(0)

    def forward(rows, x, buffers=None):
        noisy = (rows != params).any(dim=1)  # [L]
        return torch.stack([~noisy, noisy], dim=1).float()[:, None].expand(-1, len(x), -1)

    assert float(CRFL(votes=100).evaluate(params, x, model(forward))["radius"].max()) == 0.0


@pytest.mark.parametrize(
    "options",
    [
        {"clip_norm": 0.0},
        {"noise_std": 0.0},
        {"update_clip_norm": 0.0},
        {"num_byzantine": -1},
        {"votes": 0},
        {"alpha": 1.0},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        CRFL(**options)


def test_a_regression_is_refused():
    params, x = drawn(0)
    with pytest.raises(ValueError, match=r"two classes or more, got .* for 0 classes"):
        CRFL().evaluate(params, x, model(classes=0))


def test_a_model_with_outputs_for_each_place_of_a_text_is_refused():
    params, x = drawn(0)

    def forward(rows, inputs, buffers=None):
        return torch.zeros(len(rows), len(inputs), 5, 3)

    with pytest.raises(ValueError, match=r"one output a class, .* got outputs \[5, 3\] for 3 classes"):
        CRFL().evaluate(params, x, model(forward, classes=3))
