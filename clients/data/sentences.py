"""Labelled sentences as sequences of tokens: words by their frequency, and what stands for all others.

Source: Devlin, Chang, Lee, Toutanova. BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding. NAACL 2019, Section 3 (a sentence between [CLS] and [SEP], filled up with [PAD]).
arXiv:1810.04805. Whole words in the place of word pieces, and digits one by one, are ours.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from ...core.errors import DataError
from .base import Dataset
from .files import find_folder, missing
from .hub_tokenizer import hub_tokens
from .unpacking import read_bytes

PAD, UNK, CLS, SEP, MASK = range(5)
HUB = "hf:"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LARGEST = 2**24  # bytes of a file, or of a list of words
LONGEST = 512  # tokens of a sentence, as of BERT
MOST = 2**16  # tokens of a vocabulary
_WORD = re.compile(r"[^\W\d_]+|\S")

Labelled = Sequence[tuple[str, int]]
"""Sentences with their labels."""


def words_of(sentence: str) -> list[str]:
    """Return a sentence's words in lower case: runs of letters, and every other character by itself."""
    return _WORD.findall(sentence.lower())


def vocabulary_of(sentences: Iterable[str], most: int) -> tuple[str, ...]:
    """Return the tokens' names: the special ones, then the most frequent words, equal ones in their order.

    Args:
        sentences: What words are counted in.
        most: V at most, the special ones counted.
    """
    counts = Counter(chain.from_iterable(map(words_of, sentences)))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return (*SPECIAL, *ranked[: most - len(SPECIAL)])


def encoded(sentence: str, number: Mapping[str, int], length: int) -> list[int]:
    """Return a sentence as ``length`` tokens: [CLS], its words, [SEP], [PAD]; what is too long is cut.

    Args:
        sentence: At most ``length`` - 2 words of it are kept.
        number: From a word to its token; others are [UNK].
        length: S, at least 3.
    """
    words = [number.get(word, UNK) for word in words_of(sentence)[: length - 2]]
    return [CLS, *words, SEP, *[PAD] * (length - 2 - len(words))]


def sentences_of(
    name: str,
    train: Labelled,
    test: Labelled,
    tokenizer: str,
    length: int,
    most: int,
    groups: Sequence[int] | None = None,
) -> Dataset:
    """Return sentences of two classes as tokens int64 [n, S].

    Args:
        name: Of the data set.
        train: Training sentences with their labels, 0 or 1.
        test: Likewise.
        tokenizer: ``"training"``, a file of words, or ``hf:`` and a transformer: see ``check_options``.
        length: S.
        most: V at most.
        groups: The natural client of each training sentence, or None.

    Raises:
        DataError: No such file of words, or one that holds none.
        ScenarioError, PluginError: No such tokenizer, or no library to read one.
    """
    learnt, texts = tokenizer == "training", [[text for text, _ in part] for part in (train, test)]
    if tokenizer.startswith(HUB):
        arrays, num_tokens, framing = hub_tokens(tokenizer.removeprefix(HUB), texts, length)
    else:
        names = vocabulary_of(texts[0], most) if learnt else _listed(tokenizer, most)
        number = {word: token for token, word in enumerate(names) if token >= len(SPECIAL)}
        arrays = [np.array([encoded(text, number, length) for text in part]) for part in texts]
        num_tokens, framing = len(names), (PAD, CLS, SEP)
    labels = [np.array([label for _, label in part], dtype=np.int64) for part in (train, test)]
    return Dataset(
        name=name,
        x=arrays[0],
        y=labels[0],
        test_x=arrays[1],
        test_y=labels[1],
        num_classes=2,
        value_range=(0.0, num_tokens - 1.0),
        groups=None if groups is None else np.array(groups),
        num_tokens=num_tokens,
        framing=framing,
        fitted=(f"the vocabulary ({name}: tokenizer = a file of words)",) if learnt else (),
    )


def check_options(tokenizer: str, length: int, max_tokens: int) -> None:
    """Refuse what no data set of sentences takes.

    Args:
        tokenizer: ``"training"`` takes the most frequent words of the training sentences, which says
            something about them that no mechanism protects; ``hf:NAME`` and ``hf:FOLDER`` take a
            transformer's own; else it is the file of a public list of words.
        length: S, between 3 and 512.
        max_tokens: V at most, between 6 and 65 536.

    Raises:
        ValueError: Out of range.
    """
    if not 3 <= length <= LONGEST:
        raise ValueError(f"length must be in [3, {LONGEST}], got {length}")
    if not len(SPECIAL) < max_tokens <= MOST:
        raise ValueError(f"max_tokens must be in [{len(SPECIAL) + 1}, {MOST}], got {max_tokens}")
    if not tokenizer:
        raise ValueError("tokenizer must be 'training' or a file of words, got an empty word")


def _listed(path: str, most: int) -> tuple[str, ...]:
    """Return the tokens' names of a file with a word a line."""
    place = Path(path).expanduser()
    if not place.is_file():
        raise DataError(f"tokenizer: there is no file of words {path} (working folder {Path.cwd()})")
    found = [line.strip().lower() for line in read_text(place).split("\n")]
    words = [word for word in dict.fromkeys(found) if words_of(word) == [word]]
    if not words:
        raise DataError(f"tokenizer: {path} holds no word, a line each; got {found[0][:40]!r}")
    return (*SPECIAL, *words[: most - len(SPECIAL)])


def read_text(path: Path) -> str:
    """Return a file's text, packed or not, without the mark that some editors begin one with.

    Raises:
        DataError: It is not whole, larger than 2**24 bytes, or no UTF-8.
    """
    try:
        return read_bytes(path, LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8: {error}") from error


def folder_of(name: str, files: Sequence[str], how: str) -> Path:
    """Return where all of ``files`` are.

    Raises:
        DataError: Nowhere; ``how`` says how to get them.
    """
    folder = find_folder(name, files)
    if folder is None:
        raise missing(name, files, how)
    return folder


def rows_of(path: Path, columns: int, header: str = "") -> list[list[str]]:
    """Return the rows of a table whose cells are set apart by tabulators.

    Args:
        path: The file.
        columns: Cells of a row.
        header: Its first line, empty where there is none.

    Raises:
        DataError: Another header, a row of other cells, or fewer than two rows.
    """
    lines = [line.rstrip("\r") for line in read_text(path).split("\n")]
    if header and lines.pop(0) != header:
        raise DataError(f"{path} must begin with the line {header!r}")
    rows = [line.split("\t") for line in lines if line]
    for row in rows:
        if len(row) != columns:
            raise DataError(f"{path}: a row must have {columns} cells, got {len(row)}: {row[0][:60]!r}")
    if len(rows) < 2:
        raise DataError(f"{path} holds {len(rows)} rows, must be at least 2")
    return rows


def labelled(path: Path, rows: Sequence[Sequence[str]], text: int, label: int) -> list[tuple[str, int]]:
    """Return the sentences of some rows with their labels.

    Raises:
        DataError: A label that is neither 0 nor 1.
    """
    for row in rows:
        if row[label] not in ("0", "1"):
            raise DataError(f"{path}: a label must be 0 or 1, got {row[label][:40]!r}")
    return [(row[text], int(row[label])) for row in rows]
