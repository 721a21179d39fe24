"""What plug-ins declare: read by one table a family, typed, and never misspelt in silence."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gauntlet.core.contracts import Verdict
from gauntlet.core.declarations import (
    TABLES,
    Defenses,
    LeakageAttacks,
    Mechanisms,
    Table,
    UpdateAttacks,
    declared,
    declares,
)
from gauntlet.core.declarations.page import page
from gauntlet.core.declarations.strangers import resembled, strangers
from gauntlet.core.errors import PluginError
from gauntlet.core.guards import guard
from gauntlet.core.updates import Updates
from gauntlet.defenses import DEFENSES
from gauntlet.defenses.mean import Mean
from gauntlet.sims.families import family, family_names

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Plain:
    """The plain mean, as somebody outside would write it."""

    scale: float = 1.0

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        return Verdict(self.scale * updates.vectors.mean(dim=0)), state


def defense(**members: Any) -> type:
    """The same with other class attributes."""
    return type("Outside", (Plain,), {"__module__": __name__, **members})


def built(tmp_path: Path, body: str, name: str = "Outside") -> object:
    """Build a defense from a file that adds ``body`` to its class."""
    file = tmp_path / "outside.py"
    file.write_text(
        "from dataclasses import dataclass\n"
        "from typing import ClassVar\n"
        "from gauntlet.core.contracts import Verdict\n\n\n"
        "@dataclass(frozen=True)\n"
        f"class {name}:\n    scale: float = 1.0\n{body}\n"
        "    def init(self):\n        return None\n\n"
        "    def aggregate(self, updates, state):\n"
        "        return Verdict(self.scale * updates.vectors.sum(dim=0)), state\n"
    )
    return DEFENSES.build(f"{file}:{name}", {})


def test_what_is_declared_is_read_and_of_the_silent_the_careful_answer_holds():
    assert declared(Mean(), Defenses.linear) is True
    assert declared(Plain(), Defenses.linear) is False
    assert declared(Plain(), Defenses.individual) is True
    assert declared(Plain(), Defenses.sensitivity) is None
    assert declared(Plain, Defenses.least_cohort) == 1
    assert declared(guard(defense(least_cohort=3)(), "defense"), Defenses.least_cohort) == 3


def test_a_class_whose_members_answer_one_by_one_is_silent():
    told = defense(least_cohort=property(lambda _: 3))

    assert declared(told(), Defenses.least_cohort) == 3
    assert declared(told, Defenses.least_cohort) == 1


LEVELS = "a mapping from items to levels (unknown, estimated, exact, oracle)"


@pytest.mark.parametrize(
    ("table", "name", "value", "allowed"),
    [
        (Defenses, "linear", "yes", "True or False, got 'yes'"),
        (Defenses, "linear", 1, "True or False, got 1"),
        (Defenses, "linear", None, "True or False, got None"),
        (Defenses, "least_cohort", 2.5, "a whole number, at least 0, got 2.5"),
        (Defenses, "least_cohort", True, "a whole number, at least 0, got True"),
        (Defenses, "least_cohort", -1, "a whole number, at least 0, got -1"),
        (Defenses, "needs_clients", 3, "a tuple of whole numbers, got 3"),
        (Defenses, "sensitivity", 0.5, "a method (clip_norm, expected_size) -> float | None, got 0.5"),
        (UpdateAttacks, "knowledge", "own", "a member of core.contracts.UpdateKnowledge, got 'own'"),
        (LeakageAttacks, "requires", ("labels",), f"{LEVELS}, got ('labels',)"),
        (LeakageAttacks, "requires", {"labels": "surely"}, f"{LEVELS}, got {{'labels': 'surely'}}"),
        (LeakageAttacks, "only", ("lr",), "a mapping from strings, got ('lr',)"),
        (Mechanisms, "trust_model", "nobody", "one of central, local, distributed, none, got 'nobody'"),
        (Mechanisms, "clip_norm", "1", "a number, got '1'"),
    ],
)
def test_a_value_of_another_type_is_refused_in_one_line(table, name, value, allowed):
    plugin = defense(**{name: value})()

    with pytest.raises(PluginError) as error:
        declared(plugin, table.rows()[name])

    assert str(error.value) == f"Outside: {name} must be {allowed}"


def test_numbers_of_numpy_are_numbers_and_a_list_is_several():
    plugin = defense(least_cohort=np.int64(2), linear=np.bool_(True), needs_clients=[0, 4])()

    assert declared(plugin, Defenses.least_cohort) == 2
    assert declared(plugin, Defenses.linear)
    assert declared(plugin, Defenses.needs_clients) == [0, 4]


@pytest.mark.parametrize(
    ("line", "came", "right"),
    [
        ("need_root: ClassVar[bool] = True", "need_root", "needs_root"),
        ("needsRoot = True", "needsRoot", "needs_root"),
        ("Linear: ClassVar[bool] = True", "Linear", "linear"),
        (
            "def sensitivty(self, clip_norm, expected_size):\n        return clip_norm",
            "sensitivty",
            "sensitivity",
        ),
        ("@property\n    def least_cohorts(self): ...", "least_cohorts", "least_cohort"),
        ("remember_clients = True", "remember_clients", "remembers_clients"),
    ],
)
def test_a_name_like_a_declarations_is_refused_with_the_right_one(tmp_path, line, came, right):
    with pytest.raises(PluginError) as error:
        built(tmp_path, f"    {line}\n")

    assert f"'{came}' is no declaration; did you mean '{right}'?" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_declared_of_another_type_is_refused_when_it_is_built(tmp_path):
    with pytest.raises(PluginError, match="linear must be True or False, got 'yes'"):
        built(tmp_path, "    linear: ClassVar[str] = 'yes'\n")
    with pytest.raises(PluginError, match="least_cohort must be a whole number, at least 0, got '3'"):
        built(tmp_path, "    @property\n    def least_cohort(self):\n        return '3'\n")


def test_options_private_names_and_names_of_their_own_stay_allowed(tmp_path):
    plugin = built(
        tmp_path, "    need_root: bool = True\n    _lineer = 1\n    def settings(self):\n        return 1\n"
    )

    assert strangers(plugin, DEFENSES.declares, DEFENSES.known(plugin)) == ["settings"]


class Median(Mean):
    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        return Verdict(updates.vectors.median(dim=0).values), state


class MeanAgain(Median):
    linear = True


class Renamed(Mean):
    name = "other"


def test_what_a_class_says_of_a_verb_is_not_inherited_by_one_that_writes_the_verb_anew():
    """As a class, as an object and behind a guard; what speaks of no verb is inherited."""
    for rule in (Median, Median(), guard(Median(), "the rule")):
        assert declared(rule, Defenses.linear) is False
        assert declared(rule, Defenses.individual) is True
        assert declared(rule, Defenses.sensitivity) is None
        assert not declares(rule, Defenses.counts)
    assert declared(MeanAgain(), Defenses.linear) is True
    assert not declares(MeanAgain(), Defenses.counts)
    assert declared(Renamed(), Defenses.linear) is True
    assert declares(Renamed(), Defenses.counts)


def test_every_row_speaks_of_verbs_that_there_are():
    for members in map(family, family_names()):
        table = TABLES.get(members.name, Table)
        for name, row in table.rows().items():
            assert set(row.verbs) <= {*members.verbs, *table.rows()}, name


def test_no_plug_in_of_ours_inherits_what_speaks_of_a_verb_that_it_writes():
    """House style: to vary is to wrap. Else one would be silent where its file seems to speak."""
    for members in map(family, family_names()):
        spoken = [row for row in TABLES.get(members.name, Table).rows().values() if row.verbs]
        for name in members.table:
            kind = members.find(name)
            assert [row.name for row in spoken if hasattr(kind, row.name) != declares(kind, row)] == [], name


def test_no_plug_in_of_ours_has_a_name_like_a_declarations():
    """In no family; that the contract's tests build them all shows the rest."""
    for members in map(family, family_names()):
        assert members.declares is TABLES.get(members.name, Table)
        for name in members.table:
            made = object.__new__(members.find(name))
            beside = strangers(made, members.declares, members.known(made))
            assert [one for one in beside if resembled(one, members.declares)] == [], name


