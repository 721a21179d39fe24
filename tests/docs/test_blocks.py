"""Every command and code block of the documentation is run by a test, or stands here with the reason why not.

A page that is followed word by word elsewhere is done there. Of the other pages a TOML block is put into a
scenario and prepared, and a short command is run. What test_commands.py looks at holds for every command.
"""

import re
import shlex
import tomllib

import pages
import pytest
from pages import ROOT, commands

from gauntlet.server.simulation import prepare
from gauntlet.sims.names import plugin_names
from gauntlet.sims.places import PLACES
from gauntlet.sims.scenario import make_scenario
from gauntlet.sims.sweep import variants

FOLLOWED = {
    *re.findall(r'follow\("([\w/-]+\.md)"', (ROOT / "tests/sims/test_docs.py").read_text(encoding="utf-8")),
    *(f"tutorials/{page.name}" for page in (ROOT / "docs/tutorials").glob("*.md")),  # test_newcomer.py
    "python.md",  # tests/sims/test_docs.py
}
LONG = "a published experiment of minutes to hours, whose numbers stand beside it; its scenario is checked"
BENCH = "a published measurement of minutes to hours, whose numbers stand beside it"
EXCEPTIONS = {
    ("README.md", "import gauntlet"): "run by the test of the README's Python below",
    ("README.md", "make quickstart"): "installs everything; .ci/run runs the quickstart from the wheel",
    ("README.md", "make test"): "the tests themselves",
    ("README.md", "gauntlet run mnist-fedavg"): "minutes on MNIST; its scenario is checked",
    ("README.md", "gauntlet sweep digits-privacy"): LONG,
    ("README.md", "gauntlet report"): "of the runs before it; tests/sims/report writes such pages",
    ("README.md", "gauntlet matrix quickstart"): "minutes; the newcomer's page runs a smaller one",
    ("docs/compression.md", "gauntlet sweep"): LONG,
    ("docs/compression.md", "gauntlet codecs --distribution results/my-run"): "of a run of the reader's",
    (
        "docs/compression.md",
        "gauntlet codecs",
    ): "minutes; tests/sims/test_codec_table.py prints it for fewer values",
    (
        "docs/flower.md",
        "from gauntlet.server.flower",
    ): "tests/server/flower/test_flower_example.py runs the example",
    (
        "docs/flower.md",
        "export FLWR",
    ): "needs Flower's own runtime; test_flower_example.py runs what it starts",
    ("docs/flower.md", "flwr run"): "needs Flower's own runtime; test_flower_example.py runs what it starts",
    ("docs/flower.md", "gauntlet run quickstart"): "tests/server/flower runs Flower's strategies as defenses",
    (
        "docs/leakage.md",
        "gauntlet attack RESULT",
    ): "of a run of the reader's; tests/sims/test_attack_command.py",
    ("docs/leaderboard.md", "gauntlet matrix"): "seconds; tests/docs/test_leaderboard.py plans every row",
    (
        "docs/leaderboard.md",
        "python benchmarks/leaderboard.py",
    ): "minutes; its parts are tested in tests/docs/test_leaderboard.py",
    ("docs/testing.md", "make"): "the tests themselves",
    **{
        (f"docs/papers/{p.name}", kind): LONG
        for p in (ROOT / "docs/papers").glob("*.md")
        for kind in ("gauntlet",)
    },
    ("docs/leakage.md", "gauntlet"): LONG,
    ("docs/papers/adaptive-clipping.md", "python benchmarks"): BENCH,
    ("docs/leakage.md", "python benchmarks"): BENCH,
    ("docs/robustness-attacks.md", "python benchmarks"): BENCH,
    ("docs/robustness-attacks.md", "gauntlet sweep backdoors.toml"): "twenty runs of another page's scenario",
    ("docs/robustness-attacks.md", "gauntlet matrix"): "twelve of the leaderboard's runs, a minute",
    ("docs/leakage-text.md", "python benchmarks"): BENCH,
    ("docs/adapters.md", "python benchmarks"): BENCH,
    ("docs/papers/mud-hog.md", "python benchmarks"): BENCH,
    ("docs/papers/mobility.md", "python benchmarks"): BENCH,
    ("docs/papers/mobility.md", "i="): "sets a variable of the shell for the lines below",
    ("docs/papers/mobility.md", "g="): "sets a variable of the shell for the lines below",
}
SHORT = ("list", "show", "explain", "doctor", "check-plugin", "data")
"""Commands of a second, which are run here wherever they stand."""
DIGITS = {"rounds": 2, "num_clients": 20, "data": "digits", "model": "logistic_regression"}
UNDER = {  # what a fragment is put into, where digits will not do
    "docs/compression.md": {"model": {"name": "mlp", "hidden": [8]}},
    "docs/papers/fsgld.md": {"defense": {"name": "mean", "weighting": "uniform"}},
    "docs/privacy.md": {
        "privacy": {"name": "gaussian", "clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-3}
    },
}


def excepted(page: str, line: str) -> bool:
    return any(page == where and line.startswith(words) for where, words in EXCEPTIONS)


def blocks() -> list[pages.Block]:
    """Return the blocks of pages that are not followed elsewhere."""
    return [block for block in pages.blocks() if block.page.removeprefix("docs/") not in FOLLOWED]


COMMANDS = [(b.page, line) for b in blocks() if b.kind in ("", "sh") for line in commands(b)]
COMPARED = re.findall(r"`(gauntlet [^`]+)`", (ROOT / "docs/compare.md").read_text(encoding="utf-8"))
GAUNTLET = [line for _, line in COMMANDS if line.startswith("gauntlet ")] + COMPARED
TOML = [b for b in blocks() if b.kind == "toml" and len(b.text) < 3000]
"""But for the one that shows every key, which tests/sims/test_docs.py prepares."""


def test_every_block_is_of_a_kind_that_is_looked_at_here():
    """A page in a new language, or Python that nobody runs, has to be followed or excepted."""
    other = [b for b in blocks() if b.kind not in ("", "sh", "toml")]
    # "text" is what a page shows and nobody here can run: the job of a Slurm cluster
    other = [b for b in other if (b.page, b.kind) != ("docs/how-to/cluster.md", "text")]

    assert [str(b) for b in other if not excepted(b.page, b.text)] == []


def test_the_readmes_python_runs_and_none_stands_outside_of_a_block(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    python = [b.text for b in pages.blocks() if (b.page, b.kind) == ("README.md", "python")]
    space: dict[str, object] = {}
    for block in python:
        exec(compile(block, "README.md", "exec"), space)

    assert len(space["run"].rounds) == 5
    assert re.findall(r"`gauntlet\.\w+\([^`]*`", text) == []


def test_every_command_is_run_or_excepted_with_a_reason():
    def is_short(line):
        return line.startswith("gauntlet ") and line.split()[1] in SHORT

    assert [(p, line) for p, line in COMMANDS if not is_short(line) and not excepted(p, line)] == []


def test_every_exception_is_of_a_block_that_is_there():
    texts = [*COMMANDS, *((b.page, b.text) for b in blocks())]
    idle = [
        key for key in EXCEPTIONS if not any(p == key[0] and line.startswith(key[1]) for p, line in texts)
    ]

    assert [key for key in idle if "papers" not in key[0]] == []
    assert all(len(reason) > 15 for reason in EXCEPTIONS.values())


def test_every_row_of_the_comparison_has_its_command():
    rows = (ROOT / "docs/compare.md").read_text(encoding="utf-8").partition("## Point by point")[2]
    table = [line for line in rows.splitlines() if line.startswith("| ") and not line.startswith("| |")]

    assert len(table) > 15
    assert [row for row in table if not re.search(r"\| `gauntlet [^`]+` \|$", row)] == []


def test_the_comparison_counts_what_is_listed():
    page = (ROOT / "docs/compare.md").read_text(encoding="utf-8")
    counts = {name: len(plugin_names(name)) for name in PLACES}

    assert f"{counts['defenses']} defenses, {counts['pre_aggregations']} pre-aggregations" in page
    assert f"{counts['update_attacks']} on updates, {counts['data_attacks']} on examples" in page
    assert f"{counts['privacy']} mechanisms" in page
    assert f"{counts['codecs']} codecs" in page


@pytest.mark.parametrize("block", TOML, ids=str)
def test_every_toml_block_is_a_part_of_a_scenario_that_can_run(block):
    given = tomllib.loads(block.text)
    base = {"name": "page", **DIGITS, **UNDER.get(block.page, {})}
    inner = {
        k: {**base[k], **v} for k, v in given.items() if isinstance(base.get(k), dict) and "name" not in v
    }
    scenario = make_scenario({**base, **given, **inner})

    prepare(variants(scenario)[0].scenario.run_spec() if scenario.sweep else scenario.run_spec())


@pytest.mark.parametrize(
    "line", sorted({line for line in GAUNTLET if line.split()[1] in ("list", "explain")})
)
def test_short_commands_run(line, gauntlet):
    result = gauntlet(*shlex.split(line, comments=True)[1:])

    assert result.returncode == 0, result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    sorted({line for line in GAUNTLET if line.split()[1] in ("show", "doctor", "data", "check-plugin")}),
)
def test_commands_that_load_data_run(line, gauntlet):
    words = shlex.split(line, comments=True)[1:]
    result = gauntlet(*words)

    if "no folder holds" in result.stderr:
        pytest.skip("its data are not on this machine")
    assert result.returncode == 0, result.stderr
