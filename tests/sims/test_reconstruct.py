"""What an attack is handed and what it returns, checked on one recorded observation."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from attack_returns import CASES, FINE, plugin_of
from safetensors.torch import load_file

from gauntlet.attacks.leakage import INFERENCE_ATTACKS
from gauntlet.core.errors import DataError, PluginError
from gauntlet.core.observation import Truth
from gauntlet.server.recording.probe import knowledge_of
from gauntlet.server.recording.recordings import save_observation
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec
from gauntlet.sims.rebuilt import load_rebuilt
from gauntlet.sims.reconstruct import AttackJob, infer, infers, reconstruct
from gauntlet.sims.results import load_run, read_manifest
from gauntlet.sims.run import simulate
from gauntlet.sims.sections import Probe

QUICK = {"name": "dlg", "client": 2, "max_iterations": 2}

SETTINGS = {
    "dlg": {"max_iterations": 3},
    "idlg": {"max_iterations": 3},
    "bias_trick": {},
    "bias_counts": {},
}


@pytest.fixture
def attacked(tiny, tmp_path):
    """Record a round's message beside a truth, attack it, and return what came out, in the attack's order."""
    one = {"local_steps": 1, "batch_size": 1, "lr": 0.5}
    simulation = prepare(replace(tiny(rounds=1, training=one).run_spec(), rows=True))
    (step,) = simulation.steps(simulation.serial_pool())

    def attack(name, truth, told):
        probe = Probe(name=name, client=1, labels_known=told, **SETTINGS.get(name, {}))
        kernel = simulation.kernel
        knowledge = knowledge_of(simulation.spec, kernel.training, truth, 1, told, kernel.rule)
        place = tmp_path / "observations" / "round-000000-client-000001"
        save_observation(
            place, simulation.spec, simulation.data, step.outcome, 1, knowledge, truth, probe.record()
        )
        job = AttackJob((place,), probe.spec(), 0, tmp_path / "results")
        if infers(name):
            return json.loads(infer(job).read_text())["scores"]
        tensors = load_file(reconstruct(job) / "tensors.safetensors")
        return tensors["x"].tolist(), tensors["y"].tolist()

    return attack, simulation.kernel.truth(1, 0)


ON_IMAGES = ("dlg", "idlg", "bias_trick")  # of an honest server; the contract tries the others
NEED_RECORDS = ("lira", "membership", "property_inference")
NEED_TOKENS = ("backward_lens", "row_membership")
COUNTING = [name for name in INFERENCE_ATTACKS.table if name not in NEED_RECORDS + NEED_TOKENS]


@pytest.mark.parametrize("name", [*ON_IMAGES, *COUNTING])
def test_garbage_in_place_of_the_truth_changes_no_bit_of_what_an_attack_makes(attacked, name):
    """Leakage specification, 1.3: nothing of the truth reaches an attack that is told no label."""
    attack, truth = attacked
    garbage = Truth(torch.full_like(truth.x, -7.5), (truth.y + 3) % 10)

    assert attack(name, truth, told=False) == attack(name, garbage, told=False)


@pytest.mark.parametrize("name", ON_IMAGES)
def test_of_the_truth_a_probe_that_is_told_labels_sees_the_labels_alone(attacked, name):
    attack, truth = attacked
    other = Truth(torch.full_like(truth.x, -7.5), truth.y)
    lie = Truth(truth.x, (truth.y + 3) % 10)

    told = attack(name, truth, told=True)

    assert told == attack(name, other, told=True)
    assert attack(name, lie, told=True) != told
    assert told[1] == truth.y.tolist()


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """A run of seconds, with one observation of two examples."""
    from gauntlet.sims.scenario import make_scenario

    folder = tmp_path_factory.mktemp("observed") / "run"
    simulate(
        make_scenario(
            {
                "name": "tiny",
                "rounds": 1,
                "num_clients": 3,
                "data": "digits",
                "model": {"name": "mlp", "hidden": [8]},
                "training": {"local_steps": 1, "batch_size": 2, "lr": 0.5},
                "runtime": {"pool": "serial"},
                "probes": [QUICK],
            }
        ),
        folder,
    )
    (place,) = (folder / "observations").iterdir()
    return place


@pytest.mark.parametrize(("kind", "name", "what"), CASES)
def test_what_is_no_result_is_one_line_that_names_the_plugin(observed, tmp_path, kind, name, what):
    attack = PluginSpec(plugin_of(tmp_path, kind, name), {"what": what})
    work = reconstruct if kind == "returns" else infer
    with pytest.raises(PluginError) as caught:
        work(AttackJob((observed,), attack, 0, tmp_path / "results"))

    assert f"{kind}.py:{name}'" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "raised" not in str(caught.value)  # refused by name, not by what broke on it
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("what", FINE)
def test_other_kinds_of_floats_and_whole_numbers_are_taken(observed, tmp_path, what):
    attack = PluginSpec(plugin_of(tmp_path, "returns", "Returns"), {"what": what})

    folder = reconstruct(AttackJob((observed,), attack, 0, tmp_path / "results"))

    tensors = load_file(folder / "tensors.safetensors")
    assert (tensors["x"].dtype, tensors["y"].dtype) == (torch.float32, torch.int64)
    report = json.loads((folder / "reconstruction.json").read_text())
    assert (report["details"], report["cost"]) == (
        ({"n": 3.0, "bad": None}, 1.0) if what == "exact" else ({}, None)
    )


STEPS = """
import torch
from gauntlet.core.observation import Progress, Reconstruction

