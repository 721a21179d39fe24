"""A recording holds what the server saw, and nothing else, and replays without the scenario."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from unsealed import unseal

from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import DataError
from gauntlet.core.leakage_knowledge import Level
from gauntlet.core.observation import Truth
from gauntlet.server.assembly.loading import make_model
from gauntlet.server.recording.probe import knowledge_of
from gauntlet.server.recording.recordings import save_observation
from gauntlet.server.recording.replays import load_observation, load_truth
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

ONE_STEP = LocalTraining(local_steps=1, batch_size=4, lr=0.25)


@pytest.fixture
def play(small):
    """Run rounds and return the simulation with each round's outcome."""

    def run(rounds=1, **changes):
        given = {"model": PluginSpec("mlp", {"hidden": [8]}), "training": ONE_STEP, "rows": True, **changes}
        simulation = prepare(small(rounds=rounds, **given))
        return simulation, [step.outcome for step in simulation.steps(simulation.serial_pool())]

    return run


def record(simulation, outcome, place, client=1):
    kernel, spec = simulation.kernel, simulation.spec
    truth = kernel.truth(client, outcome.round)
    rule = kernel.rule if simulation.plan.exchange.rule is None else None
    knowledge = knowledge_of(spec, kernel.training, truth, 1, False, rule)
    facts = spec, simulation.data, outcome, client, knowledge, truth, {"attack": "dlg"}
    return save_observation(place, *facts, simulation.plan.exchange)


def row(outcome, client=1):
    return outcome.sent.rows(outcome.sent.client_ids == client)


@pytest.mark.parametrize(
    "codec",
    [
        PluginSpec("topk", {"density": 0.3}),
        PluginSpec("error_feedback", {"codec": {"name": "topk", "density": 0.1, "pack": "rice"}}),
    ],
    ids=str,
)
def test_the_support_is_where_a_sparse_codec_put_values(play, tmp_path, codec):
    simulation, (outcome,) = play(codec=codec)
    seen = load_observation(record(simulation, outcome, tmp_path / "o"))
    sizes = [slot.size for slot in seen.layout.parameters]
    density = codec.options.get("density") or codec.options["codec"]["density"]

    assert int(seen.support.sum()) == sum(max(1, round(density * n)) for n in sizes)
    assert torch.equal(seen.support, seen.update != 0)


@pytest.mark.parametrize("codec", ["identity", "terngrad", "fp16"])
def test_of_a_dense_codec_every_coordinate_was_sent(play, tmp_path, codec):
    simulation, (outcome,) = play(codec=PluginSpec(codec))

    assert load_observation(record(simulation, outcome, tmp_path / "o")).support.all()


LOSSY = [
    PluginSpec("topk", {"density": 0.3}),
    PluginSpec("terngrad"),
    PluginSpec("fp16"),
    PluginSpec("error_feedback", {"codec": {"name": "topk", "density": 0.1}, "decay": 0.5}),
]


@pytest.mark.parametrize("algorithm", ["fedavg", "scaffold"])
@pytest.mark.parametrize("codec", LOSSY, ids=str)
def test_the_codec_says_how_badly_updates_fit_the_frame(play, tmp_path, codec, algorithm):
    """The oracle is the update before it was encoded: noise of a third of its size fits worse.

    SCAFFOLD's control variate stands beside it, of known size: then the size of an update matters, too.
    """
    weights = PluginSpec("mean", {"weighting": "uniform"})
    simulation, (outcome,) = play(codec=codec, algorithm=PluginSpec(algorithm), defense=weights)
    seen = load_observation(record(simulation, outcome, tmp_path / "o"))
    honest = outcome.honest.vectors[outcome.honest.client_ids == 1][0][: len(seen.update)]  # [P]
    assert seen.mismatch is not None
    noise = 0.3 * honest.square().mean().sqrt() * torch.randn(20, len(honest), generator=seeded())

    worse = seen.mismatch(honest + noise)  # [20]

    assert bool((worse > seen.mismatch(honest)).all())
    assert seen.mismatch.scale_free == (algorithm == "fedavg")
    assert seen.carries == (0.5 if codec.name == "error_feedback" else 0)


def seeded():
    return torch.Generator().manual_seed(0)


def test_a_lossless_codec_says_nothing_of_its_frames(play, tmp_path):
    simulation, (outcome,) = play(codec=PluginSpec("identity"))

    assert load_observation(record(simulation, outcome, tmp_path / "o")).mismatch is None


def test_releases_are_what_the_client_sent_beside_its_update(play, tmp_path):
    """SCAFFOLD's control variate, in its own units, and the number of examples that the client claims."""
    simulation, outcomes = play(
        rounds=2, algorithm=PluginSpec("scaffold"), defense=PluginSpec("mean", {"weighting": "uniform"})
    )
    seen = load_observation(record(simulation, outcomes[1], tmp_path / "o"))
    exchange, sent = simulation.plan.exchange, row(outcomes[1])

    assert seen.releases["num_examples"] == int(sent.num_examples[0])
    whole = exchange.unscaled(sent.vectors[0])
    torch.testing.assert_close(seen.update, whole[exchange.up.groups["update"]], rtol=0, atol=0)
    torch.testing.assert_close(seen.releases["control"], whole[exchange.up.groups["control"]], rtol=0, atol=0)
    assert list(seen.received) == ["control"]
    assert torch.equal(seen.received["control"], outcomes[1].broadcast.extra[0])
    assert seen.received["control"].any()
    assert seen.planted == {}


