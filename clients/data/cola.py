"""CoLA: 8551 sentences from 17 works on grammar, of which 70 % are acceptable English.

Source: Warstadt, Singh, Bowman. Neural Network Acceptability Judgments. TACL 2019, Sections 2 and 3
(``cola_public``, raw). arXiv:1805.12471
"""

from dataclasses import dataclass
from typing import Literal

from .base import Dataset
from .sentences import check_options, folder_of, labelled, rows_of, sentences_of

TRAIN = "in_domain_train.tsv"
_SOURCE, _LABEL, _TEXT = 0, 1, 3


@dataclass(frozen=True)
class Cola:
    """Sentences as tokens, filled up; label 1 is an acceptable one. A natural client is a work.

    Attributes:
        length: S, tokens of a sentence with [CLS] and [SEP], between 3 and 512; longer ones are cut, of 32
            tokens 5 of 8551.
        tokenizer: ``"training"``: the most frequent words of the training sentences, and so no epsilon
            (``fitted_inputs``); ``hf:NAME`` or ``hf:FOLDER``: a transformer's own; else the file of a public
            list of words, one a line.
        max_tokens: V of words at most, five special ones counted.
        test: Works that are trained on too (527 sentences), or six others (516).
    """

    length: int = 32
    tokenizer: str = "training"
    max_tokens: int = 4000
    test: Literal["in_domain", "out_of_domain"] = "in_domain"

    def __post_init__(self) -> None:
        check_options(self.tokenizer, self.length, self.max_tokens)
        if self.test not in ("in_domain", "out_of_domain"):
            raise ValueError(f"test must be in_domain or out_of_domain, got '{self.test}'")

    def load(self) -> Dataset:
        files = (TRAIN, f"{self.test}_dev.tsv")
        folder = folder_of("cola", files, "get cola_public_1.1.zip of nyu-mll.github.io/CoLA, folder raw")
        tables = [rows_of(folder / file, columns=4) for file in files]
        train, test = (labelled(folder / f, t, _TEXT, _LABEL) for f, t in zip(files, tables, strict=True))
        works = {work: number for number, work in enumerate(sorted({row[_SOURCE] for row in tables[0]}))}
        groups = [works[row[_SOURCE]] for row in tables[0]]
        return sentences_of("cola", train, test, self.tokenizer, self.length, self.max_tokens, groups)
