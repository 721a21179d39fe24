"""Attacks on examples that look at the model: which one they see, and what is measured of them."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.training.seen_model import SeenModels
from gauntlet.core.contracts import Goal
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.core.layout import Layout
from gauntlet.core.trees import equal
from gauntlet.server.round import run_round
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec


@dataclass(frozen=True)
class Echo:
    """Relabels every example as the model's own guess; wants of each test example the second best."""

    sees_model: ClassVar[bool] = True

    def poison(self, x: Any, y: Any, generator: Any, model: Any) -> Any:
        return x, model(x).argmax(dim=1)

    def goal(self, x: Any, y: Any, model: Any) -> Goal:
        wanted = model(x).topk(2).indices[:, 1]
        rows = wanted != y
        return Goal(x[rows], y[rows], wanted[rows])


ECHO = RoleSpec(PluginSpec(f"{__file__}:Echo"), (1, 4))
TRIGGER = RoleSpec(PluginSpec("optimized_trigger", {"steps": 4, "references": 8, "budget": 1.0}), (1, 4))


def guesses(simulation, params, x):
    """Oracle: the run's own model, with these parameters, in evaluation mode."""
    model = simulation.kernel.model.eval()
    with torch.no_grad():
        for name, value in simulation.plan.layout.views(params).items():
            dict(model.named_parameters())[name].copy_(value)
        return model(x)


@pytest.mark.parametrize("vectorize", ["on", "off"])
def test_a_client_sees_the_model_that_it_received_without_dropout(small, vectorize):
    simulation = prepare(small(roles=(ECHO,), vectorize=vectorize, codec_down=PluginSpec("fp16")))
    state, pool = simulation.first, simulation.serial_pool()
    for _ in range(2):
        state, outcome = run_round(simulation.plan, state, pool)
        x, y = simulation.kernel.examples(4, outcome.round)
        assert torch.equal(y, guesses(simulation, outcome.broadcast.params, x).argmax(dim=1))
        assert torch.equal(x, simulation.data.client(4)[0])
    assert torch.equal(simulation.kernel.examples(3, outcome.round)[1], simulation.data.client(3)[1])


def test_what_is_not_known_here_is_not_made_up(small):
    simulation = prepare(small(roles=(ECHO,)))
    with pytest.raises(PluginError, match=r"makes its examples of round 0 from the model .* not known here"):
        simulation.kernel.examples(1, 0)


def test_a_goal_follows_the_model_that_is_evaluated_and_keeps_its_place(small):
    """Oracle: the second best class of each test example is never the model's answer, so success is 0.

    Those whose second best is the truth are left out, so the rest is recalled as often as it is right.
    """
    flip = PluginSpec("label_flip", {"source": 1, "target": 7})
    roles = (RoleSpec(flip, (0,)), ECHO, RoleSpec(flip, (2,)))
    simulation = prepare(small(roles=roles, evaluate_every=1))
    x, y = simulation.data.test()
    for step in simulation.steps(simulation.serial_pool()):
        kinds = [goal.attack for goal in step.score.goals]
        assert kinds == ["label_flip", ECHO.plugin.name, "label_flip"]
        goal, out = step.score.goals[1], guesses(simulation, step.state.params, x)
        asked = out.topk(2).indices[:, 1] != y
        assert (goal.examples, goal.success) == (int(asked.sum()), 0)
        assert goal.recalled == int((out.argmax(dim=1) == y)[asked].sum())


def test_gradients_go_to_inputs_alone_and_batch_statistics_are_those_that_came_down():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.9))
    layout = Layout.of(model)
    params, buffers = torch.randn(layout.num_parameters), 0.5 + torch.rand(layout.num_buffers)
    before = [p.clone() for p in model.parameters()]
    seen, x = SeenModels(model).of(params, buffers), torch.randn(5, 3, requires_grad=True)
    out = seen(x)
    weight, bias = layout.views(params)["0.weight"], layout.views(params)["0.bias"]
    named = {**layout.views(params), **layout.buffer_views(buffers)}
    inner = x @ weight.T + bias
    by_hand = (inner - named["1.running_mean"]) / (named["1.running_var"] + 1e-5).sqrt()
    torch.testing.assert_close(out, by_hand * named["1.weight"] + named["1.bias"])
    assert torch.autograd.grad(out.sum(), x)[0].shape == x.shape
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert params.grad is None
    with pytest.raises(ValueError, match="the model that the attack sees cannot be run: RuntimeError"):
        seen(torch.randn(5, 2))


