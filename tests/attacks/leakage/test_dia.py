"""Oracles: the victim's own image, and Inverting Gradients where there is nothing to drop."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage.dia import DIA, rate_gap
from gauntlet.attacks.leakage.inverting_gradients import InvertingGradients
from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.attacks.leakage.search import descent
from gauntlet.attacks.leakage.search.masked import masked_gradients_of
from gauntlet.attacks.leakage.wiig import WIIG
from gauntlet.core.dropout import Call, masked, seen_calls
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout
from gauntlet.core.observation import Truth
from gauntlet.core.seeds import generator, seeded_torch

FLAT = (1e-5, 1e-5)


def deep(rate, seed=0, hidden=128):
    with seeded_torch(generator(seed, "weights")):
        sizes = [64, hidden, hidden, hidden]
        layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.GELU(), nn.Dropout(rate))]
        return nn.Sequential(nn.Flatten(), *layers, nn.Linear(hidden, 10))


@pytest.fixture
def dropped(observe):
    """Observe one step of a client whose dropout drops by masks of its own stream."""

    def step(model, x, y, seed=0):
        stream = torch.Generator().manual_seed(seed)
        masks = [torch.empty(shape).bernoulli_(1 - p, generator=stream) for p, shape in seen_calls(model, x)]
        with masked(model, masks):
            seen = observe(model, x, y)
        told = {"labels": tuple(y.tolist()), "dropout_masks": tuple(masks)}
        return replace(seen, knowledge=replace(seen.knowledge, **told, levels={"dropout_masks": "oracle"}))

    return step


def run(attack, observation, number=0):
    return attack.reconstruct([observation], generator(number, "attack"))


def errors(dropped, digits, rate, number, iterations, hidden=128):
    """Return the mean squared error of the oracle, of DIA and of Inverting Gradients in evaluation mode."""
    x, y = digits
    truth = Truth(x[number : number + 1], y[number : number + 1])
    seen = dropped(deep(rate, hidden=hidden), truth.x, truth.y, seed=number)
    options = {"max_iterations": iterations, "tv": FLAT}
    return [
        score(run(attack(**options), seen, number), truth).mse.item()
        for attack in (WIIG, DIA, InvertingGradients)
    ]


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_without_dropout_it_is_inverting_gradients_to_the_last_bit(digits, observe, rate):
    """Leakage specification, 4.5: p = 0. In a model whose layers drop, it is not."""
    x, y = digits
    seen = observe(deep(rate).eval(), x[:1], y[:1])
    options = {"max_iterations": 10, "tv": FLAT, "restarts": 2}

    authors = InvertingGradients(**options, tv_bound=None, schedule="steps")
    one, other = run(DIA(**options), seen), run(authors, seen)

    assert (one.trace == other.trace) == (rate == 0)
    assert torch.equal(one.x, other.x) == (rate == 0)


def test_the_oracle_is_below_dia_and_dia_far_below_inverting_gradients(digits, dropped):
    """2208.06163: the order of errors. Measured: 3e-7, 2e-4 and 0.18."""
    oracle, dia, plain = errors(dropped, digits, 0.5, 1, 120, hidden=96)

    assert oracle < dia < plain / 10


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "numbers"), [(0.25, (0, 1)), (0.5, (2, 3))])
def test_the_order_holds_on_four_digits(digits, dropped, rate, numbers):
    """Leakage specification, 4.5: oracle < DIA < Inverting Gradients on 4 of 4 digits, 1000 iterations."""
    for number in numbers:
        oracle, dia, plain = errors(dropped, digits, rate, number, 1000)
        assert oracle < dia < plain / 10


def test_gradients_are_those_of_a_forward_pass_with_products(digits):
    """By hand: each layer's output times m / (1 - p); one search alone, and two in one batch."""
    x, y = digits
    model = deep(0.5, hidden=12)
    layout, named = Layout.of(model), dict(model.named_parameters())
    masks = [torch.rand(2, 3, 12) for _ in range(3)]
    inputs = torch.stack([x[:3], x[3:6]])
    wanted = []
    for r in range(2):
        h, left = inputs[r], iter(masks)
        for layer in model:
            h = h * next(left)[r] / 0.5 if isinstance(layer, nn.Dropout) else layer(h)
        parts = torch.autograd.grad(
            functional.cross_entropy(h, y[:3]), [named[s.name] for s in layout.parameters]
        )
        wanted.append(torch.cat([part.reshape(-1) for part in parts]))

    class Seen:
        pass

    seen = Seen()
    seen.model, seen.layout = model, layout
    gradients = masked_gradients_of(seen)
    torch.testing.assert_close(gradients(inputs, masks, y[:3]), torch.stack(wanted))
    torch.testing.assert_close(gradients(inputs[:1], [m[:1] for m in masks], y[:3])[0], wanted[0])


