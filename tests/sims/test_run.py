"""A run's folder: equal for any pool, after a kill, and readable with pandas alone."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from commands import Command

import gauntlet
from gauntlet.core.errors import PluginError, ResultsError, ScenarioError
from gauntlet.server.simulation import prepare
from gauntlet.sims.provenance import Consent
from gauntlet.sims.results import load_run, read_manifest, write_json
from gauntlet.sims.run import resume, simulate
from gauntlet.sims.sweep import load_runs, resume_sweep, sweep, variants
from gauntlet.sims.writer import RunWriter

BUSY = {
    "codec": "terngrad",
    "defense": {"name": "trimmed_mean", "num_byzantine": 1},
    "attacks": [{"name": "sign_flip", "count": 1}, {"name": "non_finite", "clients": [4]}],
    "probes": [{"name": "dlg", "client": 2, "rounds": [0, 2], "max_iterations": 2}],
    "network": {"name": "links", "dropout": 0.1},
}


def bits(folder: Path) -> dict[str, bytes]:
    """Everything in a run's folder that equal runs must share, byte for byte."""
    names = ["rounds.parquet", "clients.parquet"]
    names += [str(p.relative_to(folder)) for p in sorted((folder / "checkpoints").iterdir())[-1:]]
    for kind in ("observations", "reconstructions"):
        names += [str(p.relative_to(folder)) for p in sorted((folder / kind).rglob("*")) if p.is_file()]
    names = [name for name in names if not name.endswith("timings.json")]  # what a clock measured
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("vectorize", ["on", "off"])
def test_tables_parameters_and_leaks_are_the_same_bytes_on_every_pool(tiny, tmp_path, vectorize):
    pools = [{"pool": "serial"}, {"pool": "ray", "num_workers": 1}, {"pool": "ray", "num_workers": 2}]
    found = []
    for number, runtime in enumerate(pools):
        scenario = tiny(**BUSY, vectorize=vectorize, runtime=runtime)
        found.append(bits(simulate(scenario, tmp_path / str(number)).folder))

    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 2 + 1 + 2 * 4 + 2 * 2


LONG = [
    "rounds=100",
    "probes=[{name='dlg', client=1, rounds=[1,50], max_iterations=1}]",
    "codec=terngrad",
]


@pytest.fixture(scope="module")
def long_run(tiny_text, tmp_path_factory):
    """What a run of a hundred rounds leaves that nobody kills."""
    from gauntlet.sims.scenario import load_scenario

    folder = tmp_path_factory.mktemp("long")
    (folder / "tiny.toml").write_text(tiny_text)
    return bits(simulate(load_scenario(folder / "tiny.toml", LONG), folder / "whole").folder)


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["none", "socket", "ray"])
def test_a_run_killed_at_any_time_and_resumed_gives_the_same_bytes(
    long_run, tiny_file, tmp_path, transport, request
):
    """kill -9 once the first checkpoint is there, at whatever point of a round that happens to be."""
    changes, killed = [*LONG], tmp_path / "killed"
    if transport != "none":
        request.getfixturevalue("ray_here")  # of the process that resumes
        changes += ["runtime.pool=ray", "runtime.num_workers=2", f"runtime.transport={transport}"]
    sets = [word for change in changes for word in ("-s", change)]
    command = Command(tmp_path, "run", str(tiny_file), *sets, "--out", str(killed))
    while not list(killed.glob("checkpoints/*.safetensors")):
        assert command.process.is_alive(), command.errors()
        time.sleep(0.005)
    command.process.kill()
    command.process.join()
    assert load_run(killed).manifest["status"] == "running"

    resume(killed)

    assert bits(killed) == long_run
    assert load_run(killed).manifest["status"] == "complete"


def test_a_run_killed_before_its_first_checkpoint_starts_again(tiny, tmp_path):
    scenario = tiny(**BUSY)
    whole = simulate(scenario, tmp_path / "whole").folder
    RunWriter.create(tmp_path / "killed", scenario, prepare(scenario.run_spec()).choice)

    assert bits(resume(tmp_path / "killed").folder) == bits(whole)


def test_resuming_a_complete_run_changes_nothing(tiny, tmp_path):
    folder = simulate(tiny(), tmp_path / "run").folder
    before = bits(folder)

    assert bits(resume(folder).folder) == before


def test_a_run_whose_model_ends_beyond_float32_is_complete_and_says_so(tiny, tmp_path):
    """From updates of about 1e19, steps of 1e30: whoever steps so far, nobody's reply is at fault."""
    far = {"training": {"local_steps": 1, "batch_size": 4, "lr": 1e20}}
    run = simulate(tiny(server_optimizer={"name": "sgd", "lr": 1e30}, **far), tmp_path / "far")

    assert run.manifest["status"] == "complete"
    assert [note for note in run.manifest["notes"] if "holds NaN or infinity" in note]
    assert not simulate(tiny(), tmp_path / "near").manifest["notes"]


