"""``gauntlet docs`` says where the pages lie, and these travel in the wheel."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_page_is_named_with_its_title(gauntlet):
    folder, *lines = gauntlet("docs").stdout.splitlines()

    assert (Path(folder) / "index.md").samefile(ROOT / "docs/index.md")
    pages = sorted((ROOT / "docs").rglob("*.md"))
    assert [line.split()[0] for line in lines] == [
        page.relative_to(ROOT / "docs").as_posix() for page in pages
    ]
    assert [" ".join(line.split()[1:]) for line in lines if line.startswith("report.md")] == [
        "The page of a run"
    ]


def test_the_patterns_of_the_wheel_take_every_page_and_picture():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    patterns = tomllib.loads(text)["tool"]["setuptools"]["package-data"]["gauntlet"]
    taken = {path for pattern in patterns for path in ROOT.glob(pattern)}

    kinds = ("*.md", "*.png", "*.ipynb")
    assert {path for kind in kinds for path in (ROOT / "docs").rglob(kind)} <= taken
