"""A hook of MkDocs: the numbers of the leaderboard, and the script that sorts them, written into its page."""

import csv
import json
from pathlib import Path

HERE = Path(__file__).parent
TABLES = HERE.parent / "leaderboard"
MARK = '<div id="leaderboard-home"></div>'
WORDS = ("defense", "attack", "reason")


def on_page_markdown(markdown, **_):
    return with_numbers(markdown) if MARK in markdown else markdown


def with_numbers(markdown: str, tables: Path = TABLES) -> str:
    """Return the page with every table of a folder in it: nothing is fetched, even opened as a file."""
    settings = json.loads((tables / "settings.json").read_text(encoding="utf-8"))
    found = {name: rows_of(path) for name in settings if (path := tables / f"{name}.csv").is_file()}
    told = {"settings": settings, "tables": found}
    numbers = json.dumps(told, separators=(",", ":")).replace("<", "\\u003c")
    script = (HERE / "leaderboard.js").read_text(encoding="utf-8")
    inside = f'<script type="application/json" id="leaderboard-numbers">{numbers}</script>'
    return markdown.replace(MARK, f"{MARK}\n\n{inside}\n\n<script>\n{_without_blank_lines(script)}</script>")


def rows_of(path: Path) -> dict[str, list]:
    """Return a table as columns: words, and numbers or null."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        name: [row[name] if name in WORDS else float(row[name]) if row[name] else None for row in rows]
        for name in rows[0]
    }


def _without_blank_lines(text: str) -> str:
    """Return a script without lines at which Markdown would end a block of HTML."""
    return "".join(f"{line}\n" for line in text.splitlines() if line.strip())