def test_pandas_alone_reads_the_tables(tiny, tmp_path):
    run = simulate(tiny(**BUSY), tmp_path / "run")
    rounds, clients = (pd.read_parquet(tmp_path / "run" / f"{n}.parquet") for n in ("rounds", "clients"))

    assert rounds["round"].tolist() == [0, 1, 2, 3]
    assert len(clients) == 4 * 6
    assert clients.groupby("round")["bytes_up"].sum().tolist() == rounds["bytes_up"].tolist()
    assert rounds["bytes_up"].cumsum().tolist() == rounds["total_bytes_up"].tolist()
    assert set(clients.loc[clients["client_id"] == 4, "truth"]) == {"non_finite"}
    assert set(clients.loc[clients["client_id"] == 4, "status"]) <= {"undecodable", "dropped"}
    assert (clients["truth"] == "sign_flip").sum() == 4
    assert rounds["epsilon"].isna().all()
    assert set(rounds["epsilon_reason"]) == {"no_mechanism"}
    pd.testing.assert_frame_equal(run.rounds, rounds)


def test_what_was_observed_is_what_was_sent_and_what_was_rebuilt_stands_beside_the_truth(tiny, tmp_path):
    run = simulate(tiny(**BUSY), tmp_path / "run")
    sent = run.clients.set_index(["round", "client_id"])["bytes_up"]

    assert [(r.round, r.client_id) for r in run.gallery()] == [(0, 2), (2, 2)]
    for rebuilt in run.gallery():
        (place,) = (run.folder / "observations").glob(f"round-{rebuilt.round:06d}-client-000002-dlg-*")
        assert len((place / "frame.bin").read_bytes()) == sent[rebuilt.round, 2]
        assert rebuilt.truth.shape == rebuilt.rebuilt.shape == (2, 1, 8, 8)
        error = ((np.clip(rebuilt.rebuilt, 0, 1) - rebuilt.truth) ** 2).mean(axis=(1, 2, 3))
        assert rebuilt.psnr == pytest.approx(10 * np.log10(1 / error), abs=1e-3)


def test_an_attack_that_can_make_nothing_of_its_client_is_refused_before_anybody_trains(tiny, tmp_path):
    blind = tiny(probes=[{"name": "idlg", "client": 0}])
    with pytest.raises(
        PluginError, match=r"IDLG works with batch_size = 1 and local_steps = 1 only, got .* = 2"
    ):
        simulate(blind, tmp_path / "one")
    several = tiny(probes=[{"name": "dlg", "rounds": [1]}], training={"local_steps": 3, "batch_size": 2})
    with pytest.raises(
        PluginError, match=r"DLG works with local_steps = 1 only, got local_steps = 3 \(client"
    ):
        simulate(several, tmp_path / "two")
    with pytest.raises(ScenarioError, match="probe 'dlg': round 7 never comes; allowed: 0 to 3"):
        simulate(tiny(probes=[{"name": "dlg", "rounds": [7]}]), tmp_path / "three")
    assert not list(tmp_path.iterdir())


def test_an_attack_that_fails_is_noted_beside_the_results_and_tried_again(tiny, tmp_path):
    plugin = tmp_path / "clumsy.py"
    plugin.write_text(
        "class Clumsy:\n    def reconstruct(self, observation, generator):\n        return 1 / 0\n"
    )
    scenario, folder = tiny(probes=[{"name": f"{plugin}:Clumsy", "client": 0}]), tmp_path / "run"
    for attempt in (lambda: simulate(scenario, folder), lambda: resume(folder)):
        with pytest.raises(PluginError, match="raised ZeroDivisionError"):
            attempt()
        manifest = read_manifest(folder)
        assert (manifest["status"], "ZeroDivisionError" in manifest["reason"]) == ("failed", True)
        assert len(pd.read_parquet(folder / "rounds.parquet")) == 4
    plugin.write_text("class Clumsy:\n    pass\n")  # the file's content is no longer that of a plug-in
    with pytest.raises(PluginError, match="has no method reconstruct"):
        resume(folder, consent=Consent(accept_changes=True))


