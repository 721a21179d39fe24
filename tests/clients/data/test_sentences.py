"""Sentences as tokens by hand, and the three published sets of them."""

import gzip

import numpy as np
import pytest

from gauntlet.clients.data.cola import Cola
from gauntlet.clients.data.rotten_tomatoes import RottenTomatoes
from gauntlet.clients.data.sentences import encoded, vocabulary_of, words_of
from gauntlet.clients.data.sst2 import Sst2
from gauntlet.core.errors import DataError

TRAIN = "gj04\t1\t\tThe cat sat.\nbc01\t0\t*\tSat cat the, 42 the.\ngj04\t1\t\tA dog.\n"
TEST = "gj04\t0\t\tThe bird sat.\nbc01\t1\t\tA cat!\n"


@pytest.fixture
def folder(data_folder):
    """Three sentences to train with, two to test."""
    path = data_folder / "cola"
    path.mkdir(parents=True)
    (path / "in_domain_train.tsv").write_text(TRAIN)
    (path / "in_domain_dev.tsv").write_text(TEST)
    return path


def test_words_are_runs_of_letters_and_every_other_character_is_one_by_itself():
    assert words_of("Don't pay $42, É!") == ["don", "'", "t", "pay", "$", "4", "2", ",", "é", "!"]


def test_the_most_frequent_words_come_first_and_equal_ones_in_their_order():
    """By hand: b three times, a and c twice, d once."""
    names = vocabulary_of(["b a b", "c d c", "a b"], 9)
    assert names == ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "b", "a", "c", "d")
    assert vocabulary_of(["b a b", "c d c", "a b"], 7)[5:] == ("b", "a")


def test_a_sentence_stands_between_cls_and_sep_and_is_filled_up_or_cut():
    number = {"a": 5, "b": 6}
    assert encoded("a b x", number, 7) == [2, 5, 6, 1, 3, 0, 0]
    assert encoded("a b x", number, 5) == [2, 5, 6, 1, 3]
    assert encoded("a b x", number, 4) == [2, 5, 6, 3]


def test_a_natural_client_is_a_work_and_the_vocabulary_is_that_of_the_training_sentences(folder):
    """By hand: the (3), '.' (3), cat, sat (2), then ',', 2, 4, a, dog (1) in the order of their codes."""
    pile = Cola(length=8).load()

    assert pile.num_tokens == 5 + 9
    assert pile.x[0].tolist() == [2, 6, 7, 8, 5, 3, 0, 0]  # . 5, the 6, cat 7, sat 8, "," 9, 2 10, 4 11
    assert pile.x[1].tolist() == [2, 8, 7, 6, 9, 11, 10, 3]  # cut
    assert pile.test_x[0].tolist() == [2, 6, 1, 8, 5, 3, 0, 0]  # nobody trained with "bird"
    assert (pile.y.tolist(), pile.test_y.tolist()) == ([1, 0, 1], [0, 1])
    assert pile.groups.tolist() == [1, 0, 1]
    assert pile.num_classes == 2
    assert "tokenizer = a file of words" in pile.fitted[0]


