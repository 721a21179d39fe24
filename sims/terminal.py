"""What reaches a terminal: text without letters that steer it, and tables as wide as it, or as they need."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_HIDDEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def readable(text: object) -> str:
    """Return a text as it can be shown; tabs and ends of lines stay.

    Letters that are not seen, steer a terminal, or turn the direction in which text is read become U+FFFD:
    whoever wrote a result folder chose its labels.
    """
    return _HIDDEN.sub("\ufffd", str(text))


def say(text: object = "") -> None:
    """Print a text at once, as it can be shown."""
    print(readable(text), flush=True)


def cell_text(text: object) -> str:
    """Return a text as it stands in a table of Rich's: no markup, nothing that steers the terminal."""
    from rich.markup import escape

    return escape(readable(text))


def wide_console() -> "Console":
    """Return the terminal; for a pipe or a file one on which no line is broken or cut."""
    import os

    from rich.console import Console

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    console = Terminal()
    return console if console.is_terminal or "COLUMNS" in os.environ else Terminal(width=10_000)
