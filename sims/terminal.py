"""Where tables are printed: as wide as the terminal, and as wide as they need where there is none."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def wide_console() -> "Console":
    """Return the terminal; for a pipe or a file one on which no line is broken or cut."""
    import os

    from rich.console import Console

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    console = Terminal()
    return console if console.is_terminal or "COLUMNS" in os.environ else Terminal(width=10_000)
