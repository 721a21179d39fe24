"""Take the pictures of docs/report.md: a page at three widths, in a headless Chromium.

Usage: report_pictures.py PAGE FOLDER [NAME...]. A name is of ``WINDOWS``, without one all of them; a part
that the page does not have gives no picture. The pictures have 128 colours, so that they stay small.
"""

import sys
from pathlib import Path

from asked import words
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))

from chromium import Page, chromium

WINDOWS = {
    "desk": (1200, 900, False, "#results"),
    "tablet": (768, 1000, True, "#leakage"),
    "phone": (390, 844, False, "#utility"),
    "inferred": (1020, 600, False, "#inferences"),
    "posterior": (390, 844, True, "#posterior"),
}
"""Width, height, dark, and the part of the page that is shown."""


def save(tab: Page, path: Path) -> None:
    """Save what is seen, in few colours, and say how many bytes it takes."""
    Image.open(tab.picture(path)).convert("RGB").quantize(128).save(path, optimize=True)
    print(path, path.stat().st_size)


def main() -> None:
    """Open the page, scroll to a part of it, and save what is seen."""
    given = words(__doc__, page=Path, folder=Path, names=[*WINDOWS])
    page, folder = given.page, given.folder
    with chromium() as tab:
        for name in given.names:
            width, height, dark, part = WINDOWS[name]
            tab.open(page.resolve().as_uri(), width, height, dark)
            if tab.value(f"document.querySelector('{part}') !== null"):
                tab.value(f"document.querySelector('{part}').scrollIntoView()")
                save(tab, folder / f"report-{name}.png")
        assert tab.errors == [], tab.errors


if __name__ == "__main__":
    main()
