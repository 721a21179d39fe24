"""The pages that teach: followed word by word, they work."""

import re
import tomllib
from pathlib import Path

import pandas as pd
import pytest

from gauntlet.server.simulation import prepare
from gauntlet.sims.results import load_run
from gauntlet.sims.scenario import Scenario, load_scenario, make_scenario, scenario_names
from gauntlet.sims.sweep import variants

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"as\s+`([\w-]+\.(?:py|toml|csv))`.*?```(?:python|toml|csv)\n(.*?)```", re.DOTALL)
SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def follow(page: str, folder: Path, gauntlet) -> None:
    """Do what a page says: save its files under their names, then run its commands in order."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for name, content in NAMED.findall(text):
        (folder / name).write_text(content)
    commands = [line for block in SHELL.findall(text) for line in block.splitlines()]
    assert commands
    for command in commands:
        words = command.split()
        assert words[0] == "gauntlet"
        result = gauntlet(*words[1:], *(["--pool", "serial"] if words[1] == "run" else []))
        assert result.returncode == 0, (command, result.stdout, result.stderr)


def final(csv: Path) -> pd.Series:
    """The mean accuracy of the last round, by label."""
    data = pd.read_csv(csv)
    return data[data["round"] == data["round"].max()].groupby("label")["accuracy"].mean()


@pytest.mark.slow
def test_the_page_on_attacks_ends_with_an_attack_that_hurts_the_mean_more(tmp_path, gauntlet):
    follow("add-an-attack.md", tmp_path, gauntlet)
    accuracy = final(tmp_path / "pull-back.csv")

    assert (tmp_path / "pull-back.png").stat().st_size > 10_000
    assert accuracy["mean"] < accuracy["trimmed_mean"] - 0.1


@pytest.mark.slow
def test_the_page_on_data_learns_from_a_table_with_and_without_an_epsilon(tmp_path, gauntlet):
    follow("use-your-data.md", tmp_path, gauntlet)
    rounds = {
        n: pd.read_parquet(tmp_path / f"results/{n}/rounds.parquet")
        for n in ("people", "private", "rings", "waves")
    }

    assert rounds["people"].accuracy.iloc[-1] > 0.85
    assert rounds["rings"].accuracy.iloc[-1] > 0.95
    assert rounds["waves"].accuracy.iloc[-1] > 0.95
    assert rounds["people"].epsilon.isna().all()
    assert rounds["private"].epsilon.iloc[-1] > 0


@pytest.mark.slow
def test_the_page_on_models_trains_one_exports_it_and_begins_with_it(tmp_path, gauntlet):
    follow("use-your-model.md", tmp_path, gauntlet)
    first, fine = (
        pd.read_parquet(tmp_path / f"results/{n}/rounds.parquet").accuracy for n in ("pyramid", "fine")
    )

    assert first.iloc[-1] > 0.85
    assert fine.iloc[0] > first.iloc[0] + 0.3
    assert load_run(tmp_path / "results/pyramid").model()[-1].out_features == 10


PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


def cells(page: str) -> list[str]:
    """Return the Python blocks of a page, in order."""
    return PYTHON.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))


def run_cells(blocks: list[str], page: str) -> dict[str, object]:
    """Run blocks in one process, as a notebook's cells; return what they named."""
    space: dict[str, object] = {"__name__": "docs_python"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{page} block {number}", "exec"), space)
    return space


@pytest.mark.slow
def test_every_block_of_the_page_on_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = run_cells(cells("python.md"), "python.md")

    assert len(space["run"].rounds) == 5
    assert [row["round"] for row in space["rows"]] == [0, 1, 2]
    assert space["run"].rounds.equals(space["again"].rounds)
    assert len(space["swept"]) == len(space["same"]) == 6
    assert (tmp_path / "both.png").stat().st_size > 10_000
    assert space["table"]["psnr_best"].notna().all()


def test_the_first_block_of_the_page_on_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = run_cells(cells("python.md")[:2], "python.md")

    assert space["again"].rounds.equals(space["run"].rounds)
    assert space["net"][-1].out_features == 10


@pytest.mark.slow
def test_the_page_on_defenses_ends_with_a_defense_that_finds_every_attacker(tmp_path, gauntlet):
    follow("add-a-defense.md", tmp_path, gauntlet)
    accuracy = final(tmp_path / "norm-gate.csv")
    clients = pd.concat(
        pd.read_parquet(p)
        for p in sorted((tmp_path / "results/norm-gate").glob("run-00[23]/clients.parquet"))
    )

    assert (tmp_path / "norm-gate-detection.png").stat().st_size > 10_000
    assert accuracy["NormGate"] > accuracy["mean"] + 0.2
    assert (clients["flag"].notna() == (clients["truth"] == "sign_flip")).mean() > 0.99


@pytest.mark.slow
def test_the_page_on_codecs_ends_with_a_residual_that_repairs_what_signs_lose(tmp_path, gauntlet):
    follow("add-a-codec.md", tmp_path, gauntlet)
    accuracy = final(tmp_path / "residual-sign.csv")

    assert (tmp_path / "residual-sign.png").stat().st_size > 10_000
    assert accuracy["ResidualSign decay=1.0"] > accuracy["ResidualSign decay=0.0"] + 0.05


@pytest.mark.slow
def test_the_page_on_algorithms_ends_with_a_rule_that_remembers(tmp_path, gauntlet):
    follow("add-an-algorithm.md", tmp_path, gauntlet)
    rounds = pd.read_parquet(tmp_path / "recoil" / "rounds.parquet")

    assert len(rounds) == 4
    assert list((tmp_path / "recoil" / "checkpoints").glob("clients-*.safetensors"))
    two_widths = pd.read_parquet(tmp_path / "two-widths" / "rounds.parquet")
    assert len(two_widths) == 4
    assert two_widths["bytes_up"].nunique() > 1  # a coin says how many are narrow
    accuracy = final(tmp_path / "scaffold-m.csv")
    assert (tmp_path / "scaffold-m.png").stat().st_size > 10_000
    assert min(accuracy["ScaffoldM"], accuracy["scaffold"]) > accuracy["fedavg"] + 0.02


@pytest.mark.slow
def test_the_page_on_leakage_attacks_ends_with_two_rounds_that_rebuild_more_than_one(tmp_path, gauntlet):
    follow("add-a-leakage-attack.md", tmp_path, gauntlet)
    scores = pd.read_csv(tmp_path / "two-rounds.csv").groupby("round")["psnr"].mean()

    assert (tmp_path / "two-rounds.png").stat().st_size > 10_000
    assert scores[5] > scores[0] + 3
    assert len(list((tmp_path / "results/two-rounds/attacked").iterdir())) == 2


@pytest.mark.slow
def test_the_page_on_client_defenses_ends_beside_an_attack_that_knows_of_it(tmp_path, gauntlet):
    follow("add-a-client-defense.md", tmp_path, gauntlet)
    shared, bare = (sorted(pd.read_csv(tmp_path / f"{name}.csv")["psnr"]) for name in ("shared", "bare"))

    assert (tmp_path / "shared.png").stat().st_size > 10_000
    assert shared[0] < bare[0] - 40
    assert shared[1] > 60


@pytest.mark.slow
def test_the_page_on_samplers_ends_with_clients_that_come_by_day_and_night(tmp_path, gauntlet):
    follow("add-a-sampler.md", tmp_path, gauntlet)
    accuracy = final(tmp_path / "semi-cyclic.csv")

    assert (tmp_path / "semi-cyclic.png").stat().st_size > 10_000
    assert accuracy["SemiCyclic"] < accuracy["fixed_size"] - 0.05


@pytest.mark.slow
def test_the_page_on_schedules_ends_with_rounds_that_do_not_wait_for_everybody(tmp_path, gauntlet):
    follow("add-a-schedule.md", tmp_path, gauntlet)
    last = pd.read_csv(tmp_path / "over-selection.csv").groupby("label").tail(1).set_index("label")

    assert (tmp_path / "over-selection.png").stat().st_size > 10_000
    seconds, accuracy = last["virtual_seconds"], last["accuracy"]
    assert seconds["OverSelection"] < 0.5 * seconds["synchronous"]
    assert accuracy["OverSelection"] > accuracy["synchronous"] - 0.05


@pytest.mark.slow
def test_the_page_on_malicious_servers_ends_with_digits_that_come_back(tmp_path, gauntlet):
    follow("add-a-malicious-server.md", tmp_path, gauntlet)
    scores = pd.read_csv(tmp_path / "ladder.csv").groupby("attack")["psnr"].min()
    (ours,) = (psnr for name, psnr in scores.items() if name.endswith("LadderSteps"))

    assert (tmp_path / "ladder.png").stat().st_size > 10_000
    assert ours > 100
    assert len(list((tmp_path / "results/ladder/attacked").iterdir())) == 1


@pytest.mark.slow
def test_the_page_on_tasks_ends_with_classes_in_an_order(tmp_path, gauntlet):
    follow("add-a-task.md", tmp_path, gauntlet)
    accuracy = final(tmp_path / "ordinal.csv")
    off = pd.read_csv(tmp_path / "ranks-off.csv").groupby("label").tail(1).set_index("label")

    assert (tmp_path / "ranks-off.png").stat().st_size > 10_000
    assert 0.4 < accuracy["Ordinal"] < accuracy["classification"] - 0.2
    assert list(off.index) == ["Ordinal"]
    assert 0.5 < off["value"]["Ordinal"] < 1.5


@pytest.mark.parametrize("name", scenario_names())
def test_every_shipped_scenario_is_valid_and_says_what_it_shows(name):
    scenario = load_scenario(name)

    assert scenario.name == name
    assert len(scenario.description) > 40
    scenario.run_spec()


def test_the_scenario_that_shows_every_key_is_valid():
    """On digits and fewer clients, so that it needs no files; every plug-in and option is built."""
    page = (ROOT / "docs" / "run-a-scenario.md").read_text(encoding="utf-8")
    raw = tomllib.loads(re.search(r"```toml\n(.*?)```", page, re.DOTALL).group(1))
    scenario = make_scenario({**raw, "num_clients": 20, "data": {"name": "digits"}, "partition": "iid"})

    assert set(raw) >= set(Scenario.model_fields) - {"description", "max_epsilon"}
    assert "# max_epsilon =" in page  # which this scenario, whose mean weighs clients, could not keep
    first = variants(scenario)[0].scenario
    assert prepare(first.run_spec()).plan.sampling.expected_size == 10


def test_every_file_that_the_pages_link_to_is_there():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    for page in pages:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.slow
def test_the_page_on_pages_ends_with_one_of_two_sweeps(tmp_path, gauntlet):
    follow("report.md", tmp_path, gauntlet)
    page = (tmp_path / "both.html").read_text(encoding="utf-8")

    assert "Comparison of 8 runs" in page
    assert page.count('class="rebuilt"') == 16
    assert (tmp_path / "mine" / "run-000" / "report.html").is_file()
