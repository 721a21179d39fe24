"""A recording: where it tells a step size, the update over it is the gradient of the truth."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch.nn import functional

from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import DataError
from gauntlet.core.observation import Truth
from gauntlet.server.recording.probe import knowledge_of
from gauntlet.server.recording.recordings import save_observation
from gauntlet.server.recording.replays import load_observation, load_truth
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

ONE_STEP = LocalTraining(local_steps=1, batch_size=4, lr=0.25)
TRAININGS = {
    "plain": (ONE_STEP, "fedavg", True),
    "momentum begins with the gradient": (replace(ONE_STEP, momentum=0.9), "fedavg", True),
    "a proximal pull begins with nothing": (ONE_STEP, "fedprox", True),
    "two steps with momentum": (replace(ONE_STEP, momentum=0.9, local_steps=2), "fedavg", False),
    "weight decay": (replace(ONE_STEP, weight_decay=0.5), "fedavg", False),
    "Adam": (replace(ONE_STEP, optimizer="adam", lr=0.01), "fedavg", False),
}


@pytest.fixture
def record(small, tmp_path):
    """Run one round and record client 1."""

    def make(training, algorithm="fedavg", name="recorded"):
        model = PluginSpec("mlp", {"hidden": [8]})
        spec = small(rounds=1, model=model, training=training, algorithm=PluginSpec(algorithm))
        simulation = prepare(spec)
        (step,) = simulation.steps(simulation.serial_pool())
        kernel = simulation.kernel
        truth = kernel.truth(1, 0)
        knowledge = knowledge_of(spec, kernel.training, truth, training.local_steps, False, kernel.rule)
        facts = (spec, simulation.data, step.outcome, 1, knowledge, truth)
        return save_observation(tmp_path / name, *facts, {"attack": "dlg"}), truth, step.outcome

    return make


@pytest.mark.parametrize("case", TRAININGS)
def test_a_step_size_is_told_where_the_update_over_it_is_the_gradient(record, case):
    """Oracle: torch's gradient of the mean cross-entropy of the truth at the broadcast parameters."""
    training, algorithm, told = TRAININGS[case]
    place, truth, _ = record(training, algorithm)
    seen = load_observation(place)

    assert (seen.knowledge.lr is not None) == told
    named = dict(seen.model.named_parameters())
    loss = functional.cross_entropy(seen.model(truth.x), truth.y)
    gradients = torch.autograd.grad(loss, [named[slot.name] for slot in seen.layout.parameters])
    expected = torch.cat([g.reshape(-1) for g in gradients])
    close = torch.allclose(-seen.update / training.lr, expected, rtol=1e-3, atol=1e-5)
    assert close == told


def test_what_an_attacker_opens_holds_neither_truth_nor_seed(record):
    """The exact frame, and not one tensor that the round computed before it; other clients have no file."""
    place, truth, outcome = record(ONE_STEP)

    assert (place / "frame.bin").read_bytes() == outcome.frame(1)
    assert sorted(p.name for p in place.iterdir()) == [
        "broadcast.safetensors",
        "frame.bin",
        "observation.json",
        "truth.safetensors",
    ]
    said = (place / "observation.json").read_text()
    assert '"seed"' not in said
    assert '"labels": null' in said
    assert torch.equal(load_truth(place).x, truth.x)
    (place / "truth.safetensors").unlink()
    assert load_observation(place).client_id == 1


def test_a_recording_replaces_an_unfinished_one_of_its_name(record, tmp_path):
    """A kill may leave half a folder, under the name of a part or its own."""
    (tmp_path / "recorded.part").mkdir()
    (tmp_path / "recorded.part" / "frame.bin").write_bytes(b"half")
    (tmp_path / "recorded").mkdir()
    (tmp_path / "recorded" / "left.over").write_bytes(b"")

    place, _, _ = record(ONE_STEP)

    assert not (tmp_path / "recorded.part").exists()
    assert not (place / "left.over").exists()
    assert load_observation(place).round == 0


def test_a_folder_that_cannot_be_written_is_one_line(record, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        record(ONE_STEP, name="file/recorded")


@dataclass(frozen=True)
class Tired(FedAvg):
    """Takes one of its steps; who says so states how many."""

    facts: tuple[str, ...] = ()

    def takes_steps(self, planned, draw):
        return 1


@pytest.mark.parametrize(
    ("rule", "level"), [(Tired(), "oracle"), (Tired(("steps",)), "exact"), (FedAvg(), "exact")]
)
def test_steps_that_a_client_leaves_out_are_known_to_a_server_only_if_it_says_so(small, rule, level):
    truth = Truth(torch.zeros(4, 64), torch.zeros(4, dtype=torch.int64))
    knowledge = knowledge_of(small(), ONE_STEP, truth, 1, False, rule)
    assert knowledge.level("local_steps") == level
