"""The page at the end of a run, a sweep and a matrix, and of several folders side by side."""

import json
import re
import shutil

import pandas as pd
import pytest

from gauntlet.core.errors import ResultsError
from gauntlet.sims.matrix import run_matrix
from gauntlet.sims.report.writing import write_report
from gauntlet.sims.run import simulate
from gauntlet.sims.sweep import sweep

HEADINGS = (
    "Results",
    "How well the model does",
    "What is promised about privacy",
    "Who was found out",
    "What eavesdroppers rebuilt",
    "Bytes and time",
    "What was run",
    "Run it again",
)
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"


def test_a_finished_run_has_a_page_with_all_that_it_found(attacked, seen):
    page = seen(attacked.folder / "report.html")

    for heading in HEADINGS:
        assert heading in page.words
    last = attacked.rounds.iloc[-1]
    assert f"{last['accuracy']:.3f}" in page.words
    assert "No privacy mechanism adds noise." in page.words
    assert "no_mechanism" not in page.words  # one sentence, and no table of runs that promise nothing
    assert "sign_flip (count = 1" in page.words
    best = max(item.psnr.max() for item in attacked.gallery())
    assert f"{best:.1f}" in page.words


def test_the_page_opens_no_address_and_runs_its_own_script_alone(attacked, seen):
    page = seen(attacked.folder / "report.html")
    (policy,) = [m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy"]

    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not page.of("link")
    assert len(page.of("script")) == len(page.of("style")) == 1
    assert all(m["src"].startswith("data:image/png;base64,") for m in page.of("img"))
    assert not [a for _, attributes in page.tags for a in attributes if a.startswith("on") or a == "style"]


def test_every_picture_says_what_it_shows_and_how_good_it_is(attacked, seen):
    words = [m["alt"] for m in seen(attacked.folder / "report.html").of("img")]

    assert words[0] == "True example 1"
    assert re.fullmatch(r"Rebuilt example 1, -?[\d.]+ dB, SSIM -?[\d.]+", words[1])


def test_the_lines_of_a_plot_are_the_run_s_own_numbers(attacked):
    text = (attacked.folder / "report.html").read_text()
    figure = text.split('id="plot-accuracy"')[1].split("</figure>")[0]
    cells = re.findall(r"<td>([^<]*)</td><td>([^<]*)</td>", figure)

    assert [float(x) for x, _ in cells] == attacked.rounds["round"].tolist()
    assert [float(y) for _, y in cells] == pytest.approx(attacked.rounds["accuracy"].tolist(), abs=1e-6)


def test_the_same_run_gives_the_same_page_but_for_its_seconds(small, tmp_path):
    pages = []
    for name in ("a", "b"):
        run = simulate(small(probes=[]), tmp_path / name / "run")
        (run.folder / "timings.parquet").unlink()
        pages.append(write_report([run.folder]).read_text())

    assert pages[0] == pages[1]


def test_a_sweep_s_page_leads_to_those_of_its_runs(small, tmp_path, seen):
    runs = sweep(small(probes=[], sweep={"defense": ["mean", "median"], "seed": [0, 1]}), tmp_path / "swept")
    page = seen(tmp_path / "swept" / "report.html")

    links = [a["href"] for a in page.of("a")]
    assert links == ["#main", *(f"{run.folder.name}/report.html" for run in runs)]
    assert all((tmp_path / "swept" / link).is_file() for link in links[1:])
    assert "Mean over seeds; the band is least to largest." in page.words


def test_a_matrix_s_page_holds_its_fields(small, tmp_path, seen):
    axes = {"attacks": ["ipm"], "defenses": ["mean", "median"], "shares": [0.2]}
    table, folder = run_matrix(small(attacks=[], probes=[], rounds=2, matrix=axes), tmp_path / "m")
    page = seen(folder / "report.html")

    assert "Attacks against defenses" in page.words
    for value in table["best_accuracy"].dropna():
        assert f"{value:.3f}" in page.words


def test_several_folders_stand_side_by_side_under_their_own_names(small, attacked, tmp_path, gauntlet):
    other = simulate(small(defense="median", probes=[]), tmp_path / "other")

    result = gauntlet("report", attacked.folder, other.folder)

    assert (result.returncode, result.stdout) == (0, "report.html\n")
    text = (tmp_path / "report.html").read_text()
    assert "Comparison of 2 runs" in text
    assert "median" in text
    assert 'href="run' not in text


def test_a_run_is_not_compared_with_itself(small, attacked, tmp_path, gauntlet):
    """Named twice, by another path, or once alone and once within its sweep; a copy is another folder."""
    seeds, link, copy = (tmp_path / name for name in ("seeds", "link", "copy"))
    sweep(small(rounds=1, probes=[], sweep={"seed": [0, 1]}), seeds)
    link.symlink_to(attacked.folder)
    shutil.copytree(attacked.folder, copy)
    message = "would be shown twice; name each result folder once"

    assert message in gauntlet("report", attacked.folder, attacked.folder).refusal()
    for pair in ([attacked.folder, link], [seeds, seeds], [seeds, seeds / ".." / "seeds" / "run-001"]):
        with pytest.raises(ResultsError, match=message):
            write_report(pair, tmp_path / "page.html")
    assert not (tmp_path / "report.html").exists()
    assert not (tmp_path / "page.html").exists()
    page = write_report([attacked.folder, copy], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Comparison of 2 runs" in page


def test_a_run_that_goes_on_is_shown_up_to_its_last_round(attacked, tmp_path, seen, small):
    from gauntlet.sims.signals import Stopped

    class Stopping:
        def advance(self, run, round_, *_):
            if round_ == 1:
                raise Stopped

        begin = end = note = close = lambda self, *_: None

    with pytest.raises(Stopped):
        simulate(small(probes=[]), tmp_path / "half", Stopping())
    page = seen(write_report([tmp_path / "half"]))

    assert "The run is not finished" in page.words
    assert "Results" in page.words


def test_a_page_that_cannot_be_written_costs_one_line_and_not_the_run(small, tmp_path, monkeypatch):
    said = []

    class Told:
        begin = advance = end = close = lambda self, *_: None

        def note(self, text):
            said.append(text)

    (tmp_path / "blocked").mkdir()
    monkeypatch.setattr("gauntlet.sims.report.writing.NAME", "no/such/folder/report.html")
    run = simulate(small(probes=[]), tmp_path / "run", Told())

    assert run.manifest["status"] == "complete"
    (line,) = [text for text in said if "report.html" in text]
    assert line.startswith("warning: ")
    assert "was not written" in line


@pytest.fixture
def copy(attacked, tmp_path):
    """A folder that may be damaged; nothing in its manifest vouches for its files."""
    folder = shutil.copytree(attacked.folder, tmp_path / "copy")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest.pop("files")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def hostile_words(value):
    """Return plain values with every word replaced by markup."""
    if isinstance(value, dict):
        return {f"{key}": hostile_words(one) for key, one in value.items()}
    if isinstance(value, list):
        return [hostile_words(one) for one in value]
    return EVIL if isinstance(value, str) else value


def test_no_word_of_a_hostile_folder_becomes_markup(copy, seen):
    """Every word that a manifest, a table and a reconstruction hold is replaced by a tag."""
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text())
    keep = {"status": manifest["status"], "fingerprint": EVIL}
    changed = hostile_words(manifest) | keep
    changed |= {"label": EVIL, "notes": [EVIL], "code": {EVIL: EVIL}, "guarantee": {"warning": EVIL}}
    changed["epsilon"] = {"value": None, "reason": EVIL, "accountant": EVIL}
    changed["versions"] = {EVIL: EVIL}
    path.write_text(json.dumps(changed))
    clients = pd.read_parquet(copy / "clients.parquet")
    clients["flag"], clients["truth"] = EVIL, EVIL
    clients.to_parquet(copy / "clients.parquet")
    (report,) = copy.glob("reconstructions/*/reconstruction.json")
    told = json.loads(report.read_text())
    report.write_text(json.dumps(told | {"attack": EVIL, "sok": EVIL, "oracle": [EVIL]}))

    page = seen(write_report([copy]))

    assert page.words.count("<script>alert(1)</script>") > 8  # as text
    assert len(page.of("script")) == 1
    assert not [m for m in page.of("img") if not m["src"].startswith("data:")]
    assert not [a for _, attributes in page.tags for a in attributes if a.startswith("on")]
    assert "This part cannot be shown" not in page.words


DAMAGE = {
    "a column of words": lambda rounds: rounds.assign(accuracy="<b>"),
    "no rounds column": lambda rounds: rounds.drop(columns="round"),
    "lists in a column": lambda rounds: rounds.assign(loss=[[1.0]] * len(rounds)),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_table_that_no_run_wrote_is_refused_in_one_line(case, copy, gauntlet):
    path = copy / "rounds.parquet"
    DAMAGE[case](pd.read_parquet(path)).to_parquet(path)

    assert "rounds.parquet cannot be read" in gauntlet("report", copy).refusal()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epsilon", {"value": "<b>", "reason": None}),
        ("metrics", "accuracy"),
        ("scenario", {"name": "x", "attacks": 3, "data": [[[]]]}),
        ("guarantee", 3),
        ("notes", {"a": 1}),
        ("versions", ["a"]),
        ("seed", 10**30),
    ],
)
def test_a_manifest_that_no_run_wrote_gives_a_page_or_one_line(key, value, copy, gauntlet):
    path = copy / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))

    result = gauntlet("report", copy)

    assert result.returncode in (0, 2)
    assert result.returncode == 0 or result.refusal()


