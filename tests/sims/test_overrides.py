"""Changing single values of a scenario."""

import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.overrides import change, parse
from gauntlet.sims.scenario import make_scenario

RAW = {
    "rounds": 3,
    "codec": "identity",
    "defense": {"name": "trimmed_mean", "num_byzantine": 2},
    "attacks": [{"name": "sign_flip", "count": 1}],
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=3", 3),
        ("a=0.5", 0.5),
        ("a=true", True),
        ("a=[1, 2]", [1, 2]),
        ('a={name="x"}', {"name": "x"}),
        ("a=krum", "krum"),
        ('a="3"', "3"),
        ("a=x=y", "x=y"),
    ],
)
def test_a_value_is_toml_or_else_a_string(text, value):
    assert parse(text) == ("a", value)


def test_the_scenario_itself_is_left_as_it_was():
    change(RAW, "defense.num_byzantine", 5)

    assert RAW["defense"]["num_byzantine"] == 2


def test_paths_lead_into_tables_and_lists():
    assert change(RAW, "attacks.0.count", 4)["attacks"] == [{"name": "sign_flip", "count": 4}]
    assert change(RAW, "training.lr", 0.1)["training"] == {"lr": 0.1}
    assert change(RAW, "attacks.0", {"name": "alie", "count": 1})["attacks"][0]["name"] == "alie"


def test_a_shorthand_gets_options():
    assert change(RAW, "codec.clip", 0)["codec"] == {"name": "identity", "clip": 0}


def test_options_alone_are_those_of_the_default_plug_in():
    raw = {"name": "x", "rounds": 1, "num_clients": 2, "data": "digits", "model": "logreg"}
    spec = make_scenario(change(raw, "server_optimizer.lr", 0.5)).run_spec()

    assert (spec.server_optimizer.name, spec.server_optimizer.options) == ("sgd", {"lr": 0.5})
    with pytest.raises(ScenarioError, match=r"'data\.name' is required"):
        make_scenario({**raw, "data": {"root": "."}})


def test_another_plug_in_keeps_the_options_that_it_has_too():
    assert change(RAW, "defense.name", "krum")["defense"] == {"name": "krum", "num_byzantine": 2}
    assert change(RAW, "defense.name", "median")["defense"] == {"name": "median"}
    assert change(RAW, "defense.name", "trimmed_mean")["defense"] == RAW["defense"]


@pytest.mark.parametrize("raw", [{}, {"attacks": []}])
def test_a_number_in_a_list_that_is_empty_or_not_there_is_refused(raw):
    for path in ("attacks.0", "attacks.0.name"):
        with pytest.raises(ScenarioError, match=r"'attacks\.0' is not there; the list is empty"):
            change(raw, path, "x")


@pytest.mark.parametrize(
    ("path", "words"), [("attacks.1.count", "allowed: 0 to 0"), ("rounds.x", "has no parts")]
)
def test_a_path_that_leads_nowhere_is_refused(path, words):
    with pytest.raises(ScenarioError, match=words):
        change(RAW, path, 1)