@pytest.mark.slow
def test_a_sweep_runs_every_combination_the_same_as_each_alone(tiny, tmp_path, ray_here):
    swept = tiny(sweep={"defense.name": ["mean", "median"], "seed": [0, 1]}, runtime={"pool": "ray"})
    runs = sweep(swept, tmp_path / "sweep")

    assert [(r.manifest["label"], r.manifest["seed"]) for r in runs] == [
        ("mean", 0),
        ("mean", 1),
        ("median", 0),
        ("median", 1),
    ]
    alone = simulate(tiny(defense="median", seed=1), tmp_path / "alone")
    assert bits(runs[3].folder) == bits(alone.folder)
    assert load_runs([tmp_path / "sweep"]) == runs
    twice = load_runs([tmp_path / "sweep", tmp_path / "sweep" / "run-000"])
    assert [r.origin for r in twice] == ["sweep"] * len(runs) + ["run-000"]


def test_a_sweep_resumes_only_what_is_not_complete(tiny, tmp_path):
    swept = tiny(sweep={"seed": [0, 1]})
    first, second = sweep(swept, tmp_path / "sweep")
    before, changed = bits(second.folder), first.folder.stat().st_mtime_ns
    import shutil

    shutil.rmtree(second.folder)
    resume_sweep(tmp_path / "sweep")

    assert bits(second.folder) == before
    assert first.folder.stat().st_mtime_ns == changed


def test_variants_are_labelled_by_what_differs(tiny):
    tables = [{"name": "mean"}, {"name": "trimmed_mean", "num_byzantine": 1}]
    swept = tiny(sweep={"defense": tables, "training.lr": [0.1, 0.2]})

    assert [v.label for v in variants(swept)] == [
        "mean, lr = 0.1",
        "mean, lr = 0.2",
        "trimmed_mean, lr = 0.1",
        "trimmed_mean, lr = 0.2",
    ]


def test_keys_that_end_alike_are_told_whole(tiny):
    swept = tiny(sweep={"training.lr": [0.1], "server_optimizer.lr": [1.0], "training.momentum": [0.5]})

    assert [v.label for v in variants(swept)] == [
        "training.lr = 0.1, server_optimizer.lr = 1.0, momentum = 0.5"
    ]


def test_namesakes_are_told_apart_by_the_options_that_differ(tiny):
    noise = [{"name": "gaussian", "clip_norm": 1.0, "delta": 1e-3, "epsilon": e} for e in (1.0, 2.0)]

    labels = [v.label for v in variants(tiny(sweep={"privacy": [{"name": "none"}, *noise]}))]

    assert labels == ["none", "gaussian epsilon=1.0", "gaussian epsilon=2.0"]


def test_a_sweep_over_a_key_that_does_not_exist_is_refused_before_anything_runs(tiny, tmp_path):
    with pytest.raises(ScenarioError, match="did you mean 'defense'"):
        sweep(tiny(sweep={"defence": ["mean"]}), tmp_path / "sweep")

    assert not (tmp_path / "sweep").exists()


def test_where_a_run_runs_is_no_part_of_its_fingerprint_and_everything_else_is(tiny):
    base = tiny()

    assert tiny(runtime={"pool": "ray"}, description="x").fingerprint() == base.fingerprint()
    for changes in (
        {"seed": 1},
        {"training": {"lr": 0.1}},
        {"defense": "median"},
        {"checkpoint": {"every": 1}},
    ):
        assert tiny(**changes).fingerprint() != base.fingerprint()


def test_the_public_names_are_what_the_readme_uses(tiny, tmp_path):
    run = gauntlet.simulate(tiny(), tmp_path / "run")

    assert list(run.rounds.columns[:3]) == ["round", "accuracy", "loss"]
    assert run.plot("accuracy", by="round").axes[0].get_ylabel()
    with pytest.raises(ResultsError):
        gauntlet.simulate(tiny(), tmp_path / "run")
    with pytest.raises(AttributeError, match="known: "):
        _ = gauntlet.simulat


def test_a_run_goes_on_where_it_began_or_says_why_it_cannot(tiny, tmp_path):
    """A manifest names the device; the rest of a run that began on CUDA is not quietly trained on the CPU."""
    scenario = tiny()
    folder = tmp_path / "begun"
    RunWriter.create(folder, scenario, prepare(scenario.run_spec()).choice)
    manifest = read_manifest(folder)
    height = prepare(scenario.run_spec()).choice.height
    assert manifest["training"] == {"device": "cpu", "height": height, "compiled": False}

    there = {"device": "cuda", "height": 8, "compiled": False}
    write_json(folder / "manifest.json", manifest | {"training": there})
    if not torch.cuda.is_available():
        with pytest.raises(ScenarioError, match="device = cuda cannot be: torch finds no CUDA device"):
            resume(folder)
    for wrong in ("cuda", there | {"device": "abacus"}, there | {"height": True}, there | {"compiled": "no"}):
        write_json(folder / "manifest.json", manifest | {"training": wrong})
        with pytest.raises(ResultsError, match="none of this version's"):
            resume(folder)