def test_a_folder_without_results_is_refused(tmp_path, gauntlet):
    (tmp_path / "empty").mkdir()

    assert "holds no run" in gauntlet("report", "empty").refusal()
    with pytest.raises(ResultsError):
        write_report([tmp_path / "empty"])


def test_nothing_is_written_through_a_link(copy, gauntlet, tmp_path):
    (copy / "report.html").unlink()
    (copy / "report.html").symlink_to(tmp_path / "elsewhere")

    assert "is a link" in gauntlet("report", copy).refusal()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.slow
def test_a_page_of_much_stays_below_five_megabytes(copy):
    """Twenty thousand rounds, two thousand clients, and words as long as they may be."""
    rounds = pd.read_parquet(copy / "rounds.parquet")
    many = pd.concat([rounds.iloc[[-1]]] * 20_000).assign(round=range(20_000))
    many.to_parquet(copy / "rounds.parquet")
    clients = pd.read_parquet(copy / "clients.parquet")
    crowd = pd.concat([clients.iloc[[-1]]] * 2_000).assign(client_id=range(2_000), truth="x" * 4_000)
    crowd.to_parquet(copy / "clients.parquet")
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["scenario"]["description"], manifest["label"] = "y" * 400_000, "z" * 2_000
    path.write_text(json.dumps(manifest))

    assert write_report([copy]).stat().st_size < 5_000_000


