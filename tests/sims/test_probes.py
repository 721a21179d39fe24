"""Probes: each with an observation and results of its own, told only what its own keys say."""

import json
import shutil
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gauntlet.core.errors import ScenarioError
from gauntlet.server.recording.format import probe_of
from gauntlet.server.recording.replays import load_observation, load_truth
from gauntlet.server.spec import PluginSpec
from gauntlet.sims.rebuilt import load_rebuilt
from gauntlet.sims.reconstruct import AttackJob, reconstruct
from gauntlet.sims.results import load_run, read_manifest, write_json
from gauntlet.sims.run import resume, simulate
from gauntlet.sims.sections import Probe

QUICK = {"name": "dlg", "client": 2, "max_iterations": 2}
TOLD = {**QUICK, "labels_known": True}


def knowledge_by_probe(folder):
    """From a probe's name in its folder to the knowledge that its observation holds."""
    found = {}
    for place in (folder / "observations").iterdir():
        found[place.name.split("-", 4)[4]] = json.loads((place / "observation.json").read_text())["knowledge"]
    return found


def tensors_by_name(folder):
    return {
        place.name: load_file(place / "tensors.safetensors")
        for place in (folder / "reconstructions").iterdir()
    }


def test_a_client_that_makes_its_examples_from_the_model_is_not_watched(tiny, tmp_path):
    """Nobody but its worker knows what it trains on; by default an honest client is watched."""
    attack = {"name": "optimized_trigger", "clients": [2], "steps": 2, "references": 2}
    with pytest.raises(ScenarioError, match=r"client 2 makes its examples from the model .* watch another"):
        simulate(tiny(attacks=[attack], probes=[QUICK]), tmp_path / "refused")
    other = {key: value for key, value in QUICK.items() if key != "client"}
    run = simulate(tiny(attacks=[attack], probes=[other]), tmp_path / "run").folder
    assert [place.name.split("-")[3] for place in (run / "observations").iterdir()] == ["000000"]


@pytest.mark.parametrize("order", [[QUICK, TOLD], [TOLD, QUICK]], ids=["told last", "told first"])
def test_what_one_probe_is_told_reaches_no_other(tiny, tmp_path, order):
    """Both watch one client in one round; the one that is told nothing rebuilds what it rebuilds alone."""
    together = simulate(tiny(probes=order), tmp_path / "both").folder
    alone = simulate(tiny(probes=[QUICK]), tmp_path / "alone").folder

    knowledge = knowledge_by_probe(together)
    assert {name: k["labels"] is not None for name, k in knowledge.items()} == {
        Probe(**QUICK).identity(): False,
        Probe(**TOLD).identity(): True,
    }
    (name,) = tensors_by_name(alone)
    both = tensors_by_name(together)
    assert len(both) == 2
    for key, tensor in tensors_by_name(alone)[name].items():
        assert torch.equal(both[name][key], tensor)
    (told,) = (tensors for other, tensors in both.items() if other != name)
    assert not torch.equal(told["x"], both[name]["x"])
    assert sorted(told["y"].tolist()) == sorted(told["labels"].tolist())


def test_probes_that_differ_in_options_keep_both_results(tiny, tmp_path):
    probes = [{**QUICK, "lr": 0.5}, QUICK, {"name": "bias_counts", "client": 2}]
    probes += [{"name": "bias_counts", "client": 2, "guess": "random_inputs", "num_dummies": 10}]
    folder = simulate(tiny(probes=probes), tmp_path / "run").folder

    assert len(list((folder / "observations").iterdir())) == 4
    assert len(list((folder / "inferences").glob("*[!s].json"))) == 2
    gallery = load_run(folder).gallery()
    assert {json.dumps(item.settings, sort_keys=True) for item in gallery} == {
        '{"labels_known": false, "lr": 0.5, "max_iterations": 2}',
        '{"labels_known": false, "max_iterations": 2}',
    }
    for item in gallery:
        assert (item.round, item.client_id) == (0, 2)


