"""The command on a page runs the very scenario again."""

import shlex
import tomllib

import pytest

from gauntlet.sims.report.toml import brief, command_of, toml_of
from gauntlet.sims.scenario import load_scenario, make_scenario
from gauntlet.sims.shelves import scenario_names
from gauntlet.sims.sweep import variants


def parsed(command):
    """Return what ``gauntlet run`` makes of a command's words."""
    words = shlex.split(command)
    assert words[:2] == ["gauntlet", "run"]
    assert set(words[3::2]) <= {"--set"}
    return load_scenario(words[2], words[4::2])


@pytest.mark.parametrize("name", ["quickstart", "mnist-fedavg", "digits-privacy"])
def test_a_run_of_a_shipped_sweep_is_repeated_by_name(name):
    for variant in variants(load_scenario(name))[:3]:
        command, file = command_of(variant.scenario.values())

        assert not file
        assert parsed(command).fingerprint() == variant.scenario.fingerprint()


@pytest.mark.parametrize("name", sorted(scenario_names()))
def test_every_shipped_scenario_survives_its_own_toml(name):
    scenario = load_scenario(name)

    assert make_scenario(tomllib.loads(toml_of(scenario.values()))) == scenario


def test_words_of_every_kind_survive():
    words = {"a b": 'x"\\\n\t\x01\x7fé€😀', "c": [1, 2.5, True, {"d": "'"}], "none": None, "empty": {}}

    assert tomllib.loads(toml_of(words)) == {"a b": words["a b"], "c": words["c"]}


def test_a_name_from_a_hostile_folder_is_no_shell_code():
    command, file = command_of({"name": "$(touch /tmp/x); rm -rf ~", "rounds": 3})

    assert file
    assert command == "gauntlet run touch-tmp-x-rm--rf.toml"


def test_a_hostile_value_under_a_shipped_name_stays_one_word():
    values = load_scenario("quickstart").values() | {"sweep": {}, "description": "'; touch /tmp/x #"}
    command, _ = command_of(values)

    assert load_scenario("quickstart", shlex.split(command)[4::2]).description == "'; touch /tmp/x #"


@pytest.mark.parametrize("place", ["/home/me/half.py", "C:\\\\me\\\\half.py", "half.py", "~/x/half.py"])
def test_folders_above_a_plug_ins_file_are_left_out(place):
    told = brief(
        {"defense": {"name": f"{place}:Half"}, "attacks": [f"{place}:Half", "ipm"], "data": "/a/b.csv"}
    )

    assert told["defense"]["name"] == "half.py:Half"
    assert told["attacks"] == ["half.py:Half", "ipm"]
    assert told["data"] == "/a/b.csv"  # a scenario without its data would not run


def test_a_plug_in_file_that_a_folder_names_is_not_loaded(tmp_path):
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    command_of(load_scenario("quickstart").values() | {"sweep": {}, "defense": {"name": f"{evil}:Evil"}})

    assert not (tmp_path / "ran").exists()