def test_where_models_are_of_several_sizes_a_client_sees_its_own(small):
    """Oracle: the narrowed model itself, with the client's part of what went down."""
    levels = PluginSpec("heterofl", {"rates": (1.0, 0.5), "mode": "fix"})
    mean, model = PluginSpec("mean", {"weighting": "uniform"}), PluginSpec("mlp", {"hidden": [8]})
    roles = (replace(ECHO, clients=tuple(range(8))),)
    simulation = prepare(small(roles=roles, algorithm=levels, defense=mean, model=model, rounds=1))
    _, outcome = run_round(simulation.plan, simulation.first, simulation.serial_pool())
    sizes = set()
    for client in range(8):
        level = simulation.plan.levels.level(client, 0)
        part, kernel = simulation.plan.levels.parts[level], simulation.kernel._kernels[level]
        layout = Layout.of(part.model)
        views = layout.views(outcome.broadcast.params[part.present])
        x, y = kernel.examples(client, 0)
        expected = torch.func.functional_call(part.model.eval(), views, (x,)).argmax(dim=1)
        assert torch.equal(y, expected)
        sizes.add(layout.num_parameters)
    assert len(sizes) == 2


@pytest.mark.parametrize(
    "changes", [{}, {"vectorize": "off"}, pytest.param({"privacy": "dp"}, marks=pytest.mark.slow)], ids=str
)
def test_a_run_that_goes_on_has_the_same_bits(small, changes):
    if changes.pop("privacy", None):
        terms = {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-3}
        changes = {"privacy": PluginSpec("dp_sgd", terms), "model": PluginSpec("mlp", {"hidden": [8]})}
    spec = small(roles=(TRIGGER,), **changes)
    straight = list(prepare(spec).steps(prepare(spec).serial_pool()))
    rest = list(prepare(spec).steps(prepare(spec).serial_pool(), straight[0].state))
    assert equal(straight[-1].state.params, rest[-1].state.params)
    assert [step.score for step in rest] == [step.score for step in straight[1:]]


@pytest.mark.slow
@pytest.mark.parametrize("vectorize", ["on", "off"])
def test_ray_and_serial_pools_give_the_same_bits(small, ray_here, vectorize):
    spec = small(roles=(TRIGGER,), vectorize=vectorize)
    serial = list(prepare(spec).steps(prepare(spec).serial_pool()))
    pool = prepare(spec).ray_pool(num_workers=2)
    try:
        on_ray = list(prepare(spec).steps(pool))
    finally:
        pool.close()
    for one, other in zip(serial, on_ray, strict=True):
        assert equal(one.state.params, other.state.params)
        assert one.score == other.score


def test_a_worker_that_never_saw_the_driver_makes_the_same_examples(small):
    """What Ray's workers do, in this process: kernels of their own, blocks in another order."""
    from gauntlet.server.assembly.training import make_kernel

    spec = small(roles=(TRIGGER,))
    simulation = prepare(spec)
    sent = Broadcast(0, simulation.first.params, simulation.first.buffers)
    both = [make_kernel(spec, simulation.data).train(sent, np.array(ids)) for ids in ([1], [4])]
    together = simulation.kernel.train(sent, np.array([1, 4]))
    for row, alone in enumerate(both):
        torch.testing.assert_close(together.updates.vectors[row], alone.updates.vectors[0], rtol=0, atol=1e-6)


def test_what_makes_no_sense_is_refused_in_one_line(small):
    mean = PluginSpec("mean", {"weighting": "uniform"})
    own_way = {"algorithm": PluginSpec("diff2_gd"), "defense": mean}
    with pytest.raises(ScenarioError, match=r"makes its examples .* works in a way of its own"):
        prepare(small(roles=(TRIGGER,), **own_way))
    outside = replace(TRIGGER, plugin=PluginSpec("optimized_trigger", {"target": 10}))
    with pytest.raises(PluginError, match="target must be below the model's 10 classes, got 10"):
        prepare(small(roles=(outside,)))