MODELS = """
from torch import nn
class Frozen(nn.Module):
    def __init__(self, num_classes=10, width=8):
        super().__init__()
        self.first, self.head = nn.Linear(64, width), nn.Linear(width, num_classes)
        self.first.requires_grad_(False)
        self.norm = nn.BatchNorm1d(width)
    def forward(self, x):
        return self.head(self.norm(self.first(x.flatten(1))).relu())
"""


def test_what_is_never_sent_is_in_the_recipe_and_a_clients_buffers_are_releases(play, tmp_path):
    (tmp_path / "models.py").write_text(MODELS)
    simulation, (outcome,) = play(model=PluginSpec(f"{tmp_path}/models.py:Frozen"), vectorize="off")
    seen = load_observation(record(simulation, outcome, tmp_path / "o"))
    mine = make_model(simulation.spec, simulation.data)

    assert torch.equal(seen.model.first.weight, mine.first.weight)
    assert torch.equal(seen.releases["buffers"], row(outcome).buffers[0])
    assert torch.equal(seen.layout.flatten(dict(seen.model.named_parameters())), outcome.broadcast.params)

    (tmp_path / "models.py").write_text(MODELS.replace("width=8", "width=9"))
    with pytest.raises(DataError, match="is another than the one that was recorded: it has 118 parameters"):
        load_observation(tmp_path / "o")


def test_a_lossy_downlink_is_observed_as_the_client_decoded_it(play, tmp_path):
    simulation, (outcome,) = play(codec_down=PluginSpec("fp16"))
    seen = load_observation(record(simulation, outcome, tmp_path / "o"))
    params = seen.layout.flatten(dict(seen.model.named_parameters()))

    assert torch.equal(params, simulation.first.params.half().float())
    assert not torch.equal(params, simulation.first.params)


def test_how_many_examples_chance_put_into_a_step_is_known_to_an_oracle_alone():
    truth = Truth(torch.zeros(3, 1, 8, 8), torch.zeros(3, dtype=torch.long))
    spec = replace(_spec(), rounds=1)
    told = [knowledge_of(spec, ONE_STEP, truth, 1, False, drawn=drawn) for drawn in (False, True)]

    assert [k.level("batch_size") for k in told] == [Level.EXACT, Level.ORACLE]
    assert [k.batch_size for k in told] == [3, 3]


def _spec():
    from gauntlet.sims.scenario import make_scenario

    values = {"name": "x", "rounds": 1, "num_clients": 2, "data": "digits", "model": "logistic_regression"}
    return make_scenario(values).run_spec()


@pytest.mark.parametrize("lossy", [False, True])
def test_garbage_in_place_of_what_was_not_sent_changes_no_bit_of_an_observation(play, tmp_path, lossy):
    """The update before the codec, and every other client's: a recording is made of the frame alone."""
    simulation, (outcome,) = play(codec=PluginSpec("terngrad" if lossy else "identity"))
    frames = [outcome.frame(int(client)) for client in outcome.sent.client_ids]
    garbage = outcome.sent.with_vectors(torch.full_like(outcome.sent.vectors, 7.5))
    blind = replace(outcome, sent=garbage, honest=garbage, received=garbage, frames=frames)

    first, second = record(simulation, outcome, tmp_path / "a"), record(simulation, blind, tmp_path / "b")

    assert {p.name: p.read_bytes() for p in first.iterdir()} == {
        p.name: p.read_bytes() for p in second.iterdir()
    }


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("recipe", None),
        ("message", {"kind": "update"}),
        ("releases", {"t": "absent"}),
        ("knowledge", {"levels": {"lr": "exact"}}),
        ("context", 3),
        ("schema", 4),
        ("recipe", {"model": {"name": "mlp"}, "inputs": {}, "tensors": [3]}),
    ],
)
def test_a_damaged_recording_is_one_line(play, tmp_path, change, value):
    simulation, (outcome,) = play()
    place = record(simulation, outcome, tmp_path / "o")
    public = json.loads((place / "observation.json").read_text())
    (place / "observation.json").write_text(json.dumps({**public, change: value}))

    with pytest.raises(DataError, match="is not a readable observation") as caught:
        load_observation(place)
    assert "\n" not in str(caught.value)
    assert load_truth(place).x.shape[1:] == (1, 8, 8)


@pytest.mark.parametrize("tail", ["cut off", "zeroed"])
@pytest.mark.parametrize("name", ["broadcast.safetensors", "frame.bin", "truth.safetensors"])
def test_a_file_that_the_run_did_not_write_is_named(play, tmp_path, name, tail):
    """Else a search, or its score, would rest on zeros."""
    simulation, (outcome,) = play()
    place = record(simulation, outcome, tmp_path / "o")
    content = (place / name).read_bytes()
    (place / name).write_bytes(content[:-9] + (bytes(9) if tail == "zeroed" else b""))
    load, whole = (
        (load_truth, load_observation) if name.startswith("truth") else (load_observation, load_truth)
    )
    with pytest.raises(DataError, match=rf"^[^\n]*{name} is not what the run wrote$"):
        load(place)
    whole(place)


def test_tensors_that_are_not_there_are_one_line(play, tmp_path):
    simulation, (outcome,) = play()
    place = record(simulation, outcome, tmp_path / "o")
    sent = load_file(place / "broadcast.safetensors")
    save_file({"buffers": sent["buffers"]}, unseal(place) / "broadcast.safetensors")
    with pytest.raises(DataError, match="is not a readable observation: KeyError: 'params'"):
        load_observation(place)
