"""What reaches a terminal, or a table, holds no letter that steers it or turns the direction of reading."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from gauntlet.sims.progress import Bars
from gauntlet.sims.run import simulate
from gauntlet.sims.terminal import cell_text, readable

TITLE = "\x1b]0;mine\x07"  # xterm's control sequences: the window's title
EVIL = f"a{TITLE}b\u202egpj.exe\x1b[2J\r[/red]\n| c & d"
"""U+202E turns what follows; ESC [2J clears the screen; a return writes over the line."""
BAD = ("\x1b", "\u202e", "\x07", "\r")


@given(st.text())
def test_letters_that_can_be_seen_stay(text):
    shown = readable(text)

    assert len(shown) == len(text)
    assert all(a == b or b == "\ufffd" for a, b in zip(text, shown, strict=True))
    assert readable("tab\tand\nline, ä, 漢, 😀, \u200d") == "tab\tand\nline, ä, 漢, 😀, \u200d"


@pytest.mark.parametrize("letter", ["\0", "\x1b", "\x9b", "\u061c", "\u202e", "\u2066", "\ud800", "\ufeff"])
def test_letters_that_steer_or_turn_are_replaced(letter):
    """C0 and C1 controls, Unicode's Bidi_Control (UAX #9), half a surrogate pair, a byte order mark."""
    assert readable(f"a{letter}b") == "a\ufffdb"


def test_a_cell_is_no_markup_and_steers_nothing(capsys):
    table = Table()
    table.add_row(cell_text("[bold]x[/red]\x1b[2J"))
    Console(width=80).print(table)

    assert "[bold]x[/red]\ufffd[2J" in capsys.readouterr().out


def test_a_bar_s_label_and_a_note_are_no_markup(capsys):
    """A label with a closing tag ended the run; one with an opening tag lost it."""
    bars = Bars()
    bars.begin(0, "attacks=[/ipm]", 2, 0)
    bars.advance(0, 1, None, 3, 1.0)
    bars.note("defense=[red] \x1b[2J")
    bars.close()

    printed = capsys.readouterr().out
    assert "attacks=[/ipm]" in printed
    assert "defense=[red] \ufffd[2J" in printed


@pytest.fixture(scope="module")
def hostile(tiny, tmp_path_factory):
    """Two runs of seeds whose label and notes others have written."""
    folders = [tmp_path_factory.mktemp("hostile") / f"r{seed}" for seed in (0, 1)]
    for seed, folder in enumerate(folders):
        simulate(tiny(rounds=2, seed=seed), folder)
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest.pop("files")
        told = {"label": EVIL, "notes": [EVIL], "guarantee": {"warning": EVIL}}
        path.write_text(json.dumps(manifest | told))
    return folders


@pytest.mark.parametrize("form", ["latex", "markdown", "csv"])
def test_a_table_of_a_hostile_folder_is_readable_printed_and_written(form, hostile, gauntlet, tmp_path):
    result = gauntlet("table", *hostile, "--format", form)
    written = gauntlet("table", *hostile, "--format", form, "--out", "it")

    assert (result.returncode, written.returncode) == (0, 0), result.stderr
    text = (tmp_path / "it").read_text(encoding="utf-8")
    assert result.stdout == text
    assert not [letter for letter in BAD if letter in text]
    assert "gpj.exe" in text
    rows = {"latex": r"\\", "markdown": "|", "csv": ","}
    assert len([line for line in text.splitlines() if line.endswith(rows[form]) or form == "csv"]) <= 3


@pytest.mark.parametrize("call", [("plot", "accuracy"), ("verify",), ("resume",), ("report",)])
def test_no_command_prints_a_hostile_folder_s_letters(call, hostile, gauntlet):
    result = gauntlet(*call, hostile[0])

    assert not [letter for letter in BAD if letter in result.stdout + result.stderr]


def test_a_refusal_is_readable(gauntlet):
    for words in (("show", EVIL), ("explain", EVIL), ("list", EVIL), ("run", EVIL), ("report", EVIL)):
        line = gauntlet(*words).refusal()
        assert not [letter for letter in BAD if letter in line]