class Steps:
    def __init__(self, count: int):
        self.count = count
    def reconstruct(self, observations, generator):
        n = self.count
        x = torch.arange(n).reshape(n, 1, 1, 1, 1) * torch.ones(n, 2, 1, 8, 8) / 1000
        figures = tuple(range(n))
        progress = Progress(x, tuple(map(float, figures)), figures, tuple(map(float, figures)))
        return Reconstruction(torch.ones(2, 1, 8, 8), torch.zeros(2).long(), 0.0, (), "plateau", {}, None, progress)
"""  # noqa: E501


@pytest.mark.parametrize("count", [1, 2, 32, 33, 1000])
def test_at_most_32_steps_are_kept_the_first_and_the_last_among_them(observed, tmp_path, count):
    """By hand: PSNR = -10 log10 MSE of flat images beside the true ones; figures are the steps' numbers."""
    (tmp_path / "steps.py").write_text(STEPS)
    attack = PluginSpec(f"{tmp_path / 'steps.py'}:Steps", {"count": count})

    found = load_rebuilt(reconstruct(AttackJob((observed,), attack, 0, tmp_path / "results")))

    steps = found.progress
    assert (len(steps.x), steps.closures[0], steps.closures[-1]) == (min(count, 32), 0, count - 1)
    assert (np.diff(steps.closures) > 0).all()
    assert steps.cost.tolist() == steps.closures.tolist() == steps.seconds.tolist()
    np.testing.assert_allclose(steps.x[:, 0, 0, 0, 0], steps.closures / 1000, rtol=1e-6)
    error = (steps.x - found.truth[None]) ** 2
    expected = -10 * np.log10(error.reshape(len(steps.x), 2, -1).mean(axis=2)).mean(axis=1)
    np.testing.assert_allclose(steps.psnr, expected, atol=1e-3)
    assert found.cpu_seconds is not None


def test_no_steps_are_no_progress(observed, tmp_path):
    (tmp_path / "steps.py").write_text(STEPS)
    attack = PluginSpec(f"{tmp_path / 'steps.py'}:Steps", {"count": 0})

    found = load_rebuilt(reconstruct(AttackJob((observed,), attack, 0, tmp_path / "results")))

    assert found.progress is None


def test_a_report_says_mean_median_worst_and_best_and_what_no_attack_would_score(observed, tmp_path):
    """By hand of the flat images that it rebuilds; the spread of two scores is their mean and the two."""
    attack = PluginSpec(plugin_of(tmp_path, "returns", "Returns"), {"what": "exact"})
    folder = reconstruct(AttackJob((observed,), attack, 0, tmp_path / "results"))

    report = json.loads((folder / "reconstruction.json").read_text())
    truth = load_file(folder / "tensors.safetensors")["truth"]
    mse = sorted(truth.square().flatten(1).mean(dim=1).tolist())
    mean = pytest.approx(sum(mse) / 2)
    assert report["summary"]["mse"] == {
        "mean": mean, "median": mean, "best": pytest.approx(mse[0]), "worst": pytest.approx(mse[1])
    }  # fmt: skip
    assert report["summary"]["psnr"]["best"] == max(report["psnr"])
    assert report["shares"] == {"psnr_above_20": 0.0, "mse_below_1e-3": 0.0, "mse_below_1e-4": 0.0}
    assert set(report["baselines"]) == {"constant", "noise", "permuted"}
    apart = (truth[0] - truth[1]).square().mean().item()
    assert report["baselines"]["permuted"]["mse"] == pytest.approx(apart, rel=1e-5)
    assert "cpu_seconds" not in report  # what a clock measured is no part of what must be the same bytes
    assert json.loads((folder / "timings.json").read_text())["cpu_seconds"] >= 0


