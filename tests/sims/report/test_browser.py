"""The page in a browser: no complaint, all of it works by keyboard, every letter can be read."""

import pytest
from chromium import Page, chromium

from gauntlet.sims.report.writing import write_report
from gauntlet.sims.sweep import sweep

WIDTHS = {"a desk": (1200, 900), "a tablet": (768, 1000), "a phone": (390, 844)}

CONTRAST = """(() => {
  const parse = (words) => (words.match(/[\\d.]+/g) || []).map(Number);
  const linear = (one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const [r, g, b, a = 1] = parse(getComputedStyle(at).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const ratioOf = (color, element) => {
    const [front, back] = [light(parse(color)), light(behind(element))];
    return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
    if (["SCRIPT", "STYLE"].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    const ratio = ratioOf(element instanceof SVGElement ? style.fill : style.color, element);
    const words = walker.currentNode.textContent.trim().slice(0, 40);
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)} ${element.tagName} ${words}`);
  }
  for (const line of document.querySelectorAll(".plot path.line")) {
    const ratio = ratioOf(getComputedStyle(line).stroke, line);
    if (ratio < 3) low.push(`${ratio.toFixed(2)} line ${line.getAttribute("class")}`);
  }
  return [...new Set(low)];
})()"""

NAMELESS = """[...document.querySelectorAll('button, a, img, [role], summary, table')]
  .filter((one) => !(one.getAttribute('alt') || one.getAttribute('aria-label') || one.textContent).trim())
  .map((one) => one.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def tab():
    with chromium() as page:
        yield page


@pytest.fixture(scope="module")
def address(attacked, small, tmp_path_factory):
    """A page of a sweep with bands, pictures, attackers and an epsilon."""
    folder = tmp_path_factory.mktemp("browser") / "swept"
    crossed = {"defense": ["mean", {"name": "multi_krum", "num_byzantine": 1}], "seed": [0, 1]}
    training = {"local_steps": 1, "batch_size": 1, "lr": 0.5}
    sweep(small(training=training, sweep=crossed), folder)
    return write_report([folder]).as_uri()


@pytest.fixture
def opened(tab: Page, address):
    tab.errors.clear()
    tab.asked.clear()
    tab.open(address)
    yield tab
    assert tab.errors == []
    assert set(tab.asked) == {address}


@pytest.mark.parametrize("where", WIDTHS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_letter_stands_out_and_nothing_sticks_out(where, dark, opened, address):
    """WCAG 2.2: 4.5 for text (1.4.3), 3 for lines (1.4.11); no scrolling in two directions (1.4.10)."""
    width, height = WIDTHS[where]
    opened.open(address, width, height, dark)
    opened.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")

    assert opened.value(CONTRAST) == []
    assert opened.value("document.documentElement.scrollWidth") <= width
    assert opened.value("getComputedStyle(document.documentElement).colorScheme") == (
        "dark" if dark else "light"
    )


CAPTIONS = """[...document.querySelectorAll('.scroll')].map((one) => {
  one.scrollLeft = FAR;
  const range = document.createRange();
  range.selectNodeContents(one.querySelector('caption'));
  const [words, seen] = [range.getBoundingClientRect(), one.getBoundingClientRect()];
  return [one.scrollWidth > one.clientWidth, words.left >= seen.left - 1 && words.right <= seen.right + 1];
})"""


@pytest.mark.parametrize("far", [0, 60, 10_000])
def test_a_caption_is_seen_whole_on_a_phone_however_far_its_table_is_scrolled(far, opened, address):
    opened.open(address, 390, 844)
    opened.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found = opened.value(CAPTIONS.replace("FAR", str(far)))

    assert any(wide for wide, _ in found)
    assert all(whole for _, whole in found)


COLOURS = """[...document.querySelectorAll('figure.plot')].flatMap((figure) =>
  [...figure.querySelectorAll('svg.key')].map((key) => [
    key.parentElement.textContent.trim(), getComputedStyle(key.querySelector('path')).stroke]))"""


def test_a_run_has_one_colour_in_all_plots_of_a_page(tab, small, tmp_path):
    """The mean flags nobody: in the plot of flags the other run's line is the first."""
    crossed = {"defense": ["mean", "signguard"]}
    sweep(small(rounds=2, num_clients=10, probes=[], sweep=crossed), tmp_path / "swept")
    tab.open(write_report([tmp_path / "swept"]).as_uri())
    found = tab.value(COLOURS)
    colours = {name: [colour for other, colour in found if other == name] for name, _ in found}

    assert len(colours["signguard"]) == len(colours["mean"]) + 1
    assert [len(set(one)) for one in colours.values()] == [1, 1]


def test_the_contrast_check_finds_what_cannot_be_read(opened):
    opened.value("document.querySelector('h1').style.setProperty('color', '#999')")

    (found,) = opened.value(CONTRAST)
    assert found.startswith("2.85 H1")


def test_everything_that_can_be_used_has_a_name(opened):
    assert opened.value(NAMELESS) == []
    assert opened.value("document.querySelectorAll('figure.plot svg[tabindex]').length") >= 3


