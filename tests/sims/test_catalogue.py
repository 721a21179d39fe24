"""Listing, showing and checking what there is."""

from pathlib import Path

import pytest
from PIL import Image

from gauntlet.sims.families import checks, families_of, family, family_names
from gauntlet.sims.plots import PLOTS, SETS


@pytest.mark.parametrize("name", family_names())
def test_every_family_has_a_member_and_a_contract(name):
    assert family(name).names()
    assert len(checks(name)) >= 3


@pytest.mark.parametrize("name", family_names())
def test_every_built_in_can_be_loaded_and_says_what_it_is(name):
    import inspect

    for plugin in family(name).table:
        found = family(name).find(plugin)
        module = inspect.getmodule(found)
        assert inspect.getdoc(found)
        assert module.__doc__


def test_a_name_in_several_families_needs_one_to_be_chosen(gauntlet):
    """'gaussian' is an attack on updates and a privacy mechanism."""
    assert families_of("gaussian") == ["update_attacks", "privacy"]

    assert "choose one with --family" in gauntlet("check-plugin", "gaussian").stderr
    options = ["--set", "clip_norm=1.0", "--set", "noise_multiplier=1.0", "--set", "delta=1e-5"]
    assert gauntlet("check-plugin", "gaussian", "--family", "privacy", *options).returncode == 0


def test_an_algorithm_with_halves_of_other_families_is_an_algorithm():
    """Its step and its sample make it no server optimizer and no sampler; what has a step alone is one."""
    place = f"{Path(__file__).parents[1]}/outside/scaffold_m.py:ScaffoldM"
    assert families_of(place) == ["algorithms"]
    assert families_of("gauntlet.clients.algorithms.fsgld:FSGLD") == ["algorithms"]
    assert families_of("gauntlet.server.optimizers.adam:Adam") == ["server_optimizers"]


def test_listing_names_every_plug_in_and_scenario(gauntlet):
    printed = gauntlet("list", "all").stdout

    for name in ("quickstart", "trimmed_mean", "terngrad", "dlg", "sign_flip", "label_flip", "poisson"):
        assert name in printed


