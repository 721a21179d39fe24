"""Oracles: its formula is exact for one step with the true means; several steps on digits, measured."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage.bias_counts import BiasCounts
from gauntlet.attacks.leakage.dimitrov_counts import DimitrovCounts
from gauntlet.attacks.leakage.parts.labels import round_counts


def several(observe, model, x, y, steps, lr):
    """Return the message of a client that takes ``steps`` on as many parts of its data, in their order."""
    seen = observe(model, x, y, lr)
    named = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    for part_x, part_y in zip(x.chunk(steps), y.chunk(steps), strict=True):
        out = torch.func.functional_call(model, named, (part_x,))
        gradients = torch.autograd.grad(functional.cross_entropy(out, part_y), list(named.values()))
        named = {
            name: (p - lr * g).detach().requires_grad_()
            for (name, p), g in zip(named.items(), gradients, strict=True)
        }
    update = seen.layout.flatten({n: p.detach() for n, p in named.items()})
    update = update - seen.layout.flatten(dict(model.named_parameters())).detach()
    knowledge = replace(seen.knowledge, local_steps=steps, lr=lr)
    return replace(seen, update=update, knowledge=knowledge)


def share(counts, y):
    return float(torch.minimum(round_counts(counts, len(y)), y.bincount(minlength=10)).sum()) / len(y)


@pytest.mark.parametrize(("steps", "lr"), [(1, 0.1), (4, 0.1), (8, 0.1)])
def test_the_labels_of_several_steps_are_counted(digits, mlp, observe, steps, lr):
    """8 examples a step, untrained MLP: specification .89 to 1.00 of one step; measured alike of more."""
    x, y = digits
    found = []
    for t in range(20):
        rows = torch.arange(8 * steps) + 60 * t
        seen = several(observe, mlp(nn.ReLU, seed=t), x[rows], y[rows], steps, lr)
        found.append(share(DimitrovCounts(init="uniform", num_dummies=500).infer([seen])[0], y[rows]))

    assert sum(found) / len(found) >= 0.84


def test_a_step_on_one_gradient_is_the_same_as_a_gradient(digits, mlp, observe):
    """A gradient is an update of step size 1: the end of the line is where it begins."""
    x, y = digits
    seen = observe(mlp(nn.ReLU), x[:8], y[:8], lr=0.1)
    gradient = replace(
        seen, kind="gradient", update=seen.update / 0.1, knowledge=replace(seen.knowledge, lr=1.0)
    )
    attack = DimitrovCounts(num_dummies=100)

    torch.testing.assert_close(attack.infer([seen]), attack.infer([gradient]), rtol=1e-3, atol=1e-3)


def test_it_follows_the_model_where_a_rule_for_one_step_is_refused(digits, mlp, observe):
    x, y = digits
    seen = several(observe, mlp(nn.ReLU), x[:32], y[:32], 4, 0.1)
    from gauntlet.core.errors import PluginError

    with pytest.raises(PluginError, match="works with local_steps = 1 only"):
        BiasCounts().infer([seen])
    assert share(DimitrovCounts(num_dummies=100).infer([seen])[0], y[:32]) > 0.5
