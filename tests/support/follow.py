"""Follow a page of the documentation word by word, in the working folder, with the ``gauntlet`` of the PATH.

``python follow.py PAGE [--serial]``: save its files under their names as they come, run its commands in their
order, and say how many seconds it took until the first picture was there. With ``--serial`` runs and matrices
take no Ray, which costs less.
"""

import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

STEPS = re.compile(r"as\s+`([\w./-]+\.\w+)`[^`]*?```(\w+)\n(.*?)```|```sh\n(.*?)```", re.DOTALL)


def steps(text: str) -> list[tuple[str, str]]:
    """Return what a page says, in order: (file's name, content), or ("", commands)."""
    return [(name, content) if name else ("", commands) for name, _, content, commands in STEPS.findall(text)]


def follow(page: Path, serial: bool = False) -> float | None:
    """Do what a page says; return the seconds until there was a picture, None where there is none."""
    began, first = time.monotonic(), None
    for name, text in steps(page.read_text(encoding="utf-8")):
        if name:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(text, encoding="utf-8")
            continue
        for command in text.splitlines():
            words = shlex.split(command, comments=True)
            pool = ["--pool", "serial"] if serial and words[1:2] in (["run"], ["matrix"]) else []
            subprocess.run([*words, *pool], check=True)
            if first is None and next(Path().rglob("*.png"), None):
                first = time.monotonic() - began
    return first


if __name__ == "__main__":
    print(f"first picture after {follow(Path(sys.argv[1]).resolve(), '--serial' in sys.argv):.0f} s")
