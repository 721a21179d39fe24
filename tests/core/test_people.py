"""People who do not exist: what is said of them, by hand."""

import pytest

from gauntlet.core.people import FIRST, LAST, LENGTH, TOKENS, Person, drawn, encoded, note, ordinary, telling
from gauntlet.core.seeds import generator

ADA = Person("ada", "adler", "01234567")


def test_every_word_is_one_token_and_the_first_fills_up():
    assert len(set(TOKENS)) == len(TOKENS) == 12 + 24 + 10 + 7 + 40 + 40
    assert TOKENS[0] == "[END]"
    assert (len(FIRST), len(LAST)) == (40, 40)


def test_what_is_said_holds_the_number_or_does_not_and_fits_with_its_note():
    stream = generator(0, "people test")
    for _ in range(50):
        who = drawn(stream)
        said, other = telling(who, stream), ordinary(who, stream)
        assert "".join(word for word in said if word.isdigit()) == who.phone
        assert not any(word.isdigit() for word in other)
        assert {who.first, who.last} <= set(said) & set(other)
        assert len(said + note(who)) <= LENGTH + 1


def test_words_are_encoded_by_their_place_in_the_list():
    assert note(ADA)[:5] == ["[NOTE]", "name", "=", "ada", "adler"]
    assert [TOKENS[t] for t in encoded(["call", "ada"], 4)] == ["call", "ada", "[END]", "[END]"]
    with pytest.raises(ValueError, match="3 words do not fit into 2 tokens"):
        encoded(["call", "ada", "at"], 2)
