"""Oracles: the contrastive loss by hand, and the two stages written as plain gradient descent."""

from math import exp, log

import pytest
import torch
from torch.nn.functional import cross_entropy

from gauntlet.attacks.poisoning.chameleon import Chameleon
from gauntlet.attacks.poisoning.parts.dense_model import DenseModel
from gauntlet.attacks.poisoning.parts.own_training import descend, epochs_of
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.seeds import generator


def images(count=12):
    return torch.from_numpy(generator(0, "images").random((count, 1, 5, 5))).float()


def test_the_contrastive_loss_of_three_examples_is_as_by_hand():
    """Unit vectors e1, e1 of the target and e2 of another class, temperature 1: for each of the two,
    -log(e / (e + 1)), twice as heavy; the third has no peer. The mean of three."""
    features = torch.tensor([[2.0, 0.0], [5.0, 0.0], [0.0, 3.0]])
    attack = Chameleon(target=2, temperature=1.0, weight=2.0)
    expected = 2 * 2 * -log(exp(1) / (exp(1) + 1)) / 3
    assert float(attack.contrastive(features, torch.tensor([2, 2, 0]))) == pytest.approx(expected)
    assert float(attack.contrastive(features, torch.tensor([0, 0, 2]))) == pytest.approx(expected / 2)
    assert float(attack.contrastive(features, torch.tensor([0, 1, 2]))) == 0.0


def test_several_peers_share_one_vote():
    """Three equal vectors: each has two peers, at chance 1/2 each; their mean is log 2."""
    attack = Chameleon(target=0, temperature=0.5, weight=1.0)
    loss = attack.contrastive(torch.ones(3, 2), torch.tensor([1, 1, 1]))
    assert float(loss) == pytest.approx(log(2))


def test_features_are_trained_first_by_contrast_then_the_last_layer_by_cross_entropy():
    """Whole batches and one pass each, so that both stages are single steps, by autograd here."""
    x, y, model = images(), torch.arange(12) % 4, DenseModel.drawn(25, 4)
    attack = Chameleon(contrast_epochs=1, contrast_lr=0.05, pixels=((0, 0),))
    training = LocalTraining(batch_size=0, lr=0.3)
    update = attack.retrain(x, y, generator(0, "retrain"), model, training)
    bad_x, bad_y = attack.poison(x, y, generator(0, "retrain"), model)
    head, start = model.head(x), model.params
    at = start.clone().requires_grad_()
    attack.contrastive(model.features(bad_x, at), bad_y).backward()
    assert not at.grad[head].any()
    middle = (start - 0.05 * at.grad).requires_grad_()
    cross_entropy(model(bad_x, middle), bad_y).backward()
    expected = torch.where(head, -0.3 * middle.grad, -0.05 * at.grad)
    torch.testing.assert_close(update, expected, rtol=1e-4, atol=1e-6)


def test_contrast_brings_triggered_images_to_the_targets_own():
    """Mean cosine of the features of triggered images with those of the target, before and after."""
    x, y, model = images(60), torch.arange(60) % 4, DenseModel.drawn(25, 4)
    attack = Chameleon(contrast_epochs=10, contrast_lr=0.1, pixels=((0, 0), (1, 1)))
    update = attack.retrain(x, y, generator(0, "retrain"), model, LocalTraining(batch_size=20, lr=0.1))
    shown = attack.goal(x, y, model).x

    def alike(params):
        bad, good = (model.features(part, params) for part in (shown, x[y == 2]))
        return float(torch.nn.functional.cosine_similarity(bad[:, None], good[None], dim=2).mean())

    assert alike(model.params + update) > alike(model.params) + 0.1


def test_passes_are_an_honest_clients_and_lone_examples_are_left_out():
    assert epochs_of(LocalTraining(local_epochs=3), 50) == 3
    assert epochs_of(LocalTraining(local_steps=7, batch_size=16), 50) == 3  # 112 of 50
    seen = []

    def loss(params, rows):
        seen.append(len(rows))
        return params.sum()

    descend(loss, torch.zeros(2), 7, 3, 2, 0.1, generator(0, "order"))
    assert seen == [3, 3, 3, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pixels": ()}, "pixels must name at least one pixel, got none"),
        ({"contrast_epochs": 0}, "contrast_epochs must be at least 1, got 0"),
        ({"contrast_lr": 0.0}, "contrast_lr must be finite and above 0, or None, got 0.0"),
        ({"temperature": 0.0}, "temperature must be finite and above 0, got 0.0"),
        ({"weight": -1.0}, "weight must be finite and above 0, got -1.0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Chameleon(**options)
