"""``gauntlet explain``: every column of the tables and every value of those with few has a meaning."""

import ast
import re
from pathlib import Path

import pyarrow as pa
import pytest

from gauntlet.sims import (
    audits,
    fairness_table,
    frame_table,
    layer_table,
    posterior,
    records,
    robustness,
    work_table,
)
from gauntlet.sims.attack_table import TITLES
from gauntlet.sims.codec_table import drawn, print_codecs
from gauntlet.sims.explain import explain, names
from gauntlet.sims.glossary.columns import TABLES
from gauntlet.sims.glossary.reasons import EPSILON_REASONS, VALUES
from gauntlet.sims.matrix_table import cell_scores, matrix_table, print_matrix
from gauntlet.sims.report import fields, inferred
from gauntlet.sims.run import simulate
from gauntlet.sims.summary import _columns as summary_columns
from gauntlet.sims.summary import summary_rows
from gauntlet.sims.tables import COLUMNS

ROOT = Path(__file__).parents[2]
SCHEMAS = {
    "rounds": records.rounds_schema((), linked=True),
    "clients": records.CLIENTS,
    "scores": records.SCORES,
    "outputs": records.OUTPUTS,
    "personal": records.PERSONAL,
    "fairness": fairness_table.FAIRNESS,
    "certificates": records.CERTIFICATES,
    "timings": records.TIMINGS,
    "classes": robustness.CLASSES,
    "attacks": robustness.ATTACKS,
    "frames": frame_table.FRAMES,
    "layers": layer_table.LAYERS,
    "work": work_table.WORK,
    "audit": audits.AUDIT,
    "posterior": posterior.PARAMETERS,
    "predictive": posterior.BY_SAMPLE,
}
SOURCES = [
    path for folder in ("server", "privacy", "clients", "core") for path in (ROOT / folder).rglob("*.py")
]


@pytest.mark.parametrize("table", SCHEMAS)
def test_every_column_of_every_table_is_explained_and_no_other(table):
    assert sorted(TABLES[table]) == sorted(SCHEMAS[table].names)


def test_every_table_that_the_sources_declare_is_looked_at():
    """A schema that is added has to be explained: they are counted where they are written."""
    written = sum(
        len(re.findall(r"^\w+ = pa\.schema\(", path.read_text(encoding="utf-8"), re.MULTILINE))
        for path in (ROOT / "sims").rglob("*.py")
    )

    assert written == len(SCHEMAS)
    assert set(TABLES) == set(SCHEMAS)
    assert all(isinstance(schema, pa.Schema) for schema in SCHEMAS.values())


PLACES = {"NoGuarantee": 0, "Epsilon": 1}  # of the reason among the arguments


