"""The trained model as a torch module, its export, and runs that begin with it. Oracle: torch alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

import gauntlet
from gauntlet.clients.data import DATASETS
from gauntlet.clients.data.base import inputs
from gauntlet.core.errors import ResultsError, ScenarioError
from gauntlet.server.assembly.loading import make_model
from gauntlet.server.simulation import prepare
from gauntlet.sims.provenance import Consent, begun_with, changed_data
from gauntlet.sims.run import resume, simulate
from gauntlet.sims.sections import Runtime
from gauntlet.sims.writer import RunWriter

SHIFTED = '''
"""Digits whose mean and deviation the model takes away first."""

from dataclasses import dataclass, replace

from gauntlet.clients.data import DATASETS


@dataclass(frozen=True)
class Shifted:
    """Digits."""

    def load(self):
        return replace(DATASETS.build("digits", {}).load(), name="shifted", mean=(0.3,), std=(0.4,))
'''


@pytest.fixture
def shifted(tiny, tmp_path):
    """A finished run on data that the model normalises first."""
    (tmp_path / "shifted.py").write_text(SHIFTED)
    scenario = tiny(data=f"{tmp_path}/shifted.py:Shifted")
    return simulate(scenario, tmp_path / "run")


def test_the_model_scores_in_torch_what_the_table_says(shifted):
    model, digits = shifted.model(), DATASETS.build("digits", {}).load()

    with torch.no_grad():
        outputs = model(inputs(digits.test_x))

    y, last = torch.from_numpy(digits.test_y), shifted.rounds.iloc[-1]
    assert not model.training
    assert (outputs.argmax(1) == y).double().mean().item() == pytest.approx(last.accuracy)
    assert functional.cross_entropy(outputs, y).item() == pytest.approx(last.loss, rel=1e-5)


def test_an_export_has_the_users_own_names_and_a_run_begins_with_it(shifted, tiny, gauntlet, tmp_path):
    said = gauntlet("export", shifted.folder, "--out", "m.safetensors")
    weights = load_file(tmp_path / "m.safetensors")
    net = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10)
    )
    net.load_state_dict(weights)  # of a module that knows nothing of ours

    digits = DATASETS.build("digits", {}).load()
    x = (inputs(digits.test_x) - 0.3) / 0.4
    torch.testing.assert_close(net(x), shifted.model()(inputs(digits.test_x)))
    assert "4 tensors, 610 values, after 4 rounds" in said.stdout
    model = {"name": "mlp", "hidden": [8], "init": str(tmp_path / "m.safetensors")}
    first = prepare(tiny(data=f"{tmp_path}/shifted.py:Shifted", model=model).run_spec()).first
    assert torch.equal(first.params, torch.cat([value.flatten() for value in net.parameters()]))


def test_serial_and_resumed_runs_from_a_file_have_the_same_bits_and_another_file_is_refused(
    shifted, tiny, tmp_path, monkeypatch
):
    path = tmp_path / "m.safetensors"
    save_file({n: v.contiguous() for n, v in shifted.model().net.state_dict().items()}, path)
    scenario = tiny(model={"name": "mlp", "hidden": [8], "init": str(path)})
    whole = simulate(scenario, tmp_path / "whole")
    add, left = RunWriter.add, [2]

    def dying(self, *arguments, **options):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return add(self, *arguments, **options)

    monkeypatch.setattr(RunWriter, "add", dying)
    with pytest.raises(KeyboardInterrupt):
        simulate(scenario, tmp_path / "half")
    monkeypatch.undo()
    other = load_file(path)
    save_file({name: value + 1 for name, value in other.items()}, path)
    with pytest.raises(ResultsError, match=r"the data of digits, or .*m\.safetensors"):
        resume(tmp_path / "half")
    save_file(other, path)

    half = resume(tmp_path / "half", consent=Consent())

    assert half.rounds.equals(whole.rounds)
    assert whole.rounds.loss.iloc[0] != simulate(tiny(), tmp_path / "drawn").rounds.loss.iloc[0]
    before = whole.model().state_dict()
    path.unlink()  # what was trained is in the run
    assert all(torch.equal(value, before[name]) for name, value in whole.model().state_dict().items())


def broken(weights, how):
    name = "1.weight"
    return {
        "lacking": {n: v for n, v in weights.items() if n != name},
        "shape": {**weights, name: weights[name][:, :5].contiguous()},
        "unknown": {**weights, "2.weight": torch.ones(2)},
        "nan": {**weights, name: torch.full_like(weights[name], np.nan)},
        "large": {**weights, name: torch.full_like(weights[name], 1e300, dtype=torch.float64)},
    }[how]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("lacking", r"has no tensor '1\.weight'"),
        ("shape", r"1\.weight is \[8, 5\], the model has \[8, 64\]"),
        ("unknown", r"unknown tensor '2\.weight'; did you mean"),
        ("nan", r"1\.weight holds values that are not finite"),
        ("large", r"1\.weight holds values that are not finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_one_line(tiny, tmp_path, how, message):
    whole = {
        "1.weight": torch.ones(8, 64),
        "1.bias": torch.ones(8),
        "3.weight": torch.ones(10, 8),
        "3.bias": torch.ones(10),
    }
    save_file(broken(whole, how), tmp_path / "m.safetensors")
    model = {"name": "mlp", "hidden": [8], "init": str(tmp_path / "m.safetensors")}

    with pytest.raises(ScenarioError, match=message) as caught:
        prepare(tiny(model=model).run_spec())
    assert "\n" not in str(caught.value)


def test_a_run_whose_codec_has_a_table_of_frames_gives_its_model_back(tiny, tmp_path):
    run = simulate(tiny(codec="topk", codec_down={"name": "difference", "codec": "fp16"}), tmp_path / "run")
    assert run.frames is not None
    assert sum(value.numel() for value in run.model().parameters()) == 610


FROZEN = '''
"""A first layer that stands still."""

from torch import nn


class Frozen(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, num_classes))
        self[1].weight.requires_grad_(False)
'''


@pytest.fixture
def still(tiny, tmp_path):
    """A scenario whose model begins with a file that has other weights of a frozen layer than the seed's."""
    (tmp_path / "frozen.py").write_text(FROZEN)
    model = {"name": f"{tmp_path}/frozen.py:Frozen"}
    run = simulate(tiny(model=model, rounds=1), tmp_path / "first")
    weights = {name: value.contiguous() for name, value in run.model().state_dict().items()}
    weights["1.weight"] = weights["1.weight"].flip(0) * 2
    save_file(weights, tmp_path / "m.safetensors")
    return tiny(model={**model, "init": str(tmp_path / "m.safetensors")}), weights["1.weight"]