def test_no_declaration_is_read_by_a_string():
    """``getattr`` and ``hasattr`` with a declaration's name stand in ``core/declarations`` alone."""
    names = {name for table in TABLES.values() for name in table.rows()}
    called = re.compile(r"(?:getattr|hasattr|declared)\([^()\n]*(?:\([^()]*\))?[^()\n]*[\"'](\w+)[\"']")
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in ROOT.rglob("*.py")
        if path.relative_to(ROOT).parts[0] not in ("tests", ".venv", ".typing", "build")
        and path.parent.name != "declarations"
        for name in called.findall(path.read_text(encoding="utf-8"))
        if name in names
    }

    assert found == set()


def test_the_page_says_how_the_methods_of_every_family_are_called():
    """Oracle: the families' tables of verbs. Data sets, partitions and models are on pages of their own."""
    sections = {part.split(" ", 1)[0]: part for part in page().split("\n## ")[1:]}
    for name in set(family_names()) - {"datasets", "partitions", "models"}:
        told = [verb for verb in family(name).verbs if f"\n- `{verb}(" in sections[name]]
        assert told == list(family(name).verbs), name
    assert "`step(params, aggregate, state) -> tuple[Tensor, State]`" in sections["server_optimizers"]


def test_the_page_shows_the_tables_as_they_are():
    assert (ROOT / "docs" / "declarations.md").read_text(encoding="utf-8") == page()


def test_every_row_has_a_name_and_a_meaning_in_one_line():
    for table in TABLES.values():
        for name, row in table.rows().items():
            assert row.name == name
            assert row.meaning.endswith(".") or row.meaning.endswith("[E, P]")
            assert "\n" not in row.meaning
