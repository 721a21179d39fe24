"""The command ``gauntlet matrix`` from its axes to its files."""

import shutil

import pandas as pd
import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.server.assembly.ingredients import make_roles
from gauntlet.sims.matrix import plan_matrix, resume_matrix
from gauntlet.sims.overrides import parse_list

AXES = {"attacks": ["sign_flip", "label_flip"], "defenses": ["mean", "median"], "shares": [0.2, 0.4]}


def test_every_cell_has_a_run_and_defenses_that_are_told_nothing_share_the_one_without_an_attack(tiny):
    """By hand: 2 defenses x 2 shares x (2 attacks + none) = 12 cells; the none of both shares is one run."""
    cells, runs = plan_matrix(tiny(matrix=AXES))

    assert len(cells) == 12
    assert len(runs) == 2 * (2 * 2 + 1)
    assert len({run.label for run in runs}) == len(runs)
    quiet = {(c.defense, c.folder) for c in cells if c.attack == "no attack"}
    assert len(quiet) == 2


def test_a_defense_that_wants_to_know_is_told_how_many_attack(tiny):
    """By hand: 0.2 of 6 clients is 1, 0.4 is 2; half of the clients a round: 1 (0.5 rounded up) and 1."""
    axes = {**AXES, "defenses": ["trimmed_mean", {"name": "trimmed_mean", "num_byzantine": 0}]}
    told = {
        (c.defense, c.share): dict(run.scenario.defense.model_extra)["num_byzantine"]
        for c, run in _runs(*plan_matrix(tiny(matrix=axes)))
    }
    assert told == {
        ("trimmed_mean", 0.2): 1,
        ("trimmed_mean", 0.4): 2,
        ("trimmed_mean num_byzantine=0", 0.2): 0,
        ("trimmed_mean num_byzantine=0", 0.4): 0,
    }
    half = tiny(matrix={**AXES, "defenses": ["krum"]}, sampler={"name": "fixed_size", "cohort_size": 3})
    assert {r.scenario.defense.model_extra["num_byzantine"] for _, r in _runs(*plan_matrix(half))} == {1}


def test_only_takes_a_part_whose_labels_and_runs_are_those_of_the_whole(tiny):
    whole = _runs(*plan_matrix(tiny(matrix=AXES)))
    part = _runs(*plan_matrix(tiny(matrix=AXES), ["attack=label_flip", "defense=median", "share=0.4"]))
    wanted = {
        (c.attack, c.share, c.defense): run.scenario.fingerprint()
        for c, run in whole
        if c.attack != "sign_flip" and c.defense == "median" and c.share == 0.4
    }
    assert {(c.attack, c.share, c.defense): r.scenario.fingerprint() for c, r in part} == wanted
    assert {c.attack for c, _ in part} == {"no attack", "label_flip"}
    assert [run.folder for _, run in part] == ["run-000", "run-001"]
    with pytest.raises(ScenarioError, match="--only attack=ipm leaves no field: it is sign_flip, label_flip"):
        plan_matrix(tiny(matrix=AXES), ["attack=ipm"])
    with pytest.raises(ScenarioError, match="unknown axis of a matrix 'seed'"):
        plan_matrix(tiny(matrix=AXES), ["seed=0"])


def _runs(cells, runs):
    by_folder = {run.folder: run for run in runs}
    return [(cell, by_folder[cell.folder]) for cell in cells]


def test_lists_put_attacks_on_the_same_clients_and_pre_aggregations_before_the_defense(tiny):
    axes = {
        "attacks": [["pixel_backdoor", {"name": "sign_flip", "scale": 2.0}]],
        "defenses": [["nnm", "trimmed_mean"]],
        "shares": [0.2],
    }
    base = tiny(matrix=axes, attacks=[{"name": "unreliable", "count": 1, "kernel_size": 3}])
    cells, runs = plan_matrix(base)
    loud = runs[1].scenario

    assert (cells[1].attack, cells[1].defense) == ("pixel_backdoor + sign_flip", "nnm + trimmed_mean")
    assert [a.name for a in loud.attacks] == ["unreliable", "pixel_backdoor"]
    assert (loud.attacks[1].share, loud.attacks[1].update.name) == (0.2, "sign_flip")
    assert loud.pre_aggregations[0].model_extra == {"num_byzantine": 1}
    assert [a.name for a in runs[0].scenario.attacks] == ["unreliable"]


