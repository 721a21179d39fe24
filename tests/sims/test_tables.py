"""``gauntlet table``: results as LaTeX, Markdown and CSV; and ``gauntlet plot`` with a paper's options."""

import csv
import json
from io import StringIO

import pandas as pd
import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.run import simulate
from gauntlet.sims.tables import Table, comma_separated, latex, markdown


def test_a_table_is_written_in_three_ways():
    """By hand: booktabs' rules, and every letter that LaTeX takes for its own escaped."""
    table = Table(["Run", "Accuracy (%)"], [["a_b & c", "90.0 ± 0.5"], ["x|y", ""]], "half of the range")

    assert latex(table) == (
        "% half of the range\n"
        "\\begin{tabular}{lr}\n\\toprule\nRun & Accuracy (\\%) \\\\\n\\midrule\n"
        "a\\_b \\& c & 90.0 $\\pm$ 0.5 \\\\\nx|y &  \\\\\n\\bottomrule\n\\end{tabular}\n"
    )
    assert markdown(table).splitlines() == [
        "| Run | Accuracy (%) |",
        "| --- | --- |",
        "| a_b & c | 90.0 ± 0.5 |",
        r"| x\|y |  |",
        "",
        "half of the range",
    ]
    assert comma_separated(table) == "Run,Accuracy (%)\na_b & c,90.0 ± 0.5\nx|y,\n"


@pytest.mark.parametrize("cell", ["=1+1", "+1+1", "-1+1|A1", "@SUM(A1)", "\t=1", "＝1", "-a", "-1.5 ± =1"])
def test_no_spreadsheet_computes_a_cell(cell):
    """OWASP, CSV Injection: the letters that begin a formula, also the full-width ones of East Asia."""
    written = comma_separated(Table([cell], [["a", cell]]))

    assert list(csv.reader(StringIO(written))) == [[f"'{cell}"], ["a", f"'{cell}"]]


@pytest.mark.parametrize(
    "cell", ["-1", "-12.3", "+4", "-1.2e-05", "-.5", "-0.3 ± 0.1", "-inf", "-", "", "a=1", "1-2"]
)
def test_numbers_and_other_words_are_written_as_they_are(cell):
    """A negative number stays one that pandas reads."""
    assert list(csv.reader(StringIO(comma_separated(Table(["n"], [[cell, "b"]]))))) == [["n"], [cell, "b"]]


