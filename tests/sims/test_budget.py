"""A run that its privacy budget ends: results are whole, and one line says why."""

from gauntlet.sims.results import load_run

PRIVATE = {
    "privacy": {"name": "gaussian", "clip_norm": 0.5, "noise_multiplier": 2.0, "delta": 1e-3},
    "defense": {"name": "mean", "weighting": "fixed"},
    "max_epsilon": 2.3,
    "evaluation": {"every": 50},
    "checkpoint": {"every": 10},
    "rounds": 50,
}


def test_a_run_that_ran_out_of_budget_is_whole_and_says_so_in_one_line(gauntlet, tiny, tmp_path):
    """Exact Gaussian, z = 2, everybody in every round, delta 1e-3: 2.0533 after 2 rounds, 2.6292 after 3."""
    from gauntlet.privacy.accounting.curves import gaussian_epsilon
    from gauntlet.sims.run import resume, simulate

    assert gaussian_epsilon(2 / 4, 1e-3) < 2.3 < gaussian_epsilon(3 / 4, 1e-3)
    notes = []

    class Listener:
        def begin(self, *told): ...
        def advance(self, *told): ...
        def end(self, *told): ...
        def close(self): ...
        def note(self, text):
            notes.append(text)

    run = simulate(tiny(**PRIVATE), tmp_path / "run", Listener())
    assert run.manifest["status"] == "budget_exhausted"
    assert run.manifest["epsilon"]["value"] <= 2.3
    assert run.manifest["reason"].startswith("one more round would cost epsilon 2.")
    assert len(run.rounds) == 2
    assert run.rounds["accuracy"].notna().tolist() == [False, True]
    assert run.rounds["epsilon"].is_monotonic_increasing
    assert notes[-1] == f"tiny: stopped after 2 of 50 rounds: {run.manifest['reason']}"
    assert len(list((run.folder / "checkpoints").iterdir())) == 1
    assert len(resume(run.folder).rounds) == 2
    assert load_run(run.folder).manifest["status"] == "budget_exhausted"


def test_a_budget_that_pays_for_nothing_is_one_line_and_leaves_nothing(gauntlet, tiny_file, tmp_path):
    told = gauntlet(
        "run",
        tiny_file,
        "--out",
        tmp_path / "out",
        "--set",
        'privacy={name="gaussian", clip_norm=0.5, noise_multiplier=2.0, delta=1e-3}',
        "--set",
        'defense={name="mean", weighting="fixed"}',
        "--set",
        "max_epsilon=0.1",
    )
    assert told.returncode == 2
    assert "not even one round can run" in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_attack_on_one_client_is_refused_where_nobody_sees_one(gauntlet, tiny_file):
    told = gauntlet(
        "run",
        tiny_file,
        "--set",
        'privacy={name="skellam", clip_norm=0.5, noise_multiplier=2.0, delta=1e-3}',
        "--set",
        'defense={name="mean", weighting="fixed"}',
        "--set",
        'probes=[{name="dlg"}]',
    )
    assert told.returncode == 2
    assert "got an aggregate of 6 clients (client 0, round 0): the server sees no message" in told.stderr