def test_a_table_is_sorted_by_a_click_on_a_column(opened):
    cells = "[...document.querySelectorAll('#costs tbody tr')].map((row) => Number(row.cells[1].textContent))"
    assert opened.value(cells) == [0, 1, 0, 1]

    opened.value("document.querySelectorAll('#costs thead button')[1].click()")
    assert opened.value(cells) == [0, 0, 1, 1]
    assert opened.value("document.querySelectorAll('#costs thead th')[1].ariaSort") == "ascending"
    opened.value("document.querySelectorAll('#costs thead button')[1].click()")
    assert opened.value(cells) == [1, 1, 0, 0]


def test_the_keyboard_reaches_a_column_and_sorts_by_it(opened):
    opened.value("document.querySelectorAll('#costs thead button')[0].focus()")
    opened.press("Tab")
    opened.press("Enter")

    assert opened.value("document.querySelectorAll('#costs thead th')[1].ariaSort") == "ascending"


LINE = "document.querySelector('#plot-accuracy .canvas > svg path.line').getAttribute('d')"
SPAN = (
    "[...document.querySelectorAll('#plot-accuracy text[text-anchor=middle]')].map((one) => one.textContent)"
)


def test_keys_zoom_into_a_plot_and_out_again(opened):
    whole = opened.value(LINE)
    opened.value("document.querySelector('#plot-accuracy svg').focus()")
    opened.press("+")
    near = opened.value(LINE)
    opened.press("ArrowRight")
    moved = opened.value(LINE)
    opened.press("0")

    assert near != whole
    assert moved != near
    assert opened.value(LINE) == whole


def test_rounds_stand_at_whole_numbers(opened):
    assert opened.value(SPAN)[:-2] == ["0", "1", "2"]


def test_dragging_over_a_plot_zooms_to_what_was_dragged_over(opened):
    opened.value("document.querySelector('#plot-accuracy svg').scrollIntoView()")
    corner = "(({left, top, width, height}) => [left, top, width, height])"
    left, top, width, height = opened.value(
        f"{corner}(document.querySelector('#plot-accuracy svg').getBoundingClientRect())"
    )
    y = top + height / 2
    opened.mouse("mousePressed", left + 0.5 * width, y)
    opened.mouse("mouseMoved", left + 0.7 * width, y, held=True)
    opened.mouse("mouseReleased", left + 0.9 * width, y)

    ticks = [float(one) for one in opened.value(SPAN)[:-2]]
    assert min(ticks) > 0.5  # of rounds 0 to 2


def test_a_line_is_hidden_by_its_button_and_shown_again(opened):
    lines = "document.querySelectorAll('#plot-accuracy .canvas > svg path.line').length"
    assert opened.value(lines) == 2
    opened.value("document.querySelector('#plot-accuracy .keys button').click()")
    assert opened.value(lines) == 1
    assert opened.value("document.querySelector('#plot-accuracy .keys button').ariaPressed") == "false"


def test_a_plot_s_lines_lie_where_the_numbers_are(opened):
    """A line's last point is at the height that its last number has between the ticks."""
    tick = """(() => { const figure = document.querySelector('#plot-accuracy');
      const ticks = [...figure.querySelectorAll('text[text-anchor=end]')];
      const of = (one) => [parseFloat(one.textContent) / 100, Number(one.getAttribute('y')) - 4];
      const rows = [...figure.querySelectorAll('table.data tbody tr')];
      const first = rows.filter((row) => row.cells[0].textContent === rows[0].cells[0].textContent).at(-1);
      const d = figure.querySelector('.canvas > svg path.line').getAttribute('d');
      const end = d.split('L').at(-1).split(' ').map(Number);
      return [of(ticks[0]), of(ticks.at(-1)), Number(first.cells[2].textContent), end];
    })()"""
    (low, at_low), (high, at_high), value, (_, y) = opened.value(tick)

    assert y == pytest.approx(at_low + (value - low) / (high - low) * (at_high - at_low), abs=1.5)


def test_the_theme_button_turns_the_page(opened):
    paper = "getComputedStyle(document.body).backgroundColor"
    before = opened.value(paper)
    opened.value("document.getElementById('theme').click()")

    assert (before, opened.value(paper)) == ("rgb(255, 255, 255)", "rgb(21, 23, 27)")


def test_a_dark_page_is_printed_on_white(opened, address):
    opened.open(address, dark=True)
    opened.call("Emulation.setEmulatedMedia", media="print")

    assert opened.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.value("document.querySelector('.tools').checkVisibility()") is False
    assert opened.value(CONTRAST) == []
    opened.call("Emulation.setEmulatedMedia", media="")


def test_without_its_script_the_page_still_says_everything(opened, address):
    opened.call("Emulation.setScriptExecutionDisabled", value=True)
    opened.open(address)
    there = opened.value("document.querySelectorAll('#plot-accuracy table.data tbody tr').length")
    drawn = opened.value("document.querySelectorAll('#plot-accuracy svg').length")
    opened.call("Emulation.setScriptExecutionDisabled", value=False)

    assert (there, drawn) == (6, 0)