def test_a_probes_name_is_its_attack_and_a_digest_of_every_key():
    """Whatever differs in a scenario differs in the name; the order of keys does not."""
    probes = [
        QUICK,
        TOLD,
        {**QUICK, "client": 3},
        {**QUICK, "rounds": [1]},
        {**QUICK, "lr": 0.5},
        {**QUICK, "max_iterations": 3},
        {"name": "place/dlg.py:DLG", "client": 2, "max_iterations": 2},
        {"name": "place-dlg.py:DLG", "client": 2, "max_iterations": 2},
    ]
    names = [Probe(**probe).identity() for probe in probes]

    assert len(set(names)) == len(probes)
    assert names[0] == Probe(**dict(reversed(QUICK.items()))).identity()
    keys = b'{"attack":"dlg","client":2,"labels_known":false,"options":{"max_iterations":2},"rounds":[0]}'
    assert names[0] == f"dlg-{blake2b(keys, digest_size=8).hexdigest()}" == "dlg-1a73c406ee5a98df"  # for good
    assert names[1].startswith("dlg-labels-known-")
    assert names[6].startswith("DLG-")
    assert len(Probe(name=f"x.py:{'A' * 300}").identity()) < 100


def test_a_probe_that_stands_there_twice_is_refused(tiny, tmp_path):
    with pytest.raises(ScenarioError, match="probe 'dlg' stands there twice with the same keys"):
        simulate(tiny(probes=[QUICK, dict(QUICK)]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("rounds", [[], [-1]])
def test_rounds_that_cannot_be_are_refused(tiny, rounds):
    with pytest.raises(ScenarioError, match="rounds"):
        tiny(probes=[{**QUICK, "rounds": rounds}])


def as_schema_1(place, labels):
    """Make a recording what the version before wrote: one for all probes of a client and round."""
    public = json.loads((place / "observation.json").read_text())
    for later in ("probe", "received", "planted", "releases", "message", "context"):
        del public[later]
    for later in ("optimizer", "weight_decay", "loss", "levels"):
        del public["knowledge"][later]
    recipe = public.pop("recipe")
    public |= {"model": recipe["model"], "inputs": recipe["inputs"]}
    public |= {"schema": 1, "knowledge": {**public["knowledge"], "labels": labels}}
    old = place.with_name("-".join(place.name.split("-")[:4]))
    shutil.copytree(place, old)
    (old / "observation.json").write_text(json.dumps(public, indent=1))
    shutil.rmtree(place)
    return old


def test_a_recording_of_the_version_before_is_read_and_attacked_again(tiny, tmp_path):
    folder = simulate(tiny(probes=[QUICK]), tmp_path / "run").folder
    (new,) = tensors_by_name(folder).values()
    (place,) = (folder / "observations").iterdir()
    old = as_schema_1(place, None)
    assert old.name == "round-000000-client-000002"

    again = reconstruct(AttackJob((old,), PluginSpec("dlg", {"max_iterations": 2}), 0, tmp_path / "again"))

    assert again.name.startswith("round-000000-client-000002-dlg-")
    for key, tensor in load_file(again / "tensors.safetensors").items():
        assert torch.equal(tensor, new[key])
    assert load_observation(old).knowledge.optimizer is None
    report = json.loads((again / "reconstruction.json").read_text())
    del report["schema"], report["labels_known"], report["observation"]
    (again / "reconstruction.json").write_text(json.dumps(report))
    (results,) = (folder / "reconstructions").iterdir()
    shutil.rmtree(results)
    again.rename(results.with_name("round-000000-client-000002-dlg"))
    (item,) = load_run(folder).gallery()
    assert item.settings == {"max_iterations": 2, "labels_known": False}


OLD = Path(__file__).parent / "schema2"  # written by the version before recordings had recipes and kinds


@pytest.mark.parametrize(("name", "near"), [("identity", 1e-4), ("topk", 0.2)])
def test_what_the_version_before_recorded_replays(tmp_path, name, near):
    """Oracle: what that version itself rebuilt, by another order of the same sums.

    A search for zeros that nobody sent finds no minimum, and follows the rounding of the CPU further (0.102).
    """
    (place,) = (OLD / name / "observations").iterdir()
    (before,) = (OLD / name / "reconstructions").iterdir()
    seen = load_observation(place)
    assert json.loads((place / "observation.json").read_text())["schema"] == 2
    assert (seen.kind, seen.contributors, seen.planted, seen.releases) == ("update", 1, {}, {})
    assert bool(seen.support.all()) == (name == "identity")
    assert seen.knowledge.levels == {}

    probe = probe_of(place)
    again = reconstruct(AttackJob((place,), PluginSpec(probe["attack"], probe["options"]), 0, tmp_path))

    assert again.name == before.name  # its own probe's
    old, new = (load_rebuilt(folder) for folder in (before, again))
    np.testing.assert_allclose(new.rebuilt, old.rebuilt, atol=near)
    assert new.labels.tolist() == old.labels.tolist()
    assert (old.sok, new.sok) == (None, "C")


def unfinish(folder):
    manifest = read_manifest(folder)
    write_json(folder / "manifest.json", {**manifest, "status": "running"})


def test_a_run_begun_by_the_version_before_is_taken_up_with_what_each_probe_may_know(tiny, tmp_path):
    """The version before told both probes what the last one was told."""
    folder = simulate(tiny(probes=[QUICK, TOLD]), tmp_path / "run").folder
    whole = tensors_by_name(folder)
    first, second = sorted((folder / "observations").iterdir())
    labels = knowledge_by_probe(folder)[Probe(**TOLD).identity()]["labels"]
    as_schema_1(first, labels)
    shutil.rmtree(second)
    for place in sorted((folder / "reconstructions").iterdir())[:1]:
        place.rename(place.with_name("round-000000-client-000002-dlg"))
    shutil.rmtree(folder / "reconstructions" / sorted(whole)[1])
    unfinish(folder)

    resume(folder)

    assert knowledge_by_probe(folder)[Probe(**QUICK).identity()]["labels"] is None
    assert knowledge_by_probe(folder)[Probe(**TOLD).identity()]["labels"] == labels
    assert tensors_by_name(folder).keys() == whole.keys()
    for name, tensors in tensors_by_name(folder).items():
        assert all(torch.equal(tensor, whole[name][key]) for key, tensor in tensors.items())
    assert len(load_run(folder).gallery()) == 2


def test_a_damaged_recording_is_one_line(tiny, tmp_path):
    folder = simulate(tiny(probes=[QUICK]), tmp_path / "run").folder
    (place,) = (folder / "observations").iterdir()
    good = (place / "observation.json").read_text()
    for bad in (
        "[]",
        "{",
        good.replace('"schema": 3', '"schema": 4'),
        good.replace('"batch_size": 2', '"b": 2'),
    ):
        (place / "observation.json").write_text(bad)
        with pytest.raises(Exception, match="is not a readable observation") as caught:
            reconstruct(AttackJob((place,), PluginSpec("dlg", {}), 0, tmp_path / "again"))
        assert type(caught.value).__name__ == "DataError"


ASKS = """
import ray
import torch
from gauntlet.core.observation import Reconstruction
class Asks:
    def reconstruct(self, observations, generator):
        x, y = torch.full((2, 1, 8, 8), 0.5), torch.zeros(2).long()
        given = ray.get_runtime_context().get_assigned_resources()
        return Reconstruction(x, y, 0.0, (), "closed_form", {"cpus": given.get("CPU", 0.0)})
"""


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [1, 2])
def test_on_ray_an_attack_has_a_cpu_of_its_own_also_where_workers_hold_them_all(
    tiny, tmp_path, ray_here, num_workers
):
    """The cluster of these tests has two CPUs: attacks run after the last round, on those of the workers."""
    (tmp_path / "asks.py").write_text(ASKS)
    probes = [{"name": f"{tmp_path}/asks.py:Asks", "rounds": [0, 1, 2]}]
    runtime = {"pool": "ray", "num_workers": num_workers}

    folder = simulate(tiny(probes=probes, runtime=runtime), tmp_path / "run").folder

    reports = [json.loads(p.read_text()) for p in (folder / "reconstructions").glob("*/reconstruction.json")]
    assert [report["details"]["cpus"] for report in reports] == [1.0, 1.0, 1.0]


def test_a_narrow_model_that_is_as_wide_as_the_whole_one_is_observed_with_its_scaler(tiny, tmp_path):
    """ceil(0.75 * 2) = 2 hidden units, whose outputs are divided by 0.75: autograd on it is what was sent."""
    run = simulate(
        tiny(
            rounds=1,
            algorithm={"name": "heterofl", "rates": [0.75], "mask": False},
            defense={"name": "mean", "weighting": "uniform"},
            training={"local_steps": 1, "batch_size": 1, "lr": 0.1},
            model={"name": "mlp", "hidden": [2], "activation": "sigmoid"},
            probes=[{"name": "bias_trick"}],
        ),
        tmp_path / "run",
    )
    (place,) = (run.folder / "observations").iterdir()
    seen, truth = load_observation(place), load_truth(place)
    loss = torch.nn.functional.cross_entropy(seen.model.eval()(truth.x), truth.y)
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(seen.model.parameters()))])

    assert (gradient - seen.gradient()).norm() < 1e-4 * gradient.norm()
