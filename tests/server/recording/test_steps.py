"""What is told of a client's local steps, held against the message that these steps made."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from gauntlet.core.contracts import LocalTraining
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.server.recording.probe import knowledge_of
from gauntlet.server.recording.recordings import save_observation
from gauntlet.server.recording.replays import load_observation, load_truth
from gauntlet.server.recording.steps import told_of_steps
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

CLIENT = 3
DROPPING = PluginSpec("mlp", {"hidden": [16, 12], "activation": "gelu", "dropout": 0.5})


@pytest.fixture
def record(small, tmp_path):
    """Run one round, and record client 3 with all that is told of its steps."""

    def make(labels_known=True, **changes):
        spec = small(rounds=1, num_clients=40, **changes)
        simulation = prepare(spec)
        (step,) = simulation.steps(simulation.serial_pool())
        kernel, truth = simulation.kernel, simulation.kernel.truth(CLIENT, 0)
        told = told_of_steps(simulation, CLIENT, 0, truth, labels_known)
        steps = len(kernel.batches(CLIENT, 0, len(kernel.examples(CLIENT, 0)[1])))
        knowledge = knowledge_of(
            spec, kernel.training, truth, steps, labels_known, kernel.rule, (), None, False, True, None, *told
        )
        facts = spec, simulation.data, step.outcome, CLIENT, knowledge, truth, {"attack": "dia"}
        return save_observation(tmp_path / "recorded", *facts)

    return make


def ordered(place):
    """Return the truth in the order in which an attacker numbers examples: ascending labels."""
    truth = load_truth(place)
    order = truth.y.argsort(stable=True)
    return truth.x[order], truth.y[order]


@pytest.mark.parametrize("vectorize", ["on", "off"])
@pytest.mark.parametrize("batch_size", [0, 7])
def test_with_the_recorded_masks_the_gradient_is_the_message(record, vectorize, batch_size):
    """Oracle: torch's gradient at the broadcast parameters, each dropout layer a product with m / (1 - p)."""
    training = LocalTraining(local_steps=1, batch_size=batch_size, lr=0.25)
    place = record(model=DROPPING, training=training, vectorize=vectorize)
    seen, (x, y) = load_observation(place), ordered(place)
    masks = seen.knowledge.dropout_masks

    def gradient(masks):
        left = iter(masks)
        net = list(seen.model)
        h = x
        for layer in net:
            h = h * (next(left) / 0.5) if isinstance(layer, torch.nn.Dropout) else layer(h)
        named = dict(seen.model.named_parameters())
        parts = torch.autograd.grad(
            functional.cross_entropy(h, y), [named[s.name] for s in seen.layout.parameters]
        )
        return torch.cat([part.reshape(-1) for part in parts])

    assert seen.knowledge.level("dropout_masks") == "oracle"
    assert [tuple(mask.shape) for mask in masks] == [(len(y), 16), (len(y), 12)]
    assert torch.allclose(gradient(masks), -seen.update / 0.25, rtol=1e-3, atol=1e-5)
    turned = [mask.flip(0) for mask in masks]  # the same masks, of the examples in another order
    assert not torch.allclose(gradient(turned), -seen.update / 0.25, rtol=1e-1, atol=1e-2)


@pytest.mark.parametrize(
    ("batch_size", "shuffle", "level"), [(0, True, "exact"), (17, True, "oracle"), (17, False, "oracle")]
)
def test_with_the_recorded_batches_torchs_sgd_makes_the_message(record, batch_size, shuffle, level):
    """Oracle: torch.optim.SGD with momentum and weight decay, two passes, the last batch of each shorter."""
    training = LocalTraining(
        local_epochs=2, batch_size=batch_size, lr=0.1, momentum=0.5, weight_decay=0.01, shuffle=shuffle
    )
    place = record(model=PluginSpec("mlp", {"hidden": [8]}), training=training)
    seen, (x, y) = load_observation(place), ordered(place)
    told = seen.knowledge
    before = seen.layout.flatten(dict(seen.model.named_parameters())).clone()
    sgd = torch.optim.SGD(
        seen.model.parameters(), told.local_lr, told.momentum, weight_decay=told.weight_decay
    )
    for batch in told.batches:
        sgd.zero_grad()
        rows = torch.tensor(batch)
        functional.cross_entropy(seen.model(x[rows]), y[rows]).backward()
        sgd.step()
    after = seen.layout.flatten(dict(seen.model.named_parameters()))

    assert len(told.batches) == told.local_steps
    assert torch.allclose(after - before, seen.update, rtol=1e-3, atol=1e-6)
    assert (told.level("batches"), told.lr) == (level, None)


@pytest.mark.slow
def test_a_step_size_is_told_only_where_every_step_is_the_optimisers(record):
    """FedProx pulls from its second step on; DP-SGD clips in every step, and draws who is in it."""
    training = LocalTraining(local_steps=4, batch_size=8, lr=0.1)
    pulled = load_observation(
        record(training=training, algorithm=PluginSpec("fedprox", {"mu": 1.0}), vectorize="off")
    ).knowledge
    private = PluginSpec("dp_sgd", {"noise_multiplier": 1.0, "clip_norm": 1.0, "delta": 1e-3})
    clipped = load_observation(record(training=training, privacy=private)).knowledge

    assert (pulled.local_lr, pulled.level("batches")) == (None, "oracle")
    assert (clipped.local_lr, clipped.batches) == (None, None)


def test_without_its_file_masks_are_unknown_and_the_rest_is_read(record):
    place = record(model=DROPPING, training=LocalTraining(local_steps=1, batch_size=4, lr=0.1))
    (place / "masks.safetensors").unlink()

    told = load_observation(place).knowledge

    assert (told.dropout_masks, told.level("dropout_masks"), told.batch_size) == (None, "unknown", 4)


def test_of_several_steps_no_masks_are_told_and_without_dropout_there_are_none(record, tmp_path):
    for model, steps, masks in ((DROPPING, 2, None), (PluginSpec("mlp", {"hidden": [8]}), 1, ())):
        training = LocalTraining(local_steps=steps, batch_size=4, lr=0.1)
        place = record(model=model, training=training)
        told = load_observation(place).knowledge
        assert told.dropout_masks == masks
        assert told.level("dropout_masks") == ("unknown" if steps > 1 else "exact")
        assert not (place / "masks.safetensors").exists()
        place.rename(tmp_path / f"{steps}")


def test_batches_hold_places_of_the_examples():
    with pytest.raises(ValueError, match="batches must hold places below batch_size = 2"):
        LeakageKnowledge(batch_size=2, batches=((0, 2),))
    assert replace(LeakageKnowledge(batch_size=2, batches=((0, 1),)), batch_size=None).batches == ((0, 1),)