def attackers(scenario):
    """Every client that is ever malicious, as the run hands out its roles."""
    poisons, attacks = make_roles(scenario.run_spec())
    return {client for role in (*poisons, *attacks) if not role.honest for client in role.clients}


def test_the_matrix_replaces_the_attackers_of_the_scenario_and_leaves_the_unreliable(tiny):
    """By hand: 0.4 of 6 clients is 2; without an attack nobody, though the scenario has three of its own."""
    own = [
        {"name": "sign_flip", "count": 1},
        {"name": "unreliable", "clients": [3], "kernel_size": 3},
        {"name": "label_flip", "count": 1, "update": {"name": "sign_flip"}},
        {"name": "unreliable", "count": 1, "update": {"name": "zero"}},
    ]
    axes = {**AXES, "defenses": ["trimmed_mean"], "shares": [0.4]}
    found = _runs(*plan_matrix(tiny(matrix=axes, attacks=own)))

    assert [(c.attack, len(attackers(run.scenario))) for c, run in found] == [
        ("no attack", 0),
        ("sign_flip", 2),
        ("label_flip", 2),
    ]
    assert {run.scenario.attacks[0].name for _, run in found} == {"unreliable"}
    assert {run.scenario.defense.model_extra["num_byzantine"] for _, run in found} == {2}


CHOOSY = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Choosy:
    num_byzantine: int = 1
    def __post_init__(self):
        if self.num_byzantine < 1: raise ValueError("num_byzantine must be at least 1")
    def init(self): return None
    def aggregate(self, updates, state): ...
"""


def test_a_defense_is_told_of_nobody_where_the_attack_is_honest_clients_with_poor_data(tiny, tmp_path):
    """By hand: 0.4 of 6 is 2. A defense that refuses 0 is told 2, as it is without an attack."""
    (tmp_path / "choosy.py").write_text(CHOOSY)
    poor = {"name": "unreliable", "kernel_size": 3}
    axes = {
        "attacks": [poor, [poor, "sign_flip"]],
        "defenses": ["krum", f"{tmp_path}/choosy.py:Choosy"],
        "shares": [0.4],
    }
    told = [run.scenario.defense.model_extra for _, run in _runs(*plan_matrix(tiny(matrix=axes)))]

    assert [options["num_byzantine"] for options in told] == [2, 0, 2, 2, 2, 2]


def test_a_defense_that_is_given_another_way_is_told_nothing(tiny):
    """trimmed_mean takes either num_byzantine or beta, and refuses both."""
    axes = {**AXES, "defenses": [{"name": "trimmed_mean", "beta": 0.2}]}
    _, runs = plan_matrix(tiny(matrix=axes))

    assert [run.scenario.defense.model_extra for run in runs] == [{"beta": 0.2}] * 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"attacks": [["pixel_backdoor", "sign_flip", "zero"]]},
            "'pixel_backdoor .* zero' is 3 attacks on the same clients; allowed: one attack, or a list",
        ),
        ({"attacks": [[{"name": "dba", "update": "zero"}, "sign_flip"]]}, "is 3 attacks on the same"),
        ({"attacks": []}, "has no attacks to cross"),
        ({"shares": []}, "has no shares to cross"),
        ({"attacks": ["sign_flip", "sign_flip"]}, "'sign_flip' stands twice"),
        ({"shares": [0.2, 0.2]}, "a value stands twice"),
        ({"shares": [0.1]}, "a share of 0.1 of 6 clients is nobody"),
    ],
)
def test_axes_that_make_no_matrix_are_refused(tiny, changes, words):
    with pytest.raises(ScenarioError, match=words):
        plan_matrix(tiny(matrix={**AXES, **changes}))


def test_lists_can_be_typed_with_commas_or_as_toml():
    assert parse_list("0.1, 0.2") == [0.1, 0.2]
    assert parse_list("sign_flip,alie") == ["sign_flip", "alie"]
    assert parse_list('["ipm", {name="alie", z=1.5}]') == ["ipm", {"name": "alie", "z": 1.5}]


FIELDS = ["--attacks", "label_flip", "--defenses", "mean,median", "--shares", "0.4", "-q"]


@pytest.mark.slow
def test_the_command_writes_a_table_and_maps_and_goes_on_where_it_stopped(gauntlet, tiny_file, tmp_path):
    result = gauntlet("matrix", tiny_file, *FIELDS, "--out", "m")
    assert result.returncode == 0, result.stderr
    assert "worst case" in result.stdout
    table = pd.read_csv(tmp_path / "m" / "matrix.csv")
    before = (tmp_path / "m" / "matrix.csv").read_bytes()

    assert table["attack"].tolist() == ["no attack", "label_flip", "worst case"] * 2
    clean = pd.read_parquet(tmp_path / "m" / "run-000" / "rounds.parquet")["accuracy"]
    assert table["best_accuracy"].iloc[0] == clean.max()
    assert sorted(p.name for p in (tmp_path / "m" / "plots").glob("*.png")) == [
        "matrix-accuracy.png",
        "matrix-drop.png",
        "matrix-final.png",
        "matrix-success.png",
    ]
    shutil.rmtree(tmp_path / "m" / "run-001")
    (tmp_path / "m" / "matrix.csv").unlink()
    assert gauntlet("resume", "m", "-q").returncode == 0
    assert (tmp_path / "m" / "matrix.csv").read_bytes() == before

    assert gauntlet("matrix", tiny_file, *FIELDS, "--only", "defense=median", "--out", "p").returncode == 0
    part, median = pd.read_csv(tmp_path / "p" / "matrix.csv"), table[table["defense"] == "median"]
    pd.testing.assert_frame_equal(
        part.drop(columns="rank"), median.reset_index(drop=True).drop(columns="rank")
    )


FAILS = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Fails:
    def init(self): return None
    def aggregate(self, updates, state): raise RuntimeError("no idea")
"""