@dataclass(frozen=True)
class Wrong(Echo):
    """Hands back what it likes."""

    kind: str = "goal"

    def goal(self, x: Any, y: Any, model: Any) -> Any:
        return (x, y) if self.kind == "goal" else Echo.goal(self, x, y, model)

    def poison(self, x: Any, y: Any, generator: Any, model: Any) -> Any:
        if self.kind == "writes":
            x.add_(1)
        return x, model(x)


def test_what_it_hands_back_is_looked_at_as_ever(small):
    with pytest.raises(PluginError, match="must return a Goal of tensors, got"):
        prepare(small(roles=(RoleSpec(PluginSpec(f"{__file__}:Wrong"), (1,)),)))
    for kind, line in (("labels", "must return x and y like"), ("writes", "wrote into what it was handed")):
        simulation = prepare(small(roles=(RoleSpec(PluginSpec(f"{__file__}:Wrong", {"kind": kind}), (1,)),)))
        with pytest.raises(PluginError, match=line):
            run_round(simulation.plan, simulation.first, simulation.serial_pool())


def perceptron():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))


def test_gradients_go_to_parameters_that_an_attack_puts_in_and_features_are_the_last_layers_inputs():
    """Oracle: the layers themselves."""
    model = perceptron()
    layout = Layout.of(model)
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])
    seen, x = SeenModels(model).of(torch.zeros_like(flat), torch.zeros(0)), torch.randn(5, 3)
    assert not seen.params.any()
    seen.params.add_(1)
    assert not seen.params.any()
    moved = flat.clone().requires_grad_()
    torch.testing.assert_close(seen(x, moved), model(x))
    torch.testing.assert_close(seen.features(x, moved), model[:2](x))
    model(x).square().sum().backward()
    slope = torch.autograd.grad(seen(x, moved).square().sum(), moved)[0]
    torch.testing.assert_close(slope, torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert seen.head(x).tolist() == [False] * 16 + [True] * 10
    assert layout.num_parameters == 26


def test_a_model_of_one_layer_has_no_features():
    seen = SeenModels(torch.nn.Linear(3, 2)).of(torch.zeros(8), torch.zeros(0))
    with pytest.raises(ValueError, match="has no last layer of its own"):
        seen.features(torch.randn(5, 3))


def test_an_attack_that_asks_for_features_where_there_are_none_is_named(small):
    chameleon = RoleSpec(PluginSpec("chameleon", {"target": 2}), (0,))
    simulation = prepare(small(roles=(chameleon,), model=PluginSpec("logistic_regression")))
    with pytest.raises(PluginError, match=r"^attack 'chameleon' raised ValueError: .* no features$"):
        run_round(simulation.plan, simulation.first, simulation.serial_pool())


@dataclass(frozen=True)
class Writes(Echo):
    """Sends the mean of its pixels as every coordinate, or something that is no update."""

    kind: str = "update"

    def retrain(self, x: Any, y: Any, generator: Any, model: Any, training: Any) -> Any:
        if self.kind == "short":
            return model.params[1:]
        return torch.full_like(model.params, float(x.mean())) * training.lr


@pytest.mark.parametrize("vectorize", ["on", "off"])
def test_an_attack_may_write_the_updates_of_its_clients_and_of_nobody_else(small, vectorize):
    role = RoleSpec(PluginSpec(f"{__file__}:Writes"), (1, 4), start_round=1)
    simulation = prepare(small(roles=(role,), vectorize=vectorize))
    plain = prepare(small(vectorize=vectorize))
    ids = np.arange(3, 6)
    for round_ in (0, 1):
        sent = Broadcast(round_, simulation.first.params, simulation.first.buffers)
        rows, honest = (s.kernel.train(sent, ids).updates.vectors for s in (simulation, plain))
        torch.testing.assert_close(rows[[0, 2]], honest[[0, 2]])
        own = float(simulation.data.client(4)[0].mean()) * simulation.kernel.training.lr
        expected = honest[1] if round_ == 0 else torch.full_like(honest[1], own)
        torch.testing.assert_close(rows[1], expected)


def test_what_is_no_update_is_refused_in_one_line(small):
    role = RoleSpec(PluginSpec(f"{__file__}:Writes", {"kind": "short"}), (1,))
    simulation = prepare(small(roles=(role,)))
    with pytest.raises(PluginError, match=r"retrain must return an update as a tensor float32 \["):
        run_round(simulation.plan, simulation.first, simulation.serial_pool())
