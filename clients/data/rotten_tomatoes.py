"""Rotten Tomatoes: 5331 good and 5331 bad sentences of film reviews.

Source: Pang, Lee. Seeing Stars: Exploiting Class Relationships for Sentiment Categorization with Respect to
Rating Scales. ACL 2005 (sentence polarity data set 1.0). arXiv:cs/0506075
"""

from dataclasses import dataclass

from .base import Dataset
from .sentences import check_options, folder_of, labelled, rows_of, sentences_of

FILE = "rt_polarity.tsv"
_LABEL, _TEXT = 0, 1


@dataclass(frozen=True)
class RottenTomatoes:
    """Sentences as tokens, filled up; label 1 is a good word. The last tenth of either class is for test.

    Attributes:
        length: S, tokens of a sentence with [CLS] and [SEP], between 3 and 512; longer ones are cut, of 32
            tokens 24 %.
        tokenizer: ``"training"``: the most frequent words of the training sentences, and so no epsilon
            (``fitted_inputs``); ``hf:NAME`` or ``hf:FOLDER``: a transformer's own; else the file of a public
            list of words, one a line.
        max_tokens: V of words at most, five special ones counted.
    """

    length: int = 32
    tokenizer: str = "training"
    max_tokens: int = 4000

    def __post_init__(self) -> None:
        check_options(self.tokenizer, self.length, self.max_tokens)

    def load(self) -> Dataset:
        how = "get rt-polaritydata of cs.cornell.edu/people/pabo/movie-review-data: a row a label and a text"
        path = folder_of("rotten_tomatoes", [FILE], how) / FILE
        every = labelled(path, rows_of(path, 2, "label\ttext"), _TEXT, _LABEL)
        classes = [[one for one in every if one[1] == label] for label in (0, 1)]
        tested = [len(some) // 10 for some in classes]
        train = [one for some, last in zip(classes, tested, strict=True) for one in some[: len(some) - last]]
        test = [one for some, last in zip(classes, tested, strict=True) for one in some[len(some) - last :]]
        return sentences_of("rotten_tomatoes", train, test, self.tokenizer, self.length, self.max_tokens)
