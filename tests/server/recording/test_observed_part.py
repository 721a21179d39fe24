"""What a probe sees of a client that trains a part of the model. Oracle: autograd on the small network."""

import pytest
import torch
from torch.nn import functional

from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import DataError
from gauntlet.core.layout import Layout
from gauntlet.core.observation import LeakageKnowledge
from gauntlet.server.recording.recordings import save_observation
from gauntlet.server.recording.replays import load_observation
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec


@pytest.fixture
def recorded(small, tmp_path):
    """Return (simulation, outcome, place) of one step of a client of the second of two levels."""

    def record(codec="identity", partition=None):
        spec = small(
            rounds=1,
            model=PluginSpec("mlp", {"hidden": [12, 6], "activation": "tanh"}),
            training=LocalTraining(local_steps=1, batch_size=4, lr=0.5),
            algorithm=PluginSpec("heterofl", {"rates": (1.0, 0.5), "mode": "fix"}),
            partition=partition or PluginSpec("pathological", {"classes_per_client": 4}),
            defense=PluginSpec("mean", {"weighting": "uniform"}),
            codec=PluginSpec(codec),
            vectorize="off",
        )
        simulation = prepare(spec)
        (step,) = simulation.steps(simulation.serial_pool())
        truth = simulation.kernel.truth(6, 0)
        knowledge = LeakageKnowledge(batch_size=4, local_steps=1, lr=0.5, optimizer="sgd", weight_decay=0.0)
        plan, told = simulation.plan, (6, knowledge, truth, {})
        how = spec, simulation.data, step.outcome, *told, plan.exchange, plan.levels
        return simulation, step.outcome, save_observation(tmp_path / codec, *how), truth

    return record


@pytest.mark.parametrize("codec", ["identity", "fp16"])
def test_the_observed_gradient_is_that_of_the_small_network(recorded, codec):
    """By hand: halves of 12 and 6 units, tanh(W x + b) behind a division by 1/2, logits of other labels 0."""
    simulation, _, place, truth = recorded(codec)
    observation = load_observation(place)
    whole = simulation.plan.layout.views(simulation.first.params)
    w1, b1, w2, b2, w3, b3 = (v.clone().requires_grad_() for v in whole.values())
    held = (torch.bincount(simulation.data.client(6)[1], minlength=10) > 0).float()

    h = torch.tanh((truth.x.flatten(1) @ w1[:6].T + b1[:6]) / 0.5)
    h = torch.tanh((h @ w2[:3, :6].T + b2[:3]) / 0.5)
    loss = functional.cross_entropy((h @ w3[:, :3].T + b3) * held, truth.y)
    grads = torch.autograd.grad(loss, (w1, b1, w2, b2, w3, b3))
    small = (grads[0][:6], grads[1][:6], grads[2][:3, :6], grads[3][:3], grads[4][:, :3], grads[5])
    expected = torch.cat([g.flatten() for g in small])

    torch.testing.assert_close(
        observation.gradient(), expected, atol=1e-5 if codec == "identity" else 2e-3, rtol=0
    )
    assert observation.layout == Layout.of(observation.model)
    own = dict(observation.model.named_parameters())
    loss = functional.cross_entropy(observation.model.eval()(truth.x), truth.y)
    again = torch.autograd.grad(loss, [own[slot.name] for slot in observation.layout.parameters])
    torch.testing.assert_close(torch.cat([g.flatten() for g in again]), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("codec", ["topk", "terngrad", "fp16"])
def test_how_badly_updates_fit_is_said_of_the_part_that_was_sent(recorded, codec):
    """The oracle is autograd on the observed model: its update fits better than with a third of noise."""
    _, _, place, truth = recorded(codec)
    observation = load_observation(place)
    own = dict(observation.model.named_parameters())
    loss = functional.cross_entropy(observation.model.eval()(truth.x), truth.y)
    grads = torch.autograd.grad(loss, [own[slot.name] for slot in observation.layout.parameters])
    update = -0.5 * torch.cat([g.flatten() for g in grads])
    noise = torch.randn(20, len(update), generator=torch.Generator().manual_seed(0))

    least, worse = observation.mismatch(update), observation.mismatch(update + 0.3 * update.std() * noise)

    assert bool((worse > least).all())
    assert observation.mismatch.scale_free
    assert codec == "terngrad" or float(least) < 1e-6  # a deterministic codec sends the update as it did


def test_a_recording_whose_part_is_no_part_is_one_line(recorded):
    _, _, place, _ = recorded()
    file = place / "observation.json"
    file.write_text(file.read_text().replace('"level": 1', '"level": 9'))

    with pytest.raises(DataError, match="is not a readable observation"):
        load_observation(place)
