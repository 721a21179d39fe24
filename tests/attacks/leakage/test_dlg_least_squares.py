"""DLG solved for by least squares. Oracle: the victim's own image. Thresholds are measured."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage.dlg import DLG, _of_sum_one
from gauntlet.attacks.leakage.idlg import IDLG
from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.core.errors import PluginError
from gauntlet.core.observation import Truth
from gauntlet.core.seeds import generator, seeded_torch


def run(attack, observation, number=0):
    return attack.reconstruct([observation], generator(number, "attack"))


def told(observation, *labels):
    return replace(observation, knowledge=replace(observation.knowledge, labels=labels))


# Measured on the five digits and three batches below: 105 dB and more, in 4 to 9 steps.
SOLVED = DLG(optimizer="levenberg_marquardt", init="uniform", restarts=3, max_iterations=40)


def test_a_digit_and_its_label_are_solved_for_in_a_few_steps(digits, mlp, observe):
    x, y = digits
    for i in range(5):
        truth = Truth(x[i : i + 1], y[i : i + 1])

        found = run(SOLVED, observe(mlp(seed=i), truth.x, truth.y), number=i)

        assert score(found, truth).psnr.item() > 90
        assert found.y.tolist() == truth.y.tolist()
        assert found.stopped == "converged"
        assert len(found.trace) < 20


@pytest.mark.parametrize("batch_size", [2, 4])
def test_a_batch_and_its_labels_are_solved_for(digits, mlp, observe, batch_size):
    x, y = digits
    truth = Truth(x[:batch_size], y[:batch_size])
    observation = observe(mlp(nn.GELU), truth.x, truth.y)

    for one in (observation, told(observation, *y[:batch_size].tolist())):
        found = run(SOLVED, one)

        scores = score(found, truth)
        assert scores.psnr.min() > 80
        assert found.y[scores.order].tolist() == truth.y.tolist()


def test_labels_that_are_read_are_not_searched(digits, mlp, observe):
    """Of one example the rule is iDLG's: the same label, start and search, and so the same bits."""
    x, y = digits
    seen = observe(mlp(), x[:1], y[:1])
    options = {"optimizer": "levenberg_marquardt", "init": "uniform", "warm_up": 1, "max_iterations": 3}

    found, other = run(DLG(**options, labels="bias_counts"), seen), run(IDLG(**options), seen)

    assert torch.equal(found.x, other.x)
    assert found.y.tolist() == other.y.tolist() == [int(y[0])]


def test_a_warm_up_spares_derivatives(digits, mlp, observe):
    """A derivative by 74 unknowns counts as so many closures; the trace shows both searches."""
    x, y = digits
    truth, attack = Truth(x[:1], y[:1]), replace(SOLVED, restarts=1)
    seen = observe(mlp(), truth.x, truth.y)

    found, cold = run(replace(attack, warm_up=3), seen), run(attack, seen)

    assert score(found, truth).psnr.item() > 90
    assert found.y.tolist() == truth.y.tolist()
    assert sum(cost < 1e-2 for cost in found.trace[:3])
    assert len(found.trace) - 3 < len(cold.trace)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"warm_up": 5}, "0 with optimizer 'lbfgs', got 5"),
        ({"warm_up": -1, "optimizer": "levenberg_marquardt"}, "warm_up must be at least 0"),
        ({"labels": "read"}, "labels must be one of ilrg, .*, or None, got 'read'"),
    ],
)
def test_options_of_the_search_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        DLG(**options)


def test_labels_that_are_solved_for_have_the_sum_1():
    """By hand: (1, 2, 0) is 2 too much, so each number loses 2/3."""
    found = _of_sum_one(torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 0.0]]))

    torch.testing.assert_close(found, torch.tensor([[1 / 3, 4 / 3, -2 / 3], [0.0, 1.0, 0.0]]))


def test_an_optimizer_that_is_none_is_refused():
    with pytest.raises(ValueError, match="optimizer must be one of lbfgs, levenberg_marquardt, got 'adam'"):
        DLG(optimizer="adam")


def test_what_cannot_be_solved_for_is_refused_before_the_run(digits, mlp, observe):
    x, y = digits
    small = observe(nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(4, 10)), x[:1], y[:1])

    DLG().check(small)
    with pytest.raises(PluginError, match="got 50 for 74"):  # a label is ten numbers more
        SOLVED.check(small)
    with pytest.raises(PluginError, match="got 50 for 64"):
        IDLG(optimizer="levenberg_marquardt").check(small)


@pytest.mark.parametrize("labels", [(), (3,)], ids=["not told", "told"])
@pytest.mark.parametrize(
    "options",
    [{}, {"distance": "l2_l1"}, {"distance": "norm"}, {"masked": True}, {"optimizer": "levenberg_marquardt"}],
    ids=str,
)
def test_a_message_of_zeros_says_nothing_and_is_not_said_to_be_explained(
    digits, mlp, observe, options, labels
):
    """||g - 0||^2 / ||0||^2 is no number, and many inputs have a gradient near 0."""
    x, y = digits
    silent = observe(mlp(), x[:1], y[:1])
    silent = replace(silent, update=torch.zeros_like(silent.update))

    found = run(DLG(max_iterations=20, **options), told(silent, *labels) if labels else silent)

    assert found.stopped == "nan"
    assert found.cost == float("inf")
    assert found.x.isfinite().all()


def test_entries_that_a_mask_leaves_out_are_no_equations(digits, mlp, observe):
    """Of 60 entries nobody finds 64 pixels: least squares would call some others solved."""
    x, y = digits
    seen = observe(mlp(nn.Tanh), x[:1], y[:1])
    least = seen.update.abs().sort().values[-60]
    pruned = torch.where(seen.update.abs() >= least, seen.update, torch.zeros(()))
    told = replace(seen, update=pruned, knowledge=replace(seen.knowledge, labels=(int(y[0]),)))

    with pytest.raises(PluginError, match="as many entries that are not 0 as unknowns, got 60 for 64"):
        run(replace(SOLVED, masked=True), told)
    replace(SOLVED, masked=True).check(replace(told, update=torch.zeros_like(pruned)))  # before any training


@pytest.fixture(scope="module")
def trained(digits):
    """A multi-layer perceptron 64-64-10 with tanh after 100 steps of Adam on 64 digits each."""
    x, y = digits
    with seeded_torch(generator(0, "weights")):
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
    adam, order = torch.optim.Adam(model.parameters(), 1e-2), generator(0, "order")
    for _ in range(100):
        rows = torch.from_numpy(order.integers(len(x), size=64))
        adam.zero_grad()
        functional.cross_entropy(model(x[rows]), y[rows]).backward()
        adam.step()
    return model.requires_grad_()


@pytest.mark.parametrize("batch_size", [1, 2])
def test_behind_a_trained_model_labels_are_no_obstacle_to_least_squares(digits, trained, observe, batch_size):
    """Measured on ten victims from one start each: above 60 dB 9 and 8 of 10; 2 and 1 where labels are not
    solved for, the others ending at 5 to 7 dB with a wrong label."""
    x, y = digits
    attack = replace(SOLVED, restarts=1)
    for i in (3, 6) if batch_size == 1 else (1, 2):
        rows = slice(i * batch_size, (i + 1) * batch_size)
        truth = Truth(x[rows], y[rows])

        found = run(attack, observe(trained, truth.x, truth.y), number=i)

        scores = score(found, truth)
        assert scores.psnr.min() > 60
        assert found.y[scores.order].tolist() == truth.y.tolist()
