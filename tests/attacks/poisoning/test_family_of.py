"""A scenario says only an attack's name; the family follows from it."""

import textwrap

import pytest

from gauntlet.attacks.poisoning import DATA_ATTACKS, UPDATE_ATTACKS, family_of
from gauntlet.core.errors import PluginError


def test_built_in_names_are_found_in_their_table():
    assert all(family_of(name) is DATA_ATTACKS for name in DATA_ATTACKS.table)
    assert all(family_of(name) is UPDATE_ATTACKS for name in UPDATE_ATTACKS.table)
    assert not set(DATA_ATTACKS.table) & set(UPDATE_ATTACKS.table)


def test_a_misspelt_name_gets_the_nearest_of_both_families():
    with pytest.raises(
        PluginError, match=r"unknown attack 'sign_flp'; did you mean 'sign_flip'\? Known: a3fl, additive"
    ):
        family_of("sign_flp")
    with pytest.raises(PluginError, match="did you mean 'label_flip'"):
        family_of("label_flop")


def plugin_file(tmp_path, body):
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(body))
    return path


def test_an_attack_in_a_file_is_told_by_its_verb(tmp_path):
    path = plugin_file(
        tmp_path,
        """
        class Data:
            def poison(self, x, y, generator): return x, y
        class Update:
            def init(self): return None
            def corrupt(self, own, view, state): return own, state
        class Both(Data, Update): pass
        class Neither: pass
        """,
    )
    assert family_of(f"{path}:Data") is DATA_ATTACKS
    assert family_of(f"{path}:Update") is UPDATE_ATTACKS
    with pytest.raises(PluginError, match="has both poison and corrupt"):
        family_of(f"{path}:Both")
    with pytest.raises(PluginError, match=r"has neither method poison \(data\) nor corrupt \(update\)"):
        family_of(f"{path}:Neither")
    with pytest.raises(PluginError, match="unknown name 'Dta'; did you mean 'Data'"):
        family_of(f"{path}:Dta")


def test_an_attack_that_cannot_be_loaded_is_one_line(tmp_path):
    with pytest.raises(PluginError, match="no such plug-in file"):
        family_of(f"{tmp_path}/absent.py:Data")
    with pytest.raises(PluginError, match="cannot be loaded: ModuleNotFoundError"):
        family_of("no_such_package_at_all:Data")
