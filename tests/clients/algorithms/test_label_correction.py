"""Oracles: inverses by hand, unbiasedness over all wrong labels, and the forward form's own definition."""

import numpy as np
import pytest
import torch

from gauntlet.clients.algorithms.label_correction import LabelCorrection
from gauntlet.core.contracts import Activations

THREE = ((0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8))
LOGS = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).log_softmax(dim=1)


def test_a_symmetric_rate_is_its_matrix_and_the_inverse_is_known():
    """.8 / .1 / .1: inverse entries 9 / 7 and -1 / 7."""
    noise = LabelCorrection(rate=0.2)._noise(3)
    assert noise == pytest.approx(np.array(THREE))
    rule = LabelCorrection("backward", matrix=THREE, least=None)
    found = rule._corrected(-torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.int64))
    assert found.tolist() == pytest.approx([9 / 7, -1 / 7, -1 / 7])


def test_two_classes_with_false_positives_and_negatives():
    """FP .1, FN .2: rewards 1.285714 and -.142857 for called right and called wrong, 1 and 0 on average."""
    rule = LabelCorrection("backward", matrix=((0.9, 0.1), (0.2, 0.8)), least=None)
    reward = torch.tensor([[0.0, -1.0]], dtype=torch.float64)  # minus the losses of classes wrong and right
    said = [float(rule._corrected(reward, torch.tensor([label]))) for label in (0, 1)]
    assert said == pytest.approx([-1 / 7, 9 / 7])
    assert 0.2 * said[0] + 0.8 * said[1] == pytest.approx(1.0)
    assert 0.9 * said[0] + 0.1 * said[1] == pytest.approx(0.0)


def test_backward_losses_are_those_of_the_right_labels_on_average():
    matrix = ((0.7, 0.2, 0.1), (0.0, 0.9, 0.1), (0.3, 0.1, 0.6))
    rule = LabelCorrection("backward", matrix=matrix, least=None)
    for true in range(3):
        each = [rule._corrected(LOGS, torch.full((5,), said)) for said in range(3)]
        mean = sum(p * one for p, one in zip(matrix[true], each, strict=True))
        torch.testing.assert_close(mean, -LOGS[:, true])


def test_forward_losses_are_of_what_the_label_would_be():
    labels, matrix = torch.tensor([0, 1, 2, 1, 0]), torch.tensor(THREE, dtype=torch.float64)
    expected = -(LOGS.exp() @ matrix)[torch.arange(5), labels].log()
    torch.testing.assert_close(
        LabelCorrection(rate=0.2)._corrected(LOGS, labels), expected, rtol=1e-6, atol=1e-7
    )
    without = LabelCorrection(matrix=tuple(map(tuple, torch.eye(3).tolist())))._corrected(LOGS, labels)
    torch.testing.assert_close(without, -LOGS[torch.arange(5), labels])


def test_what_is_added_makes_the_plain_loss_the_corrected_one():
    outputs, labels = (
        torch.randn(4, 3, generator=torch.Generator().manual_seed(1)),
        torch.tensor([0, 2, 1, 1]),
    )
    for form in ("forward", "backward"):
        rule = LabelCorrection(form)
        added = rule.added_loss(Activations(outputs, outputs), {}, labels)
        plain = torch.nn.functional.cross_entropy(outputs, labels, reduction="none")
        torch.testing.assert_close(plain + added, rule._corrected(outputs.log_softmax(dim=1), labels))
    assert LabelCorrection(rate=0.0).added_loss is None


def test_a_backward_loss_is_bounded_where_it_is_told():
    far = torch.tensor([[0.0, -50.0, -50.0]])
    assert LabelCorrection("backward", least=None)._corrected(far, torch.tensor([0])) < -10
    assert LabelCorrection("backward")._corrected(far, torch.tensor([0])) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"form": "x"}, "form must be"),
        ({"rate": 1.0}, "rate must be"),
        ({"matrix": ((1.0, 0.1), (0.0, 1.0))}, "rows summing to 1"),
        ({"matrix": ((0.5, 0.5), (0.5, 0.5)), "form": "backward"}, "must have an inverse"),
        ({"matrix": ((float("nan"), 0.5), (0.5, 0.5))}, "probabilities at least 0"),
        ({"least": float("nan")}, "least must be finite, or left out; got nan"),
    ],
)
def test_options_that_cannot_be_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        LabelCorrection(**options)


def test_classes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"below 0\.5 of 2 classes"):
        LabelCorrection(rate=0.6)._noise(2)
    with pytest.raises(ValueError, match="each of 4 classes, got 3"):
        LabelCorrection(matrix=THREE)._noise(4)
