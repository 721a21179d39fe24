"""The table of plots, and saving."""

import re
import subprocess
import sys
from xml.etree import ElementTree

import matplotlib
import pandas as pd
import pytest
from matplotlib.figure import Figure

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.plots import PLOTS, SETS, draw, draw_set, draw_to, find, save


def test_every_name_in_the_table_leads_to_a_function():
    for name in PLOTS:
        assert callable(find(name))


def test_a_misspelt_plot_is_refused_with_the_nearest_name():
    with pytest.raises(ScenarioError, match="unknown plot 'acuracy'; did you mean 'accuracy'"):
        draw("acuracy", [])


def test_options_reach_the_plot_function(recorded):
    figure = draw("accuracy", [recorded(accuracy=[0.1, 0.2])], by="bytes")
    assert figure.axes[0].get_xlabel() == "Sent by all clients so far (MB = 10⁶ bytes)"


def test_an_option_that_a_plot_does_not_take_is_refused_with_those_that_do(recorded, tmp_path):
    for call in (
        lambda: draw("loss", [recorded()], by="bytes"),
        lambda: draw_to(tmp_path, "loss", [], by="x"),
    ):
        with pytest.raises(ScenarioError, match=r"'loss' takes no 'by'; plots that take it: accuracy, recon"):
            call()


def test_importing_the_package_loads_no_drawing_library():
    code = (
        "import sys, gauntlet.sims.plots;"
        "print([m for m in ('matplotlib', 'pandas', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_drawing_leaves_the_global_state_of_pyplot_alone(recorded):
    draw("accuracy", [recorded(accuracy=[0.1, 0.2])])
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_a_picture_is_saved_whole_with_its_numbers_beside_it_and_nothing_else(recorded, tmp_path):
    path = draw_to(tmp_path / "new" / "a.png", "accuracy", [recorded("x", accuracy=[0.1, 0.25])])

    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.csv", "a.png"]
    numbers = pd.read_csv(path.with_suffix(".csv"))
    assert numbers["accuracy"].tolist() == [0.1, 0.25]
    assert numbers["label"].tolist() == ["x", "x"]


def test_a_picture_has_150_dots_an_inch(tmp_path):
    """PNG, pHYs chunk: 150 / 0.0254 = 5906 dots a metre."""
    content = save(Figure(figsize=(2, 1)), tmp_path / "a.png").read_bytes()
    assert (5906).to_bytes(4, "big") * 2 in content
    assert content[16:24] == (300).to_bytes(4, "big") + (150).to_bytes(4, "big")


@pytest.mark.parametrize("name", ["a.png", "a.pdf", "a.svg"])
def test_equal_pictures_give_equal_bytes(recorded, tmp_path, name):
    first, second = (
        draw_to(tmp_path / folder / name, "accuracy", [recorded(accuracy=[0.1, 0.2])]).read_bytes()
        for folder in "xy"
    )
    assert first == second
    assert b"CreationDate" not in first
    assert b"dc:date" not in first


def test_a_pdf_embeds_its_fonts_as_truetype(recorded, tmp_path):
    """PDF 32000-1, 9.6 and 9.7: a TrueType font is /TrueType, or a /CIDFontType2 with a /FontFile2."""
    content = draw_to(tmp_path / "a.pdf", "accuracy", [recorded("ε ≤ 1", accuracy=[0.1, 0.2])]).read_bytes()
    fonts = re.findall(rb"<<[^<>]*/Type /Font\b.*?>>", content, re.S)
    kinds = {re.search(rb"/Subtype /(\w+)", font)[1] for font in fonts}

    assert kinds == {b"Type0", b"CIDFontType2"}
    assert content.count(b"/FontFile2") == content.count(b"/CIDFontType2") >= 1
    assert b"/Type3" not in content


def test_in_an_svg_text_is_text(recorded, tmp_path):
    path = draw_to(tmp_path / "a.svg", "accuracy", [recorded("trimmed mean", accuracy=[0.1, 0.2])])
    texts = {element.text for element in ElementTree.parse(path).iter() if element.tag.endswith("}text")}

    assert {"Round", "trimmed mean"} <= texts


def test_saving_leaves_the_users_settings_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    save(Figure(figsize=(1, 1)), tmp_path / "a.pdf")

    assert dict(matplotlib.rcParams) == before


def test_a_failed_save_leaves_the_old_picture_and_no_part(tmp_path):
    path = save(Figure(figsize=(1, 1)), tmp_path / "a.png")
    before = path.read_bytes()
    broken = Figure(figsize=(1, 1))
    broken.text(0, 0, "$\\nosuchcommand$")

    with pytest.raises(ValueError, match="nosuchcommand"):
        save(broken, path)

    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_numbers_that_cannot_be_written_leave_no_part(tmp_path):
    class Unwritable:
        def __str__(self):
            raise RuntimeError("no words")

    with pytest.raises(RuntimeError, match="no words"):
        save(Figure(figsize=(1, 1)), tmp_path / "a.png", pd.DataFrame({"x": [Unwritable()]}))

    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(ScenarioError, match=r"saved as .png, .pdf or .svg, got 'a.bmp'"):
        save(Figure(), tmp_path / "a.bmp")


def test_a_set_draws_what_the_runs_allow_with_the_numbers_beside_each(recorded, tmp_path):
    verdict = {
        "audit": "one_run", "num_canaries": 9, "dimension": 99, "delta": 1e-5, "epsilon": 2.0,
        "epsilon_audit_low": 0.1, "epsilon_audit_est": None, "confidence": 0.95, "refuted": False,
    }  # fmt: skip
    drawn = draw_set(
        SETS["privacy-utility"],
        [recorded("a", audit=verdict)],
        lambda n: [tmp_path / f"{n}.png", tmp_path / f"{n}.pdf"],
    )
    assert [path.name for path in drawn] == [
        "leakage_by_accuracy.png", "leakage_by_accuracy.pdf", "audit.png", "audit.pdf",
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == ["audit.csv", "leakage_by_accuracy.csv"]


def test_a_set_of_which_the_runs_allow_nothing_is_refused(recorded, tmp_path):
    with pytest.raises(ScenarioError, match="there is no accuracy to draw against epsilon"):
        draw_set(SETS["privacy-utility"], [recorded("a")], lambda n: [tmp_path / f"{n}.png"])
