"""``gauntlet show`` ends with an example of use, and every one of them runs as it stands."""

import subprocess
import sys
import tomllib

import pytest

from gauntlet.core.errors import GauntletError
from gauntlet.server.simulation import prepare
from gauntlet.sims.example_needs import NEEDS
from gauntlet.sims.examples import example_of, files_of, required, toml
from gauntlet.sims.families import family, family_names
from gauntlet.sims.places import PLACES
from gauntlet.sims.run import check_probes, simulate
from gauntlet.sims.scenario import load_scenario

SOME = {"defenses": "krum", "privacy": "gaussian", "leakage_attacks": "dlg", "codecs": "terngrad"}
OUTSIDE = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Gate:
    bound: float
    strict: bool = True
    def init(self): return None
    def aggregate(self, updates, state): ...
"""


def write(kind, name, folder):
    """Save an example's files, as ``gauntlet show`` says."""
    for file, text in files_of(kind, name).items():
        (folder / file).write_text(text)
        if file == "pictures.py":
            subprocess.run([sys.executable, file], cwd=folder, check=True)
    (folder / "example.toml").write_text(example_of(kind, name, family(kind).find(name)))


@pytest.mark.parametrize("kind", SOME)
def test_an_example_fits_what_it_is_beside(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(kind, SOME[kind], tmp_path)
    scenario = load_scenario("example.toml")

    check_probes(scenario, prepare(scenario.run_spec()))


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLACES)
def test_every_example_runs(kind, tmp_path, monkeypatch):
    """Without the pictures that the command line would draw; models are scored once, after the last round."""
    monkeypatch.setenv("GAUNTLET_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    here = {"runtime": {"pool": "serial"}, "evaluation": {"every": 2}}
    for name in family(kind).table:
        write(kind, name, tmp_path)
        try:
            run = simulate(load_scenario("example.toml", here), f"run {name}")
        except GauntletError as error:
            if "no folder holds" in str(error) or "which is not installed" in str(error):
                continue  # real data or an extra that are not on this machine
            raise AssertionError(name) from error
        assert run.rounds["rejected"].sum() == (4 if name == "non_finite" else 0), name
        said = run.rounds["fallback"].dropna()  # a code over rounds tells nothing in its first ones
        assert said.str.contains("the first job is told").all(), (name, said.tolist())


def test_what_examples_need_is_of_plug_ins_that_there_are():
    every = {f"{kind}/{name}" for kind in family_names() for name in family(kind).table}

    assert set(NEEDS) <= every


def test_of_a_plug_in_from_outside_the_example_has_a_place_for_what_is_required(gauntlet, tmp_path):
    (tmp_path / "gate.py").write_text(OUTSIDE)
    printed = gauntlet("show", "gate.py:Gate").stdout

    assert 'name = "gate.py:Gate"\nbound = ...  # required\n' in printed
    assert "strict = " not in printed.partition("Example")[2]


def test_values_are_written_as_toml_reads_them():
    values = {"a b": [1, 0.1, 1e-5, True], "c": {"d": 'e"f'}, "g": "ä"}

    assert tomllib.loads(f"x = {toml(values)}")["x"] == values


def test_required_options_are_those_without_a_default():
    assert required(family("defenses").find("krum")) == ["num_byzantine"]
    assert required(lambda: None) == []
