"""``gauntlet docs``: where the documentation's pages lie that were installed with the package."""

import re
from pathlib import Path

_HEADING = re.compile(r"^# (.*)$", re.MULTILINE)


def docs() -> None:
    """Say where the documentation lies on this machine: a folder, and in it each page with its title."""
    from ..core.errors import ResultsError
    from .terminal import say

    folder = Path(__file__).parents[1] / "docs"
    pages = sorted(folder.rglob("*.md"))
    if not pages:
        raise ResultsError(f"{folder} holds no pages: the package was installed without them")
    say(folder)
    for page in pages:
        title = _HEADING.search(page.read_text(encoding="utf-8"))
        say(f"{page.relative_to(folder).as_posix():<40}{title[1] if title else ''}")