def test_a_label_of_others_is_no_formula_in_a_spreadsheet(gauntlet, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/matrix.json").write_text("{}")
    (tmp_path / "m/matrix.csv").write_text('defense,share,attack,drop\n"=HYPERLINK(""x"")",0.2,@ipm,-0.015\n')

    told = gauntlet("table", "m", "--value", "drop", "--format", "csv").stdout
    assert told == 'Malicious (%),Defense,\'@ipm\n20,"\'=HYPERLINK(""x"")",-1.5\n'


def test_a_name_that_no_cell_has_is_refused():
    with pytest.raises(ScenarioError, match="no cell of this table has 'kurm'; it has: Run; krum"):
        Table(["Run"], [["krum"]]).renamed({"kurm": "Krum"})
    assert Table(["Run"], [["krum"]]).renamed({"krum": "Krum", "Run": "R"}).rows == [["Krum"]]


def test_results_become_a_table_with_the_columns_that_are_asked_for(gauntlet, tiny, tmp_path):
    run = simulate(tiny(rounds=2), tmp_path / "r1")
    accuracy = f"{100 * run.rounds['accuracy'].iloc[-1]:.1f}"

    told = gauntlet("table", "r1", "--columns", "run, accuracy", "--format", "csv", "--label", "tiny=Ours")
    assert told.stdout == f"Run,Accuracy (%)\nOurs,{accuracy}\n"
    whole = gauntlet("table", "r1", "--out", "t.tex")
    assert whole.stdout == "t.tex\n"
    text = (tmp_path / "t.tex").read_text()
    assert f"tiny & 1 & {accuracy} & " in text
    assert "RMSE" not in text  # a column in which nothing stands
    assert "unknown column 'acuracy'" in gauntlet("table", "r1", "--columns", "acuracy").refusal()


MATRIX = "defense,share,attack,best_accuracy,drop\nmean,0.2,no attack,0.9,0\nmean,0.2,ipm,0.25,0.65\n"
"""Of which the map of the drop has no column without an attack."""


def test_a_matrix_is_a_row_a_defense_and_a_column_an_attack(gauntlet, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/matrix.json").write_text("{}")
    (tmp_path / "m/matrix.csv").write_text(MATRIX)

    told = gauntlet("table", "m", "--format", "markdown").stdout.splitlines()
    assert told[0] == "| Malicious (%) | Defense | no attack | ipm |"
    assert told[2] == "| 20 | mean | 90.0 | 25.0 |"
    assert (
        "| 20 | mean | 0.0 | 65.0 |"
        in gauntlet("table", "m", "--value", "drop", "--format", "markdown").stdout
    )
    assert "unknown column 'recal'" in gauntlet("table", "m", "--value", "recal").refusal()
    assert "without --columns" in gauntlet("table", "m", "--columns", "run").refusal()


def test_what_is_no_share_is_not_in_percent(gauntlet, tmp_path):
    """By hand: caught after 1.5 rounds, at a distance of 0.038, and of the attackers 75 %."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m/matrix.json").write_text("{}")
    (tmp_path / "m/matrix.csv").write_text(
        "defense,share,attack,delay,aggregate_distance,caught\nkrum,0.2,ipm,1.5,0.038,0.75\n"
    )

    def told(value):
        return gauntlet("table", "m", "--value", value, "--format", "markdown").stdout.splitlines()[2:]

    assert told("delay") == ["| 20 | krum | 1.5 |", "", "delay (rounds)"]
    assert told("aggregate_distance") == ["| 20 | krum | 0.038 |", "", "aggregate distance"]
    assert told("caught") == ["| 20 | krum | 75.0 |", "", "caught (%)"]


@pytest.mark.parametrize(
    "damaged",
    [
        MATRIX.replace("share", "part"),
        MATRIX + "mean,0.2,ipm,0.25,0.65\n",
        MATRIX.replace("0.2,", "a,"),
        MATRIX.replace("mean", r"$\foo$"),
    ],
)
def test_a_matrix_that_is_none_is_refused_in_one_line(gauntlet, tmp_path, damaged):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/matrix.json").write_text("{}")
    (tmp_path / "m/matrix.csv").write_text(damaged)

    assert "cannot be" in gauntlet("plot", "matrix", "m").refusal()
    if "foo" not in damaged:  # only a picture reads mathematics in a name
        assert "cannot be" in gauntlet("table", "m").refusal()


@pytest.mark.parametrize("change", [{"loss": None}, {"rejected": "x"}, {"total_bytes_up": "x"}])
def test_a_table_of_others_that_is_none_is_refused_in_one_line(gauntlet, tiny, tmp_path, change):
    simulate(tiny(rounds=2), tmp_path / "r1")
    manifest = json.loads((tmp_path / "r1/manifest.json").read_text())
    del manifest["files"]
    (tmp_path / "r1/manifest.json").write_text(json.dumps(manifest))
    rounds = pd.read_parquet(tmp_path / "r1/rounds.parquet")
    for name, value in change.items():
        rounds = rounds.drop(columns=name) if value is None else rounds.assign(**{name: value})
    rounds.to_parquet(tmp_path / "r1/rounds.parquet")

    assert "r1 cannot be written as a table" in gauntlet("table", "r1").refusal()


def test_names_and_styles_that_cannot_be_drawn_are_refused_in_one_line(gauntlet, tiny, tmp_path):
    simulate(tiny(rounds=2), tmp_path / "r1")
    (tmp_path / "bytes.mplstyle").write_bytes(b"figure.figsize: \xff\xfe\n")

    call = ["plot", "accuracy", "r1", "--label"]
    assert r"\foo" in gauntlet(*call, r"Test accuracy=$\foo$").refusal()
    assert (
        "style bytes.mplstyle cannot be read"
        in gauntlet("plot", "loss", "r1", "--style", "bytes.mplstyle").refusal()
    )
    assert "unknown style 'nosuch'" in gauntlet("plot", "all", "r1", "--style", "nosuch").refusal()


def test_a_matrix_is_drawn_again_with_its_numbers_beside(gauntlet, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/matrix.csv").write_text(MATRIX)

    call = ["plot", "matrix", "m", "--format", "pdf", "--size", "column", "--label", "ipm=Inner product"]
    told = gauntlet(*call)
    assert told.returncode == 0, told.stderr
    assert told.stdout.split() == ["m/plots/matrix-accuracy.pdf", "m/plots/matrix-drop.pdf"]
    assert list(pd.read_csv(tmp_path / "m/plots/matrix-drop.csv")["attack"]) == ["no attack", "Inner product"]
    lacking = gauntlet("plot", "matrix", "m", "--label", "no attack=Clean")  # one of the two maps has it
    assert (lacking.returncode, len(lacking.stdout.split())) == (0, 2)
    assert "'matrix' draws several plots" in gauntlet("plot", "matrix", "m", "--band", "ci").refusal()
    assert "matrix.csv cannot be read" in gauntlet("plot", "matrix", "nowhere").refusal()


def test_options_of_a_picture_reach_it_and_others_are_refused(gauntlet, tiny, tmp_path):
    simulate(tiny(rounds=2), tmp_path / "r1")

    call = ["--size", "column", "--label", "Test accuracy=Accuracy", "--style", "grayscale", "--band", "std"]
    assert gauntlet("plot", "accuracy", "r1", *call, "--out", "a.svg").returncode == 0
    assert ">Accuracy</text>" in (tmp_path / "a.svg").read_text()
    assert "takes no 'band'" in gauntlet("plot", "summary", "r1", "--band", "std").refusal()
    assert "a size is column" in gauntlet("plot", "accuracy", "r1", "--size", "tiny").refusal()
    assert (
        "'sdt' is not one of 'range', 'std', 'ci'"
        in gauntlet("plot", "loss", "r1", "--band", "sdt").refusal()
    )


def test_a_label_that_no_picture_of_several_has_is_refused(gauntlet, tiny, tmp_path):
    """One that some of them have is no error; the pictures are drawn all the same."""
    folder = simulate(tiny(rounds=2), tmp_path / "r").folder

    line = gauntlet("plot", "all", folder, "--label", "Round=T", "--label", "acuracy=A").refusal()
    assert "no text of these pictures, which are drawn, has 'acuracy'" in line
    assert gauntlet("plot", "all", folder, "--label", "Round=T").returncode == 0
    assert (folder / "plots" / "accuracy.png").is_file()
