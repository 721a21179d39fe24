"""Take the pictures of docs/report.md of a run that goes on: ``gauntlet ui`` at three widths, in a browser.

Usage: ui_pictures.py FOLDER. ``poisoned-digits`` is run for 100 rounds in a folder that is deleted
afterwards: after 8 rounds a picture of a desk, after 12 one of a tablet, in the dark; then the run is
stopped, by the page's own button, for one of a phone. Needs Chromium.
"""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asked import words
from report_pictures import chromium, save

CHANGES = ["--set", "rounds=100", "--set", "runtime.pool=serial"]
COMMAND = [sys.executable, "-m", "gauntlet", "ui", "poisoned-digits", *CHANGES]
ROUNDS = "document.getElementById('progress')?.value"
PATIENCE = 600.0  # seconds
STOPPED = "document.getElementById('resume').disabled === false"


@contextmanager
def served() -> Iterator[str]:
    """Yield the address of a run that has begun; it ends with the block."""
    with tempfile.TemporaryDirectory() as place:
        process = subprocess.Popen(COMMAND, cwd=place, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[1]
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)


def main() -> None:
    """Open the page while the run goes on, and save what is seen."""
    folder = words(__doc__, folder=Path).folder
    with served() as address, chromium() as tab:
        tab.open(address, 1200, 900)
        tab.wait(f"{ROUNDS} >= 8", PATIENCE)
        save(tab, folder / "ui-desk.png")
        tab.open(address, 768, 1000, dark=True)
        tab.wait(f"{ROUNDS} >= 12 && document.getElementById('flagged').textContent !== ''", PATIENCE)
        save(tab, folder / "ui-tablet.png")
        tab.value("document.getElementById('stop').click()")
        tab.wait(STOPPED, PATIENCE)
        tab.open(address, 390, 844)
        save(tab, folder / "ui-phone.png")
        assert tab.errors == [], tab.errors


if __name__ == "__main__":
    main()
