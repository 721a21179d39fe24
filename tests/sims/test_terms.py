"""What an epsilon must be read with stands wherever it is printed: manifest, console, tables and plots."""

import json

import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.plots import draw
from gauntlet.sims.results import load_run
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import make_scenario
from gauntlet.sims.summary import summary_rows
from gauntlet.sims.terms import terms_in_words

FIXED = {"name": "mean", "weighting": "fixed"}
WARNING = (
    "delta = 0.2 is not below 1 / 6 (the number of clients): giving one of them away entirely would pass"
)


def private(delta, name="gaussian"):
    return {
        "privacy": {"name": name, "clip_norm": 0.5, "noise_multiplier": 0.5, "delta": delta},
        "defense": FIXED,
        "max_delta": 0.5,
        "rounds": 1,
    }


def small_print(figure):
    return figure.get_supxlabel().replace("\n", " ")


@pytest.mark.parametrize("name", ["accuracy_by_epsilon", "utility_by_epsilon"])
def test_a_large_delta_is_warned_of_in_manifest_console_and_plots(tiny, tmp_path, name):
    notes = []

    class Listener:
        def begin(self, *told): ...
        def advance(self, *told): ...
        def end(self, *told): ...
        def close(self): ...
        def note(self, text):
            notes.append(text)

    run = simulate(tiny(**private(0.2)), tmp_path / "run", Listener())
    assert run.manifest["guarantee"]["warning"].startswith(WARNING)
    assert notes[1].startswith(f"tiny: warning: {WARNING}")
    assert "too large: not below 1 / the number of units" in small_print(draw(name, [run]))


def test_a_usual_delta_is_not_warned_of(tiny, tmp_path):
    run = simulate(tiny(**private(1e-3)), tmp_path / "run")
    assert run.manifest["guarantee"]["warning"] is None
    assert "too large" not in small_print(draw("utility_by_epsilon", [run]))


def test_the_run_s_last_table_bears_the_warning_once(gauntlet, tiny_file):
    told = gauntlet(
        *("run", tiny_file, "--quiet", "--set", "rounds=1", "--set", "max_delta=0.5"),
        *("--set", 'privacy={name="gaussian", clip_norm=0.5, noise_multiplier=2.0, delta=0.2}'),
        *("--set", 'defense={name="mean", weighting="fixed"}'),
    )
    assert told.returncode == 0
    assert " ".join(told.stdout.split()).count(f"warning: {WARNING}") == 1


def test_a_large_delta_that_is_not_said_is_one_line(gauntlet, tiny_file):
    told = gauntlet(
        *(
            "run",
            tiny_file,
            "--set",
            'privacy={name="gaussian", clip_norm=0.5, noise_multiplier=2.0, delta=0.2}',
        ),
    )
    assert "delta = 0.2 is above max_delta = 0.1" in told.refusal()


def test_what_neighbours_have_in_common_stands_in_manifest_and_plots(tiny, tmp_path):
    run = simulate(tiny(**private(1e-3, "local_gaussian")), tmp_path / "run")
    assert run.manifest["guarantee"]["public"] == ["num_examples"]
    assert "relation: replace_one (num_examples public)" in small_print(draw("utility_by_epsilon", [run]))


def test_a_run_of_an_earlier_version_has_no_terms_and_is_drawn_all_the_same(tiny, tmp_path):
    run = simulate(tiny(**private(1e-3)), tmp_path / "run")
    path = run.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["guarantee"]
    del manifest["scenario"]["max_delta"]
    path.write_text(json.dumps(manifest))
    assert "δ: 0.001" in small_print(draw("utility_by_epsilon", [load_run(run.folder)]))


def test_saying_that_a_delta_is_meant_decides_no_result(tiny):
    meant = make_scenario({**tiny(**private(1e-3)).values(), "max_delta": 0.3})
    assert meant.fingerprint() == tiny(**private(1e-3)).fingerprint()


@pytest.mark.parametrize("name", ["accuracy_by_epsilon", "utility_by_epsilon"])
def test_an_epsilon_of_0_is_a_line_and_no_empty_picture(tiny, tmp_path, name):
    """z = 10 and delta 0.2: the exact Gaussian's delta at epsilon 0 is 0.04, so that nothing is spent."""
    settings = private(0.2)
    settings["privacy"]["noise_multiplier"] = 10.0
    run = simulate(tiny(**settings), tmp_path / "run")
    assert run.manifest["epsilon"]["value"] == 0.0
    with pytest.raises(ScenarioError, match="there is no accuracy to draw against epsilon"):
        draw(name, [run])


def test_an_epsilon_comes_with_its_terms_in_the_consoles_table_and_in_a_papers(
    tiny, tmp_path, gauntlet, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "160")
    simulate(tiny(**private(1e-3)), tmp_path / "run")
    printed = gauntlet("resume", "run", "--quiet").stdout
    note = "epsilon with delta 0.001; unit client; trust model central; relation add_remove"

    assert note in " ".join(printed.split())
    assert gauntlet("table", "run").stdout.splitlines()[0] == f"% {note}"
    told = gauntlet("table", "run", "--columns", "delta,unit,trust_model,relation", "--format", "csv").stdout
    assert told == "Delta,Unit,Trust model,Relation\n0.001,client,central,add_remove\n"


def test_without_an_epsilon_no_terms_are_told(tiny, tmp_path, gauntlet):
    """A median lets nothing be proved: to print a delta would say that it was."""
    run = simulate(tiny(**{**private(1e-3), "defense": "median"}), tmp_path / "run")

    assert "epsilon with" not in gauntlet("table", "run").stdout
    assert summary_rows([run])[0]["delta"] is None
    other = [{"run": n, "epsilon": 1.0, "delta": d, **dict.fromkeys(("unit", "trust_model", "relation"))}
             for n, d in (("a", "0.1"), ("b", "0.2"))]  # fmt: skip
    assert terms_in_words(other) == "epsilon with delta 0.1 (a), 0.2 (b)"