def test_a_public_list_of_words_learns_nothing_of_the_sentences(folder, tmp_path):
    (tmp_path / "words.txt").write_text("The\ncat\ntwo words\ncat\nbird\n")
    pile = Cola(length=8, tokenizer=str(tmp_path / "words.txt")).load()

    assert (pile.num_tokens, pile.fitted) == (8, ())
    assert pile.test_x.tolist() == [[2, 5, 7, 1, 1, 3, 0, 0], [2, 1, 6, 1, 3, 0, 0, 0]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("gj04\t1\tno star\n", "a row must have 4 cells, got 3: 'gj04'"),
        ("gj04\t2\t\tTwo.\ngj04\t1\t\tOne.\n", "a label must be 0 or 1, got '2'"),
        ("gj04\t1\t\tOne.\n", "holds 1 rows, must be at least 2"),
        (b"gj04\t1\t\t\xff\n", "is no text in UTF-8"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(folder, content, words):
    raw = content if isinstance(content, bytes) else content.encode()
    (folder / "in_domain_train.tsv").write_bytes(raw)
    with pytest.raises(DataError, match=words) as caught:
        Cola().load()
    assert "\n" not in str(caught.value)


def test_the_mark_that_some_editors_begin_a_file_with_is_no_part_of_its_first_word(folder, tmp_path):
    (tmp_path / "words.txt").write_bytes(b"\xef\xbb\xbfbooks\nsleep\n")

    assert Cola(length=8, tokenizer=str(tmp_path / "words.txt")).load().num_tokens == 7


def test_what_is_not_there_is_said_with_the_way_to_get_it(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("gauntlet.clients.data.files.data_roots", lambda: [folder.parent])
    with pytest.raises(DataError, match=r"no folder holds .*out_of_domain_dev.tsv.*cola_public_1.1.zip"):
        Cola(test="out_of_domain").load()
    with pytest.raises(DataError, match="there is no file of words"):
        Cola(tokenizer=str(tmp_path / "nothing.txt")).load()
    (tmp_path / "empty.txt").write_text("two words\n")
    with pytest.raises(DataError, match="holds no word, a line each; got 'two words'"):
        Cola(tokenizer=str(tmp_path / "empty.txt")).load()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"length": 2}, r"length must be in \[3, 512\], got 2"),
        ({"max_tokens": 5}, r"max_tokens must be in \[6, 65536\], got 5"),
        ({"tokenizer": ""}, "tokenizer must be 'training' or a file of words"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    for kind in (Cola, Sst2, RottenTomatoes):
        with pytest.raises(ValueError, match=words):
            kind(**options)
    with pytest.raises(ValueError, match="test must be in_domain or out_of_domain"):
        Cola(test="both")


def test_the_sentences_of_cola_are_the_published_ones(real_data):
    """Warstadt et al., Table 2: 8551, 527 and 516 sentences, 17 works; 70.4 % and 69.3 % acceptable."""
    pile, other = real_data("cola"), real_data("cola", test="out_of_domain")

    assert (pile.x.shape, len(pile.test_x), len(other.test_x)) == ((8551, 32), 527, 516)
    assert len(np.unique(pile.groups)) == 17
    assert (float(pile.y.mean()), float(pile.test_y.mean())) == pytest.approx((0.704, 0.693), abs=1e-3)
    assert pile.num_tokens == 4000
    assert np.array_equal(pile.x, other.x)


def test_phrases_and_sentences_of_sst2_are_read_from_their_own_files(data_folder):
    path = data_folder / "sst2"
    path.mkdir(parents=True)
    head = "sentence\tlabel\n"
    (path / "train.tsv.gz").write_bytes(gzip.compress(f"{head}so good \t1\nbad \t0\n".encode()))
    for name in ("dev.tsv", "sentences_train.tsv", "test_labeled.tsv"):
        (path / name).write_text(f"{head}good .\t1\nbad .\t0\nso .\t0\n")

    assert (Sst2().load().x.shape, Sst2(phrases=False).load().x.shape) == ((2, 32), (3, 32))
    (path / "dev.tsv").write_text("label\tsentence\n0\tbad\n0\tbad\n")
    with pytest.raises(DataError, match=r"dev.tsv must begin with the line 'sentence\\tlabel'"):
        Sst2().load()


def test_the_last_tenth_of_either_class_is_for_test(data_folder):
    path = data_folder / "rotten_tomatoes"
    path.mkdir(parents=True)
    rows = [f"{int(n < 20)}\tword {'x' * n}" for n in range(40)]
    (path / "rt_polarity.tsv").write_text("\n".join(["label\ttext", *rows]) + "\n")
    pile = RottenTomatoes(tokenizer="training", max_tokens=100).load()

    assert (pile.y.tolist(), pile.test_y.tolist()) == ([0] * 18 + [1] * 18, [0, 0, 1, 1])
    assert (pile.test_x[:, 2] == 1).all()  # their words occur in no other sentence


@pytest.mark.slow
def test_the_reviews_are_the_published_ones(real_data):
    """GLUE, Table 1: 67 thousand, 872; Socher et al.: 6920 and 1821; Pang and Lee: 5331 of either class."""
    phrases, whole = real_data("sst2"), real_data("sst2", phrases=False)
    films = real_data("rotten_tomatoes")

    assert (len(phrases.x), len(phrases.test_x)) == (67349, 872)
    assert (len(whole.x), len(whole.test_x)) == (6920, 1821)
    assert np.bincount(films.y).tolist() == [4798, 4798]
    assert np.bincount(films.test_y).tolist() == [533, 533]