def test_a_layer_that_stands_still_has_the_files_weights_with_clients_server_and_attackers(still, tmp_path):
    """The table's accuracy is what torch says of the trained model, whose frozen layer is the file's."""
    scenario, weight = still
    run = simulate(scenario, tmp_path / "run")
    model, digits = run.model(), DATASETS.build("digits", {}).load()

    assert torch.equal(model[1].weight, weight)
    with torch.no_grad():
        right = (model(inputs(digits.test_x)).argmax(1).numpy() == digits.test_y).mean()
    assert run.rounds["accuracy"].iloc[-1] == pytest.approx(right)
    clients = prepare(scenario.run_spec())
    assert torch.equal(make_model(clients.spec, clients.data)[1].weight, weight)


def test_a_file_whose_frozen_layer_changed_is_another_beginning(still, tmp_path):
    scenario, weight = still
    told = prepare(scenario.run_spec())
    manifest = begun_with(scenario, told)
    same = changed_data(manifest, prepare(scenario.run_spec()))
    whole = load_file(tmp_path / "m.safetensors")
    save_file({**whole, "1.weight": weight + 1}, tmp_path / "m.safetensors")

    assert same == []
    assert len(changed_data(manifest, prepare(scenario.run_spec()))) == 1


def test_a_finished_model_is_not_given_other_frozen_weights(still, tmp_path):
    """No checkpoint holds them: the file that the run began with is the only place."""
    scenario, _ = still
    run = simulate(scenario, tmp_path / "run")
    path = scenario.model.init
    save_file({name: torch.zeros_like(value) for name, value in load_file(path).items()}, path)

    with pytest.raises(ResultsError, match="has changed since the run began"):
        run.model()
    Path(path).unlink()
    with pytest.raises(ScenarioError, match=r"model\.init: there is no file"):
        run.model()


@pytest.mark.slow
def test_frozen_weights_reach_rays_workers(still, tmp_path, ray_here):
    scenario, _ = still
    ray = scenario.model_copy(update={"runtime": Runtime(pool="ray", num_workers=2)})

    here, there = simulate(scenario, tmp_path / "here"), simulate(ray, tmp_path / "there")
    assert here.rounds.equals(there.rounds)


def test_files_that_are_none_and_folders_without_a_model_are_refused(tiny, tmp_path, gauntlet):
    (tmp_path / "m.safetensors").write_bytes(b"no weights")
    for name, message in (("m.safetensors", "is no safetensors file"), ("gone.safetensors", "no file")):
        model = {"name": "mlp", "hidden": [8], "init": str(tmp_path / name)}
        with pytest.raises(ScenarioError, match=message):
            prepare(tiny(model=model).run_spec())
    assert "holds no run" in gauntlet("export", tmp_path).refusal()
    assert "must end in .safetensors" in gauntlet("export", tmp_path, "--out", "m.pt").refusal()


def test_clients_that_prepare_at_the_seeds_weights_refuse_others(tiny):
    scenario = tiny(
        data={"name": "gaussian_shards"},
        model={"name": "gaussian_mean", "init": "m.safetensors"},
        algorithm={"name": "fsgld"},
    )
    with pytest.raises(ScenarioError, match=r"leave model\.init out"):
        prepare(scenario.run_spec())


def test_a_scenario_without_a_file_is_what_it_was(tiny):
    assert "init" not in tiny().values()["model"]
    assert gauntlet.Scenario.model_validate(tiny().values()).fingerprint() == tiny().fingerprint()