def test_a_field_that_fails_is_blank_and_the_others_are_there(gauntlet, tiny_file, tmp_path):
    (tmp_path / "fails.py").write_text(FAILS)
    fields = ["--attacks", "label_flip", "--defenses", "mean,fails.py:Fails", "--shares", "0.4", "-q"]
    result = gauntlet("matrix", tiny_file, *fields, "--out", "m")

    assert result.returncode == 2
    assert "2 fields of the matrix failed" in result.stderr
    assert "RuntimeError: no idea" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    table = pd.read_csv(tmp_path / "m" / "matrix.csv")
    assert table.loc[table["defense"] == "mean", "best_accuracy"].notna().all()
    assert table.loc[table["defense"] == "Fails", "best_accuracy"].isna().all()


def test_a_field_with_too_few_clients_for_its_rule_is_blank_unless_all_are(gauntlet, tiny_file, tmp_path):
    """Of 6 clients 2 are malicious: Krum wants 2 * 2 + 3 = 7, the median any number."""
    fields = ["--attacks", "sign_flip", "--shares", "0.4", "-q"]
    result = gauntlet("matrix", tiny_file, *fields, "--defenses", "median,krum", "--out", "m")

    assert result.returncode == 2
    assert "'krum num_byzantine=2' needs 7 rows or more, got a cohort of 6" in result.stderr
    table = pd.read_csv(tmp_path / "m" / "matrix.csv").set_index("defense")
    assert table.loc["median", "best_accuracy"].notna().all()
    assert table.loc["krum", "best_accuracy"].isna().all()

    result = gauntlet("matrix", tiny_file, *fields, "--defenses", "krum", "--out", "none")
    assert result.returncode == 2
    assert "needs 7 rows or more" in result.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (["--attacks", "sign_flop"], "did you mean 'sign_flip'"),
        (["--defenses", "krumm"], "did you mean 'krum'"),
        (["--shares", "1.5"], "'matrix.shares.0' is 1.5: input should be less than 1"),
        (["--shares", "many"], "'matrix.shares.0' is 'many': input should be a valid number"),
        (["--seeds", "-1"], "'matrix.seeds.0' is -1"),
        (["--attacks", '[{name="zero", share=0.5}]'], "'zero' says who attacks (share); a matrix takes that"),
        (["-s", "matrix.atacks=[]"], "unknown key 'matrix.atacks'; did you mean 'matrix.attacks'"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(gauntlet, tiny_file, tmp_path, fields, words):
    result = gauntlet("matrix", tiny_file, *FIELDS, *fields, "--out", "m")

    assert result.returncode == 2
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "m").exists()


def test_a_folder_without_a_matrix_is_refused(tmp_path):
    from gauntlet.core.errors import ResultsError

    with pytest.raises(ResultsError, match="cannot be read"):
        resume_matrix(tmp_path)