def test_only_the_inputs_gradient_is_signed_and_masks_stay_between_0_and_1(digits, dropped, monkeypatch):
    """2208.06163 and the authors' code. A first step of Adam is lr against the sign of any gradient; from
    the second on, masks whose gradients are no signs move by less than that, and by different amounts.
    """
    x, y = digits
    seen, points = dropped(deep(0.5, hidden=16), x[:1], y[:1]), []
    original = descent.by_adam

    def watch(problem, starts, how, budget, stream):
        def project(variables):
            problem.project(variables)
            points.append([v.clone() for v in variables])

        begin = [[v[None].clone() for v in starts[0]]]
        found = original(replace(problem, project=project), starts, how, budget, stream)
        points[:0] = begin
        return found

    monkeypatch.setattr(descent, "by_adam", watch)
    run(DIA(max_iterations=6, decays=False, lr=0.01), seen)

    assert len(points) == 7
    assert all(0 <= float(mask.min()) <= float(mask.max()) <= 1 for point in points for mask in point[1:])
    assert {float(v) for mask in points[0][1:] for v in mask.flatten()} == {0.0, 1.0}
    moved = [(b - a).abs() for a, b in zip(points[4], points[5], strict=True)]
    sizes = [len(set(m[m > 1e-7].mul(1e6).round().tolist())) for m in moved[1:]]
    assert min(sizes) > 3  # not all of one size
    assert len({round(float(v), 4) for m in points[1:] for v in m[1].unique()} - {0.0, 1.0}) > 10


def test_what_a_mask_costs_is_how_far_its_share_is_from_the_rate():
    """By hand: shares dropped of 1/4 and 1/2 at p = 1/2, then 1 and 0 at p = 1/4."""
    calls = [Call(0.5, (4,)), Call(0.25, (2,))]
    masks = [torch.tensor([[[1.0, 1, 1, 0]], [[1.0, 0, 1, 0]]]), torch.tensor([[[0.0, 0]], [[1.0, 1]]])]

    assert rate_gap(masks, calls).tolist() == [0.25 + 0.75, 0.0 + 0.25]


def test_true_masks_reach_no_attack_but_the_oracle(digits, dropped):
    from gauntlet.attacks.leakage import LEAKAGE_ATTACKS
    from gauntlet.attacks.leakage.parts.requirements import named_by, oracles_of, told

    x, y = digits
    seen = dropped(deep(0.5), x[:1], y[:1])
    names = {
        name for name in LEAKAGE_ATTACKS.table if "dropout_masks" in named_by(LEAKAGE_ATTACKS.find(name))
    }

    assert names == {"wiig"}
    assert told(DIA(), seen).knowledge.dropout_masks is None
    assert (oracles_of(DIA(), [seen]), oracles_of(WIIG(), [seen])) == ([], ["dropout_masks"])


def test_a_batch_has_a_mask_an_example(digits, dropped):
    x, y = digits
    truth = Truth(x[:2], y[:2])

    found = run(WIIG(max_iterations=200), dropped(deep(0.5), truth.x, truth.y))

    assert score(found, truth).psnr.min() > 30


class Own(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x, 0.5, self.training)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.AlphaDropout(0.5), "AlphaDropout.* draws in a way of its own"),
        (nn.Dropout(0.5, inplace=True), "draws in a way of its own"),
        (Own(), "the model draws random numbers outside of dropout layers"),
    ],
)
def test_dropout_that_takes_no_masks_is_refused(digits, observe, layer, words):
    x, y = digits
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), layer, nn.Dropout(0.1), nn.Linear(8, 10))
    seen = observe(model.eval(), x[:1], y[:1])

    with pytest.raises(PluginError, match=f"masks cannot stand in .*{words}"):
        run(DIA(), seen)


def test_masks_of_another_model_and_masks_that_are_not_told_are_refused(digits, dropped):
    x, y = digits
    seen = dropped(deep(0.5), x[:1], y[:1])
    short = replace(seen, knowledge=replace(seen.knowledge, dropout_masks=(torch.ones(1, 3),)))
    unknown = replace(seen, knowledge=replace(seen.knowledge, dropout_masks=None, levels={}))

    with pytest.raises(
        PluginError, match=r"drops values of shapes \[\(1, 128\).*got masks of shapes \[\(1, 3\)\]"
    ):
        run(WIIG(), short)
    with pytest.raises(PluginError, match=r"missing here: dropout_masks"):
        run(WIIG(), unknown)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_weights_out_of_range_are_refused(weight):
    with pytest.raises(ValueError, match="mask_weight must be at least 0 and finite"):
        DIA(mask_weight=weight)