def test_a_name_that_would_fill_the_memory_is_refused(copy, gauntlet):
    """It stands beside every number of every line."""
    path = copy / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"label": "z" * 40_000}))

    assert "a run's name has 40000 letters; a page takes up to 2000" in gauntlet("report", copy).refusal()


def test_a_page_names_a_plug_in_of_a_file_by_its_class_and_no_folder_of_a_home(small, tmp_path, seen):
    """What is needed to load it again stays in the manifest."""
    home = tmp_path / "somebodys-home"
    home.mkdir()
    (home / "half.py").write_text(
        "from dataclasses import dataclass\nfrom gauntlet.core.contracts import Verdict\n"
        "@dataclass(frozen=True)\nclass Half:\n    def init(self):\n        return None\n"
        "    def aggregate(self, updates, state):\n"
        "        return Verdict(updates.vectors.mean(dim=0) / 2), state\n"
    )
    run = simulate(small(rounds=1, probes=[], defense=f"{home / 'half.py'}:Half"), tmp_path / "run")
    page = (run.folder / "report.html").read_text(encoding="utf-8")

    assert "half.py:Half" in page
    assert "It loads code from outside the package: half.py." in page
    assert str(home) not in page
    assert run.manifest["scenario"]["defense"]["name"] == f"{home / 'half.py'}:Half"
