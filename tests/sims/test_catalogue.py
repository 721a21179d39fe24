"""Listing, showing and checking what there is."""

import pytest
from PIL import Image

from gauntlet.sims.families import checks, families_of, family, family_names


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


def test_listing_names_every_plug_in_and_scenario(gauntlet):
    printed = gauntlet("list").stdout

    for name in ("quickstart", "trimmed_mean", "terngrad", "dlg", "sign_flip", "label_flip", "poisson"):
        assert name in printed


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