def test_without_the_truth_an_attack_runs_and_no_score_is_known(observed, tmp_path, gauntlet):
    """Nothing of the truth is needed but for the scores; a truth that cannot be read is an error."""
    run = shutil.copytree(observed.parents[1], tmp_path / "run")
    place = run / "observations" / observed.name
    (place / "truth.safetensors").unlink()

    told = gauntlet("attack", run, "--with", "dlg", "--with", "bias_counts", "--set", "max_iterations=1")
    assert "max_iterations" in told.refusal()  # bias_counts has no such option
    told = gauntlet("attack", run, "--with", '{name="dlg", max_iterations=1}', "--with", "bias_counts")

    assert told.returncode == 0, told.stderr
    assert told.stdout.count("n/a") >= 4
    (found,) = load_run(run).attacked()
    assert np.isnan([*found.truth.ravel(), *found.psnr, *found.ssim, *found.mse]).all()
    assert (found.labels.shape, found.truth_labels.tolist()) == ((2,), [-1, -1])
    (report,) = (json.loads(p.read_text()) for p in (run / "attacked").glob("*bias-counts*[0-9a-f].json"))
    assert (report["label_counts"], report["label_accuracy"], len(report["scores"])) == (None, None, 10)
    with_truth = reconstruct(AttackJob((observed,), PluginSpec("dlg", {"max_iterations": 1}), 0, tmp_path))
    np.testing.assert_array_equal(
        np.sort(load_rebuilt(with_truth).rebuilt, axis=0), np.sort(found.rebuilt, 0)
    )

    (place / "truth.safetensors").write_bytes(b"no tensors")
    assert (
        "no readable truth"
        in gauntlet(
            "attack",
            run,
            "--with",
            "idlg",
            "--with",
            "bias_trick",
            "--with",
            '{name="dlg", max_iterations=2}',
        ).refusal()
    )


@pytest.mark.parametrize(("kind", "name", "what"), [CASES[3], CASES[-10]])
def test_the_run_is_kept_where_an_attack_returns_what_is_no_result(
    gauntlet, tiny_file, tmp_path, kind, name, what
):
    plugin = plugin_of(tmp_path, kind, name)
    found = gauntlet(
        "run", tiny_file, "--out", "run",
        "-s", f"probes=[{{name='{plugin}', what='{what}'}}, {{name='dlg', max_iterations=1}}]",
    )  # fmt: skip

    assert "numpy" in found.refusal()
    folder = tmp_path / "run"
    manifest = read_manifest(folder)
    assert (manifest["status"], plugin in manifest["reason"]) == ("failed", True)
    assert len(pd.read_parquet(folder / "rounds.parquet")) == 4
    assert [len(p["seen"]) for p in manifest["probes"]] == [1, 1]
    assert len(load_run(folder).gallery()) == 1


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("reconstruction.json", "progress", None),
        ("reconstruction.json", "progress", {"psnr": [1.0], "cost": [1.0], "closures": [1]}),
        ("reconstruction.json", "progress", {"psnr": ["x", 1], "cost": [1.0, 1.0], "closures": [1, 2]}),
        ("reconstruction.json", "mse", [0.5]),
        ("reconstruction.json", "closures", "many"),
        ("reconstruction.json", "baselines", [1]),
        ("reconstruction.json", "baselines", {"constant": 1.0}),
        ("reconstruction.json", "oracle", 3),
        ("reconstruction.json", "truth_known", False),
        ("timings.json", "cpu_seconds", "long"),
        ("timings.json", "progress", [0.5]),
        ("timings.json", "", None),
    ],
)
def test_a_damaged_report_is_one_line(observed, tmp_path, file, key, value):
    """But for a truth that is said not to be known, which is then not looked at."""
    (tmp_path / "steps.py").write_text(STEPS)
    attack = PluginSpec(f"{tmp_path / 'steps.py'}:Steps", {"count": 2})
    folder = reconstruct(AttackJob((observed,), attack, 0, tmp_path / "results"))
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value} if key else [1]))

    if key == "truth_known":
        assert np.isnan(load_rebuilt(folder).truth).all()
        return
    with pytest.raises(DataError, match=r"is not a readable reconstruction: .+") as caught:
        load_rebuilt(folder)
    assert "\n" not in str(caught.value)
