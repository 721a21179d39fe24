"""The server's own update: trained like a client's, on examples that no client holds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import ScenarioError
from gauntlet.core.seeds import generator
from gauntlet.core.trees import equal
from gauntlet.server.assembly.ingredients import make_data
from gauntlet.server.round import run_round
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec


def run(spec, pool=None):
    simulation = prepare(spec)
    return list(simulation.steps(pool or simulation.serial_pool()))


def test_the_server_takes_the_same_gradient_step_as_a_client(small):
    """Oracle: one step on all root examples by hand, -lr times the gradient of the mean cross-entropy."""
    training = LocalTraining(local_steps=1, batch_size=0, lr=0.25)
    spec = small(
        root_examples=60, training=training, model=PluginSpec("mlp", {"hidden": [8]}), vectorize="off"
    )
    simulation = prepare(spec)
    _, outcome = run_round(simulation.plan, simulation.first, simulation.serial_pool())

    x, y = simulation.data.root.client(8)
    model = simulation.kernel.model
    with torch.no_grad():
        for name, value in simulation.plan.layout.views(simulation.first.params).items():
            dict(model.named_parameters())[name].copy_(value)
    loss = torch.nn.functional.cross_entropy(model(x), y)
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])

    assert len(y) == 60
    assert torch.allclose(outcome.received.context.root, -0.25 * gradient, atol=1e-6)


def test_the_server_follows_the_local_rule_and_the_training_options(small):
    """Oracle: a client that holds exactly the root examples and has the server's number."""
    spec = small(root_examples=40, algorithm=PluginSpec("fedprox", {"mu": 0.5}))
    simulation = prepare(spec)
    context = run_round(simulation.plan, simulation.first, simulation.serial_pool())[1].received.context

    from gauntlet.server.assembly.training import make_kernel

    twin = make_kernel(spec, simulation.data.root)
    broadcast = Broadcast(0, simulation.first.params, simulation.first.buffers)
    assert torch.equal(context.root, twin.train(broadcast, np.array([8])).updates.vectors[0])


def test_the_server_neither_noises_nor_poisons_its_own_update(small):
    plain = small(root_examples=40)
    private = replace(
        plain,
        privacy=PluginSpec("local_gaussian", {"clip_norm": 0.1, "noise_multiplier": 1.0, "delta": 1e-3}),
        roles=(RoleSpec(PluginSpec("label_flip_all", {"num_classes": 10}), count=8),),
    )
    roots = [run(spec)[0].outcome.received.context.root for spec in (plain, private)]
    assert torch.equal(*roots)


def test_the_servers_stream_is_no_clients_stream():
    """Client 8 of 8 does not exist: its batches are drawn from a stream of their own."""
    draws = {tuple(generator(7, "batches", 0, i).permutation(20)) for i in range(9)}
    assert len(draws) == 9


@pytest.mark.parametrize("vectorize", ["on", pytest.param("off", marks=pytest.mark.slow)])
def test_ray_and_serial_pools_give_the_same_bits_with_a_root(small, ray_here, vectorize):
    model = PluginSpec("mlp", {"hidden": [8], "dropout": 0.0 if vectorize == "on" else 0.2})
    spec = small(root_examples=50, defense=PluginSpec("fltrust"), vectorize=vectorize, model=model)
    serial = run(spec)
    simulation = prepare(spec)
    pool = simulation.ray_pool(num_workers=2)
    try:
        on_ray = list(simulation.steps(pool))
    finally:
        pool.close()
    assert all(equal(a.state.params, b.state.params) for a, b in zip(serial, on_ray, strict=True))


def test_without_root_examples_nothing_changes(small):
    spec = small()
    data = make_data(spec)
    assert data.root is None
    assert sum(data.num_examples(i) for i in range(8)) == 1437
    assert run(spec)[0].outcome.received.context.root is None


def test_a_defense_that_needs_root_examples_is_refused_without_them(small):
    with pytest.raises(
        ScenarioError, match=r"defense 'fltrust' trains .* root_examples must be above 0, got 0"
    ):
        prepare(small(defense=PluginSpec("fltrust")))


def test_data_made_elsewhere_must_hold_what_the_scenario_promises(small):
    with pytest.raises(ScenarioError, match="root_examples is 30, but the given data hold none"):
        prepare(small(root_examples=30), data=make_data(small()))
