"""What the documentation's pages hold: blocks, and commands in blocks and within sentences."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_INLINE = re.compile(r"`((?:gauntlet|python benchmarks/\w+\.py)(?: [^`]+)?)`")
_SET = re.compile(r"(\w+)='(.*)'")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text.splitlines()[0][:50]}"


def blocks() -> list[Block]:
    """Return every block that holds something."""
    found = [
        Block(str(page.relative_to(ROOT)), kind, text)
        for page in PAGES
        for kind, text in FENCE.findall(page.read_text(encoding="utf-8"))
    ]
    return [block for block in found if block.text.strip()]


def commands(block: Block) -> list[str]:
    """Return a block's commands: a backslash joins lines, and a break within quotes stays, as in a shell."""
    lines: list[str] = []
    for line in block.text.replace("\\\n", " ").splitlines():
        if lines and lines[-1].count("'") % 2:
            lines[-1] += "\n" + line.strip()
        elif line.strip():
            lines.append(line.strip())
    return lines


def shell_words(block: Block) -> list[list[str]]:
    """Return the words of each command of a block as a shell has them; variables that it sets are put in."""
    known: dict[str, str] = {}
    found = []
    for line in commands(block):
        if meant := _SET.fullmatch(line):
            known[meant[1]] = meant[2]
            continue
        for name, value in known.items():
            line = line.replace(f"${name},", f"{value},".replace('"', '\\"'))
        found.append(shlex.split(line, comments=True))
    return found


def sentences() -> list[tuple[str, list[str]]]:
    """Return (page, words) of every command that stands within a sentence, not within a block."""
    found = []
    for page in PAGES:
        text = FENCE.sub("", page.read_text(encoding="utf-8")).replace("\\|", "|")
        found += [(str(page.relative_to(ROOT)), shlex.split(words)) for words in _INLINE.findall(text)]
    return found
