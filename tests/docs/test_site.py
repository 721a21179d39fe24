"""The documentation site: every page has its place, every link its target, every plug-in its section."""

import re
from pathlib import Path

import pytest
import yaml

from gauntlet.sims.places import PLACES
from gauntlet.sims.reference import family_page, pages, python_page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)\s#]*)(?:#([^)\s]*))?\)")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as MkDocs (Python-Markdown) and hosts of repositories make them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    plain = [
        re.sub(r"[^\w\s-]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", head)).strip().lower() for head in heads
    ]
    return {re.sub(r"[\s]+", "-", head) for head in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_has_its_file_and_its_heading(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target, anchor in LINK.findall(text):
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{page.name} links to {target}"
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), (
                f"{page.name} links to {target}#{anchor}; it has {anchors(there)}"
            )


def test_every_page_has_a_place_in_the_site_and_every_place_a_page():
    """What MkDocs would only note: a page that nobody finds."""
    named = re.findall(
        r"^\s+- ([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE
    )
    there = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md") if "examples" not in page.parts}

    assert len(named) == len(set(named))
    assert {name for name in named if not name.startswith("reference/")} | {"index.md"} == there
    generated = {f"reference/{family}.md" for family in [*PLACES, "python"]}
    assert (
        {name for name in named if name.startswith("reference/")}
        == generated
        == {path for path, _ in pages()}
    )


def test_the_site_needs_no_network_and_takes_no_warning():
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8")

    assert settings["theme"]["font"] is False
    assert settings["validation"]["links"]["anchors"] == "warn"
    assert "build -q --strict" in ci


def test_a_plug_ins_section_has_its_options_source_threat_model_and_an_example():
    page = family_page("leakage_attacks")

    assert "## dlg" in page
    assert "Source: Zhu, Liu, Han. Deep Leakage from Gradients" in page
    assert "- `max_iterations: int = " in page
    assert "- `requires`: batch_size (exact)" in page
    assert '??? example "example.toml"' in page
    central = family_page("privacy").partition("## gaussian")[2].partition("## dp_sgd")[0]
    assert "- `trust_model`: central" in central


def test_the_python_page_has_every_public_name_with_its_docstring():
    page = python_page()

    assert "## simulate" in page
    assert "## load_scenario" in page


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    """As ``.ci/run`` does it; where MkDocs is installed."""
    pytest.importorskip("material")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    build(load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(tmp_path / "site")))

    assert (tmp_path / "site/reference/defenses.html").stat().st_size > 50_000