def test_listing_plots_names_each_with_what_it_draws(gauntlet, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    printed = gauntlet("list", "plots").stdout

    assert all(f" {name} " in printed for name in (*PLOTS, *SETS))
    assert "Draw the share of examples that each attack recovers against the size of the batch." in printed


def test_listing_prints_what_stands_in_brackets(gauntlet, monkeypatch):
    """FedAvg's first line has ``[training]``, which could be taken for markup."""
    monkeypatch.setenv("COLUMNS", "200")

    assert "``[training]``" in gauntlet("list", "algorithms").stdout


def test_showing_a_plug_in_prints_its_source_and_options(gauntlet):
    printed = gauntlet("show", "multi_krum").stdout

    assert "arXiv:1703.02757" in printed
    assert "num_byzantine: int   (required)" in printed


def test_showing_a_scenario_prints_its_file(gauntlet):
    assert 'name = "quickstart"' in gauntlet("show", "quickstart").stdout
    assert "did you mean 'quickstart'" in gauntlet("show", "quickstrat").stderr


def test_labels_of_a_data_set_are_drawn_with_the_numbers_beside(gauntlet, tmp_path):
    """By hand: 1437 training digits on 4 clients."""
    result = gauntlet("data", "digits", "-s", "num_clients=4", "--out", "labels.png")
    assert result.returncode == 0, result.stderr

    import pandas as pd

    numbers = pd.read_csv(tmp_path / "labels.csv")
    assert numbers["num_examples"].sum() == 1437
    with Image.open(tmp_path / "labels.png") as picture:
        assert picture.width > 400


MEMBERS = """
from dataclasses import dataclass
from pathlib import Path
import numpy as np

class Base:
    def init(self): return None

@dataclass(frozen=True)
class Middle(Base):
    def aggregate(self, updates, state): ...

class Flip:
    def poison(self, x, y, generator): ...

class Pile:
    def load(self): ...

class Net:
    def build(self, input_shape, num_classes): ...

class _Hidden(Middle): pass
"""


def test_a_file_without_a_class_is_told_which_of_its_classes_could_be_meant(gauntlet, tmp_path):
    (tmp_path / "mine.py").write_text(MEMBERS)

    assert gauntlet("check-plugin", "mine.py").refusal() == (
        "gauntlet: 'mine.py' is a file: name one of its classes, mine.py:Middle (defenses) or "
        "mine.py:Flip (data_attacks) or mine.py:Pile (datasets) or mine.py:Net (models)"
    )


@pytest.mark.parametrize(("code", "words"), [("X = 1", "it has no class"), ("class A: ...", "(A) have no")])
def test_a_file_without_a_plug_in_is_told_what_each_family_needs(gauntlet, tmp_path, code, words):
    (tmp_path / "mine.py").write_text(code)
    line = gauntlet("check-plugin", "mine.py").refusal()

    assert words in line
    assert "datasets: load or populate; partitions: split; models: build; algorithms:" in line


def test_a_class_of_no_family_is_told_what_each_family_needs_and_a_missing_file_is_missing(
    gauntlet, tmp_path
):
    (tmp_path / "mine.py").write_text(MEMBERS)

    assert "datasets: load or populate; " in gauntlet("check-plugin", "mine.py:Base").refusal()
    assert "plug-in file 'gone.py' cannot" not in gauntlet("check-plugin", "gone.py").refusal()
    assert "no such plug-in file" in gauntlet("check-plugin", "gone.py").refusal()


@pytest.mark.parametrize(("name", "kind"), [("Middle", "defenses"), ("Pile", "datasets"), ("Net", "models")])
def test_the_family_of_a_class_follows_from_its_methods(tmp_path, name, kind):
    (tmp_path / "mine.py").write_text(MEMBERS)

    assert families_of(f"{tmp_path}/mine.py:{name}") == [kind]


@pytest.mark.parametrize("leaves", ["raise SystemExit(0)", "import os, sys; sys.exit(0)"])
def test_a_plug_in_that_leaves_the_process_fails_the_check(gauntlet, tmp_path, leaves):
    (tmp_path / "mine.py").write_text(MEMBERS.replace("state): ...", f"state): {leaves}"))
    result = gauntlet("check-plugin", "mine.py:Middle")

    assert result.returncode == 1
    assert "SystemExit: 0" in result.stdout


SHY = """
from dataclasses import dataclass
from typing import ClassVar
from gauntlet.core.contracts import Verdict

@dataclass(frozen=True)
class Shy:
    need_root: bool = False
    gentle: ClassVar[bool] = True
    needs_root: ClassVar[bool] = False
    def init(self): return None
    def helper(self): return 1
    def _own(self): return 1
    def aggregate(self, updates, state): return Verdict(updates.vectors.sum(dim=0) * 0), state
"""


def test_an_error_that_breaks_several_promises_is_written_once_with_its_line(gauntlet, tmp_path):
    lines = [
        "from dataclasses import dataclass",
        "from typing import ClassVar",
        "from gauntlet.core.contracts import UpdateKnowledge",
        "@dataclass(frozen=True)",
        "class Torn:",
        "    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN",
        "    def init(self): return None",
        "    def corrupt(self, own, view, state):",
        "        return self._work(own), state",
        "    def _work(self, own):",
        "        raise TypeError('no such thing ' * 100)",
    ]
    (tmp_path / "torn.py").write_text("\n".join(lines))
    said = gauntlet("check-plugin", f"{tmp_path}/torn.py:Torn")
    failed = [line for line in said.stdout.splitlines() if line.startswith("FAILED")]

    assert said.returncode == 1
    assert len(failed) == 6
    assert failed[0].startswith(
        "FAILED  the same clients send rows of the same shape: torn.py:11: Torn raised"
    )
    assert all("the same as of: the same clients send rows" in line for line in failed[1:])
    assert max(map(len, failed)) < 450


def test_the_check_names_what_is_in_no_table_of_declarations(gauntlet, tmp_path):
    """A class attribute, a method, and an option that is nearly called like a declaration."""
    (tmp_path / "shy.py").write_text(SHY)
    result = gauntlet("check-plugin", "shy.py:Shy")

    notes = [line for line in result.stdout.splitlines() if line.startswith("note")]
    assert notes == [
        "note    'gentle' is in no table of what a defense may declare: nothing reads it",
        "note    'helper' is in no table of what a defense may declare: nothing reads it",
        "note    option 'need_root' declares nothing; where 'needs_root' is meant, write needs_root: "
        "ClassVar",
    ]


def test_a_misspelt_declaration_is_refused_by_check_and_run(gauntlet, tiny_file, tmp_path):
    """One that needs a root, and says ``need_root``, kept every promise and trained without it."""
    (tmp_path / "shy.py").write_text(SHY.replace("gentle", "remember_clients"))
    wanted = "'remember_clients' is no declaration; did you mean 'remembers_clients'?"

    assert wanted in gauntlet("check-plugin", "shy.py:Shy").refusal()
    assert wanted in gauntlet("run", tiny_file, "-s", "defense=shy.py:Shy").refusal()
