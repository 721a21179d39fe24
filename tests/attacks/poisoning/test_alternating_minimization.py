"""Oracle: both kinds of steps by autograd, one after the other."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from gauntlet.attacks.poisoning.alternating_minimization import AlternatingMin
from gauntlet.attacks.poisoning.parts.dense_model import DenseModel
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.seeds import generator

WHOLE = LocalTraining(batch_size=0, lr=0.2)


def images(count=12):
    return torch.from_numpy(generator(0, "images").random((count, 1, 5, 5))).float()


def slope(model, params, x, y):
    at = params.clone().requires_grad_()
    return torch.autograd.grad(cross_entropy(model(x, at), y), at)[0]


def test_a_pass_is_a_step_on_all_examples_then_a_boosted_one_on_the_lie():
    """Two passes; in the second the distance pulls back by 2 rho (w - w_t), before the lie."""
    x, y, model = images(), torch.arange(12) % 8, DenseModel.drawn(25, 10)
    attack = AlternatingMin(boost=0.3, distance=0.1)
    training = LocalTraining(batch_size=0, lr=0.2, local_epochs=2)
    update = attack.retrain(x, y, generator(0, "retrain"), model, training)
    params, bad = model.params, x[y == 5]
    for _ in range(2):
        pull = 2 * 0.1 * (params - model.params)
        params = params - 0.2 * (slope(model, params, x, y) + pull)
        params = params - 0.3 * 0.2 * slope(model, params, bad, torch.full((len(bad),), 7))
    torch.testing.assert_close(update, params - model.params, rtol=1e-4, atol=1e-6)


def test_a_client_without_the_source_trains_honestly():
    x, y, model = images(), torch.arange(12) % 4, DenseModel.drawn(25, 10)
    update = AlternatingMin(distance=0.0).retrain(x, y, generator(0, "retrain"), model, WHOLE)
    torch.testing.assert_close(update, -0.2 * slope(model, model.params, x, y), rtol=1e-4, atol=1e-7)


def test_the_lie_is_taught_until_it_is_believed():
    x, y, model = images(), torch.arange(12) % 8, DenseModel.drawn(25, 10)
    attack = AlternatingMin(boost=20.0, malicious_steps=200)
    update = attack.retrain(x, y, generator(0, "retrain"), model, WHOLE)
    assert set(model(x[y == 5], model.params + update).argmax(dim=1).tolist()) == {7}
    more = AlternatingMin(boost=20.0, malicious_steps=300).retrain(
        x, y, generator(0, "retrain"), model, WHOLE
    )
    assert torch.equal(update, more)


def test_success_is_measured_on_the_source():
    x, y = images(4), torch.tensor([5, 1, 5, 7])
    goal = AlternatingMin().goal(x, y, DenseModel.drawn(25, 10))
    assert torch.equal(goal.x, x[[0, 2]])
    assert (goal.truth.tolist(), goal.wanted.tolist()) == ([5, 5], [7, 7])
    assert AlternatingMin().sources == (5,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": 7}, "source and target must be two different classes from 0, got 7 and 7"),
        ({"boost": 0.0}, "boost must be finite and above 0, got 0.0"),
        ({"malicious_steps": 0}, "malicious_steps must be at least 1, got 0"),
        ({"distance": -1.0}, "distance must be finite and at least 0, got -1.0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AlternatingMin(**options)
