"""Oracles: a derived value, an attack on the parameters, and the certificate's own edge."""

import pytest
import torch

from gauntlet.core.contracts import EvaluatedModel
from gauntlet.core.layout import Layout, Slot
from gauntlet.defenses.parameter_certificate import ParameterCertificate

CLASSES, WIDTH = 4, 6
LAYOUT = Layout((Slot("weight", (CLASSES, WIDTH), 0), Slot("bias", (CLASSES,), CLASSES * WIDTH)))


def dense(params, x, buffers=None, layout=LAYOUT):
    """A dense layer on inputs that it first centres and halves, as a normalising layer would."""
    named = layout.views(params)
    seen = (x.flatten(1) - 0.25) / 2
    return seen @ named["weight"].flatten(2).mT + named["bias"][:, None]


def model(forward=dense, layout=LAYOUT, classes=CLASSES, gain=1.0, expected_size=10.0):
    return EvaluatedModel(0, layout, classes, 0, forward, expected_size, gain)


def drawn(seed, examples=40):
    torch.manual_seed(seed)
    return torch.randn(LAYOUT.num_parameters), torch.rand(examples, 1, 2, 3)


def predictions(params, x):
    return dense(params[None], x)[0].argmax(dim=1)


def test_the_radius_is_the_gap_over_root_two_times_the_length_of_the_input():
    """Derived: z = (2, 0.5, -1) and |(x, 1)|^2 = 10 give 1.5 / (sqrt(2) sqrt(10)) = 0.335410."""
    layout = Layout((Slot("weight", (3, 1), 0), Slot("bias", (3,), 3)))

    def forward(params, x, buffers=None):
        named = layout.views(params)
        return x @ named["weight"].mT + named["bias"][:, None]

    params = torch.tensor([0.0, 0.0, 0.0, 2.0, 0.5, -1.0])
    columns = ParameterCertificate(1.0, 1).evaluate(params, torch.tensor([[3.0]]), model(forward, layout, 3))
    assert float(columns["radius"]) == pytest.approx(0.335410, abs=5e-7)


@pytest.mark.parametrize("seed", range(5))
def test_no_attack_inside_the_radius_changes_a_prediction_and_one_at_its_edge_does(seed):
    """Projected gradient ascent of each other class's margin over the parameters, three starts, at 0.999 r.

    Along the margin's own gradient, which is constant, 1.001 r suffices for the nearest class: it is tight.
    """
    params, x = drawn(seed)
    radii = ParameterCertificate(1.0, 1).evaluate(params, x, model())["radius"].float()[:, None]
    told, every = predictions(params, x), torch.arange(len(x))

    def moved_logits(moved):  # each example's, by its own parameters
        return dense(params + moved, x)[every, every]

    def gradient(moved, other):
        where = moved.clone().requires_grad_()
        logits = moved_logits(where)
        return torch.autograd.grad((logits[every, other] - logits[every, told]).sum(), where)[0]

    at_the_edge = torch.zeros(len(x), dtype=torch.bool)
    for step in range(1, CLASSES):
        other = (told + step) % CLASSES
        for start in range(3):
            moved = torch.randn(len(x), len(params)) * (start > 0)
            for _ in range(20):
                moved = moved + gradient(moved, other)
                moved = moved * 0.999 * radii / moved.norm(dim=1, keepdim=True)
            assert torch.equal(moved_logits(moved).argmax(dim=1), told)
        edge = torch.nn.functional.normalize(gradient(moved, other), dim=1) * 1.001 * radii
        at_the_edge |= moved_logits(edge).argmax(dim=1) != told
    assert bool(at_the_edge.all())


def test_lying_clients_take_no_certified_prediction_and_take_one_that_is_not(cohort):
    """Two of ten clients send whatever they like, as long as they like; the rest send nothing. gain = 0.5.

    By hand they move the parameters by at most 0.5 * 2 * C / 10; with C = 4 that is 0.4.
    """
    params, x = drawn(9, examples=200)
    rule = ParameterCertificate(4.0, 2)
    columns = rule.evaluate(params, x, model(gain=0.5))
    assert columns["reach"] == pytest.approx(0.4, rel=2e-5)
    told, taken = predictions(params, x), 0
    for row, one in enumerate(x):
        seen = torch.cat([(one.flatten() - 0.25) / 2, torch.ones(1)])
        for other in set(range(CLASSES)) - {int(told[row])}:
            push = torch.zeros(CLASSES, WIDTH + 1)
            push[other], push[told[row]] = seen, -seen
            lie = 1e6 * torch.cat([push[:, :-1].flatten(), push[:, -1]])
            rows = torch.stack([lie, lie, *[torch.zeros(len(params))] * 8])
            verdict, _ = rule.aggregate(cohort(rows, expected_size=10.0), None)
            step = 0.5 * verdict.aggregate
            assert float(step.norm()) == pytest.approx(0.4, rel=1e-5)
            flipped = predictions(params + step, x) != told
            assert not bool((flipped & columns["certified"]).any())
            taken += int(flipped[row])
        if not columns["certified"][row]:
            assert taken
        taken = 0
    assert 0 < int(columns["certified"].sum()) < len(x)


def test_the_rule_is_the_clipped_sum_over_the_expected_cohort(cohort):
    """By hand: (3, 4) at C = 1 is (0.6, 0.8), (0, 0.5) stays; over an expected cohort of 4: (0.15, 0.325)."""
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.5]])
    verdict, _ = ParameterCertificate(1.0, 1).aggregate(cohort(rows, expected_size=4.0), None)
    assert verdict.aggregate.tolist() == pytest.approx([0.15, 0.325])
    assert verdict.weights.tolist() == pytest.approx([0.05, 0.25])
    assert list(verdict.scores.values()) == pytest.approx([5.0, 0.5])


def test_without_a_multiple_nothing_is_certified_and_a_diverged_model_has_no_radius():
    params, x = drawn(0)
    assert set(ParameterCertificate(1.0, 1).evaluate(params, x, model(gain=None))) == {"radius"}
    columns = ParameterCertificate(1.0, 1).evaluate(params * float("nan"), x, model())
    assert bool(columns["radius"].isnan().all())
    assert not bool(columns["certified"].any())


def test_more_liars_and_longer_messages_certify_less():
    params, x = drawn(1, examples=200)

    def certified(clip_norm, liars):
        return int(ParameterCertificate(clip_norm, liars).evaluate(params, x, model())["certified"].sum())

    counts = [certified(1.0, 0), certified(1.0, 2), certified(1.0, 5), certified(3.0, 5)]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == 4


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"layout": Layout((Slot("weight", (4, 6), 0),))},
            r"one dense layer .*, got 1 tensors, the first \[\[4, 6\]\], for 4",
        ),
        ({"classes": 0}, "for 0 classes"),
        ({"classes": 5}, "for 5 classes"),
        ({"forward": lambda *given: dense(*given).relu()}, "logits are linear in its parameters"),
        ({"forward": lambda *given: dense(*given)[..., :3]}, "logits are linear in its parameters|size"),
    ],
)
def test_other_models_are_refused(changes, line):
    params, x = drawn(2)
    with pytest.raises((ValueError, RuntimeError), match=line):
        ParameterCertificate(1.0, 1).evaluate(params, x, model(**changes))


@pytest.mark.parametrize("options", [(0.0, 1), (1.0, -1)])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        ParameterCertificate(*options)