def said_in_source() -> set[str]:
    """Every reason that the sources give: of ``NoGuarantee``, ``Epsilon`` or a ledger, or as returned."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (name := getattr(node.func, "id", "")) in PLACES:
                found |= words(node.args[PLACES[name]])
            if isinstance(node, ast.Dict):
                pairs = zip(node.keys, node.values, strict=True)
                found |= {text for key, one in pairs if words(key) == {"reason"} for text in words(one)}
            if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "unproved":
                found |= words(node.value)
            if isinstance(node, ast.Return) and path.parent.name == "guarantee":
                found |= words(node.value)
            if isinstance(node, ast.Assign) and path.name == "sight.py":
                found |= words(node.value)
    return {text for text in found if re.fullmatch(r"[a-z]+(_[a-z]+)*", text)}


def words(node: ast.AST | None) -> set[str]:
    """The strings that an expression can be, whichever way its conditions go."""
    if isinstance(node, ast.IfExp):
        return words(node.body) | words(node.orelse)
    if isinstance(node, ast.Tuple):
        return {text for one in node.elts for text in words(one)}
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def test_every_reason_for_no_epsilon_is_explained_and_no_other():
    assert said_in_source() == set(EPSILON_REASONS)


def test_a_value_a_column_a_table_and_a_value_alone_are_explained(gauntlet):
    by_value = gauntlet("explain", "epsilon_reason=weights").stdout

    assert by_value.startswith("epsilon_reason = weights: ")
    assert "defense.weighting = 'fixed'" in by_value
    assert gauntlet("explain", "weights").stdout == by_value
    assert gauntlet("explain", "rounds.epsilon_reason=weights").stdout == by_value
    column = gauntlet("explain", "status").stdout
    assert column.startswith("clients.status (clients.parquet): ")
    assert "  status = undecodable: " in column
    assert gauntlet("explain", "frames.nmse").stdout.startswith("frames.nmse (frames.parquet): Squared")
    table = gauntlet("explain", "timings.parquet").stdout.splitlines()
    assert [line.partition(":")[0] for line in table] == list(TABLES["timings"])
    assert len(gauntlet("explain", "round").stdout.splitlines()) == 13  # tables that have it


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("epsilon_reason=wights", "unknown value of epsilon_reason 'wights'; did you mean 'weights'"),
        ("epsilon_raeson", "unknown table, column or value 'epsilon_raeson'; did you mean 'epsilon_reason'"),
        ("acuracy=1", "unknown column of few values 'acuracy'"),
        ("nobody.round", "unknown table, column or value 'nobody.round'"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is_nearest(word, said, gauntlet):
    assert said in gauntlet("explain", word).refusal()


def test_every_column_of_few_values_but_the_runs_own_status_is_a_column():
    assert set(VALUES) - set(names()) == {"run_status", "mark", "sok"}


def headings(printed):
    """The heads of a table of Rich's."""
    (line,) = [line for line in printed.splitlines() if line.startswith("┃")]
    return [head.strip() for head in line.strip("┃").split("┃")]


def page_heads():
    """The heads that the sources of a page's tables name."""
    found = set()
    for path in (ROOT / "sims/report").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            targets = {getattr(t, "id", "") for t in getattr(node, "targets", [])}
            if isinstance(node, ast.Assign) and targets & {"head", "_HEAD"}:
                parts = getattr(node.value, "elts", [])
                found |= {part.value for part in parts if isinstance(part, ast.Constant)}
    assert len(found) > 40
    asked = (inferred._MEMBERS, inferred._LABELS, inferred._PROPERTY)
    return found | {words for _, words in fields._TOLD} | {title for one in asked for title, _ in one}


def test_every_column_that_is_printed_or_written_for_a_paper_is_explained(
    tiny, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "200")  # or a head is broken into lines
    run = simulate(tiny(rounds=1), tmp_path / "run")
    summary = [title for title, _ in summary_columns(summary_rows([run]))]
    row = {"attack": "no attack", "share": 0.2, "defense": "mean", "seed": 0} | cell_scores(run)
    matrix = matrix_table([row, row | {"attack": "a"}])
    print_matrix(matrix)
    shown = headings(capsys.readouterr().out)
    print_codecs(drawn(64, "gauss"), ["sign"])
    shown += headings(capsys.readouterr().out)
    heads = [head for head, _ in COLUMNS.values()]

    for name in (*matrix, *COLUMNS, *heads, *summary, *shown, *TITLES, *page_heads()):
        assert explain(name), name


@pytest.mark.parametrize("letter", "ABCDEFGH")
def test_every_letter_of_what_an_attack_was_told_is_explained(letter):
    (line,) = explain(f"({letter})")

    assert line.startswith(f"sok = {letter}: ")


@pytest.mark.parametrize("mark", ["±", "ε", "δ", "γ", "▲", "★", "-", "–", "n", "exact"])
def test_every_mark_in_pictures_and_tables_is_explained(mark):
    assert f"mark = {mark}: " in " ".join([*explain(mark), *explain(f"mark={mark}")])


def test_a_columns_ends_are_explained_by_the_column():
    assert explain("best_accuracy_std")[0] == "Standard deviation over seeds of:"
    assert explain("PSNR") == explain("pictures.psnr")
