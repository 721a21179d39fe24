"""Oracle: hand calculations on two tensors, of 2 and 1 entries."""

import pytest
import torch
from torch import nn

from gauntlet.attacks.leakage.dlg import DLG
from gauntlet.attacks.leakage.inverting_gradients import InvertingGradients
from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.attacks.leakage.search.layerwise import layerwise
from gauntlet.core.layout import Layout
from gauntlet.core.observation import Truth
from gauntlet.core.seeds import generator

G = torch.tensor([3.0, 4.0, 2.0])
LAYOUT = Layout.of(nn.Linear(2, 1))


@pytest.mark.parametrize(
    ("name", "gradient", "expected"),
    [
        ("norm", [0, 0, 0], 1.0),
        ("norm", [3, 4, 0], 2 / 7),  # 0 + 2 over 5 + 2
        ("norm", [0, 8, 3], 6 / 7),  # 5 + 1
        ("l2_l1", [3, 4, 0], (4 + 0.01 * 2) / 29),
        ("l2_l1", [1, 7, 2], (13 + 0.01 * 5) / 29),
        ("cosine_layerwise", [4, 3, 2], 0.02),  # 1 - 24 / 25, and 0, over 2
        ("cosine_layerwise", [6, 8, -1], 1.0),  # 0 and 2
        ("cosine_layerwise", [0, 0, 0], 1.0),
    ],
)
def test_it_is_what_is_calculated_by_hand(name, gradient, expected):
    both = torch.tensor([gradient, G.tolist()], dtype=torch.float32)

    found = layerwise(name, G, LAYOUT)(both)

    assert found.tolist() == pytest.approx([expected, 0], abs=1e-6)


def test_entries_that_do_not_count_are_left_out():
    counts = torch.tensor([True, False, True])

    found = [
        float(layerwise(name, G, LAYOUT, counts)(torch.tensor([[3.0, 99.0, 2.0]])))
        for name in ("norm", "l2_l1", "cosine_layerwise")
    ]

    assert found == pytest.approx([0, 0, 0], abs=1e-6)


@pytest.mark.parametrize(
    "attack",
    [
        DLG(distance="l2_l1", max_iterations=60, line_search=True, init="uniform", restarts=3),
        DLG(distance="norm", max_iterations=60, line_search=True, init="uniform", restarts=3),
        InvertingGradients(distance="cosine_layerwise", max_iterations=150),
    ],
)
@pytest.mark.slow
def test_a_digit_is_rebuilt_by_it(digits, mlp, observe, attack):
    x, y = digits
    truth = Truth(x[:1], y[:1])

    found = attack.reconstruct([observe(mlp(nn.GELU), truth.x, truth.y)], generator(0, "attack"))

    assert score(found, truth).psnr.item() > 25


def test_another_distance_is_refused():
    with pytest.raises(ValueError, match="distance must be one of l2, l2_l1, norm, got 'cosine'"):
        DLG(distance="cosine")
    with pytest.raises(ValueError, match="distance must be one of cosine, cosine_layerwise, got 'l2'"):
        InvertingGradients(distance="l2")
    with pytest.raises(ValueError, match="distance 'norm' is no sum of squares"):
        DLG(distance="norm", optimizer="levenberg_marquardt")
