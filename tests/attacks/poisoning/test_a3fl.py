"""Oracles: closed forms on a linear model, and one step of softmax regression by hand."""

from dataclasses import dataclass

import pytest
import torch

from gauntlet.attacks.poisoning.a3fl import A3FL
from gauntlet.attacks.poisoning.parts.dense_model import DenseModel
from gauntlet.core.seeds import generator

CORNER = ((0, 0), (0, 1), (1, 0), (1, 1))


@dataclass(frozen=True)
class Linear:
    """x W, as an attack sees it."""

    params: torch.Tensor
    inputs: int

    def __call__(self, x, params=None):
        flat = self.params if params is None else params
        return x.flatten(1) @ flat.reshape(self.inputs, -1)


def linear(classes=2, seed=0):
    drawn = generator(seed, "weight").standard_normal(25 * classes)
    return Linear(torch.from_numpy(drawn).float(), 25)


def images(count=20, seed=0):
    return torch.from_numpy(generator(seed, "images").random((count, 1, 5, 5))).float()


def test_on_a_linear_model_each_pixel_goes_to_the_end_that_the_weights_say():
    """Closed form: 1 where the target's weight is above the other's, else 0, whatever the images."""
    model, attack = linear(), A3FL(target=1, pixels=CORNER, balance=0.0)
    weight = model.params.reshape(5, 5, 2)
    found = attack.patch(images(), torch.zeros(20, dtype=torch.int64), model)
    expected = [float(weight[r, c, 1] > weight[r, c, 0]) for r, c in CORNER]
    assert found.tolist() == [expected]


def test_a_step_of_unlearning_is_one_of_softmax_regression():
    """By hand: W - lr X^T (softmax(X W) - Y) / n."""
    model, x, y = linear(classes=3), images(), torch.arange(20) % 3
    flat, weight = x.flatten(1), model.params.reshape(25, 3)
    error = (flat @ weight).softmax(dim=1) - torch.nn.functional.one_hot(y, 3)
    expected = weight - 0.3 * flat.T @ error / 20
    found = A3FL(unlearning=1, unlearning_lr=0.3).unlearnt(x, y, model)
    torch.testing.assert_close(found.reshape(25, 3), expected)


def test_the_adapted_model_has_a_say_as_large_as_its_balance():
    """The adapted model's weights on the patch are opposite; at enough weight its sign decides."""
    model, x = linear(), images()

    class Adapted(A3FL):
        def unlearnt(self, shown, y, seen):
            return -0.9 * seen.params + 2 * torch.ones_like(seen.params)

    y = torch.zeros(20, dtype=torch.int64)
    weight = model.params.reshape(5, 5, 2)
    ups = [float(weight[r, c, 1] > weight[r, c, 0]) for r, c in CORNER]
    alike = torch.cosine_similarity(-0.9 * model.params + 2, model.params, dim=0)
    loud = Adapted(target=1, pixels=CORNER, balance=1000.0 / float(alike.abs()))
    quiet = Adapted(target=1, pixels=CORNER, balance=1e-6)
    assert quiet.patch(x, y, model).tolist() == [ups]
    turned = [1 - up if alike > 0 else up for up in ups]
    assert loud.patch(x, y, model).tolist() == [turned]


@pytest.mark.parametrize(
    ("every", "balance", "adapted"),
    [(1, 1.0, range(7)), (3, 1.0, (0, 3, 6)), (4, 1.0, (0, 4)), (7, 1.0, (0,)), (2, 0.0, ())],
)
def test_the_model_is_adapted_in_every_so_many_steps_to_the_patch_of_then(every, balance, adapted):
    """Oracle: whole runs of so many steps end at the patches that the unlearning is shown."""
    shown = []

    class Noted(A3FL):
        def unlearnt(self, images, y, seen):
            shown.append(images[0, :, :2, :2].flatten())
            return super().unlearnt(images, y, seen)

    model, y = DenseModel.drawn(25, 4), torch.arange(20) % 4
    options = {"pixels": CORNER, "every": every, "balance": balance}
    Noted(steps=7, **options).patch(images(), y, model)
    patches = [torch.full((1, 4), 0.5)]
    patches += [A3FL(steps=steps, **options).patch(images(), y, model) for steps in range(1, 7)]
    assert [one.tolist() for one in shown] == [patches[at].flatten().tolist() for at in adapted]


def test_only_the_pixels_of_the_patch_change_and_labels_of_those_that_carry_it():
    x, y, model = images(), torch.arange(20) % 4, linear(classes=4)
    attack = A3FL(target=3, pixels=((4, 4), (-5, 0)), fraction=0.25, steps=3)
    new_x, new_y = attack.poison(x, y, generator(0, "poison"), model)
    changed = (new_x != x).flatten(1).any(dim=1)
    assert int(changed.sum()) == 5
    places = (new_x != x).any(dim=0)[0].nonzero().tolist()
    assert places == [[0, 0], [4, 4]]
    assert set(new_y[changed].tolist()) == {3}
    goal = attack.goal(x, y, model)
    assert len(goal.x) == 15


def test_the_goal_needs_no_labels():
    """Right labels of the test set make no difference to the patch."""
    x, model, attack = images(), linear(classes=4), A3FL(target=3, pixels=CORNER)
    one, other = (attack.goal(x, torch.full((20,), label), model).x for label in (0, 1))
    assert torch.equal(one, other)


def test_on_a_network_the_patch_lowers_both_losses():
    model, y = DenseModel.drawn(25, 10), torch.arange(20) % 10
    attack = A3FL(target=2, pixels=CORNER)
    x, patch = images(), attack.patch(images(), y, model)
    adapted = attack.unlearnt(attack.stamped(x, patch), y, model)
    wanted, grey = torch.full((20,), 2), attack.stamped(x, torch.full((1, 4), 0.5))
    for params in (model.params, adapted):
        losses = [
            float(torch.nn.functional.cross_entropy(model(shown, params), wanted))
            for shown in (attack.stamped(x, patch), grey)
        ]
        assert losses[0] < losses[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pixels": ()}, "pixels must name at least one pixel, got none"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"references": 0}, "references must be at least 1, got 0"),
        ({"step_size": 0.0}, "step_size must be finite and above 0, got 0.0"),
        ({"balance": -1.0}, "balance must be finite and at least 0, got -1.0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        A3FL(**options)
