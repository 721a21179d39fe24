"""Speeches and windows by hand, and the published file."""

import numpy as np
import pytest

from gauntlet.clients.data.tiny_shakespeare import TinyShakespeare, speeches, windows
from gauntlet.core.errors import DataError

PLAY = "First:\nTo be,\nor not.\n\nSecond:\nWhat?\n\nFirst:\nThat is it.\n"


def test_a_speaker_says_all_of_its_speeches_one_after_the_other():
    assert speeches(PLAY) == {"First": "To be,\nor not.\nThat is it.", "Second": "What?"}


def test_windows_share_only_the_token_that_one_forecasts_and_the_next_begins_with():
    """By hand: of 0 ... 7, three tokens at a time."""
    assert windows(np.arange(8), 3).tolist() == [[0, 1, 2, 3], [3, 4, 5, 6]]
    assert windows(np.arange(7), 3).tolist() == [[0, 1, 2, 3], [3, 4, 5, 6]]
    assert windows(np.arange(6), 3).tolist() == [[0, 1, 2, 3]]
    assert windows(np.arange(3), 3).shape == (0, 4)


def test_the_published_file_has_99_speakers_and_65_characters(real_data):
    """The counts of the file's own page; it opens with 'Before we proceed any further, hear me speak.'"""
    pile = real_data("tiny_shakespeare")
    tokens = "\n !$&',-.3:;?" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + "abcdefghijklmnopqrstuvwxyz"

    assert (pile.num_tokens, pile.num_classes, len(np.unique(pile.groups))) == (65, 65, 99)
    assert "".join(tokens[t] for t in pile.x[0]) == "Before we proceed any further, h"
    assert "".join(tokens[t] for t in pile.y[0]) == "efore we proceed any further, he"
    assert np.array_equal(pile.y[:, :-1], pile.x[:, 1:])
    assert 8 < len(pile.x) / len(pile.test_x) < 10


def test_a_longer_context_has_fewer_windows_and_a_higher_limit_fewer_speakers(real_data):
    whole = real_data("tiny_shakespeare")
    longer = real_data("tiny_shakespeare", context=64, least_characters=20_000)

    assert longer.x.shape[1:] == longer.y.shape[1:] == (64,)
    assert len(np.unique(longer.groups)) == 10
    assert len(longer.x) < len(whole.x) / 2


def test_another_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "tiny_shakespeare").mkdir()
    (tmp_path / "tiny_shakespeare" / "input.txt").write_text(PLAY)
    monkeypatch.setenv("GAUNTLET_DATA", str(tmp_path))
    with pytest.raises(DataError, match="is not the published file: its sha256 is"):
        TinyShakespeare().load()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"context": 0}, r"context must be in \[1, 1000\], got 0"),
        ({"context": 200}, "least_characters must be at least 2010, ten windows, got 2000"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        TinyShakespeare(**options)
