"""Text becomes markup escaped, whatever it is."""

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gauntlet.sims.report.markup import Markup, element, escaped, table

HOSTILE = """</script><img src=x onerror="alert('1')"> & <!-- ]]>"""


def test_nothing_of_a_hostile_word_is_a_tag_or_ends_an_attribute():
    """The five letters that HTML names: < > & " '."""
    made = element("td", HOSTILE, title=HOSTILE)

    inside = made.removeprefix('<td title="').removesuffix("</td>")
    assert not set("<'") & set(inside.replace('">', "", 1))
    assert html.unescape(inside.split('">', 1)[1]) == HOSTILE


@given(st.text())
def test_text_that_can_be_seen_comes_back_as_it_was(words):
    shown = html.unescape(escaped(words, most=10**6))
    assert len(shown) == len(words)
    assert all(a == b or b == "\ufffd" for a, b in zip(words, shown, strict=True))
    assert not {"<", ">", '"', "'"} & set(escaped(words))


@pytest.mark.parametrize("letter", ["\0", "\x1b", "\u202e", "\u2066", "\ud800", "\ufeff"])
def test_letters_that_hide_or_turn_text_are_replaced(letter):
    """U+202E turns the reading direction, so that 'gpj.exe' looks like 'exe.jpg'."""
    assert escaped(f"a{letter}b") == "a\ufffdb"


def test_long_text_is_cut():
    assert len(escaped("x" * 10_000)) == 2_002


def test_markup_is_not_escaped_twice():
    assert element("p", element("b", "a<b")) == "<p><b>a&lt;b</b></p>"
    assert isinstance(element("p"), Markup)


def test_a_table_counts_the_rows_that_it_leaves_out():
    made = table(["a", "b"], [[i, "—"] for i in range(9)], "Nine.", most=4)

    assert made.count("<tr>") == 5
    assert "The first 4 of 9 rows." in made
