"""SST-2: what reviewers say of films in phrases and sentences, bad or good.

Source: Socher, Perelygin, Wu, Chuang, Manning, Ng, Potts. Recursive Deep Models for Semantic Compositionality
Over a Sentiment Treebank. EMNLP 2013. The phrases as Wang, Singh, Michael, Hill, Levy, Bowman. GLUE. ICLR
2019, Section 3.1. arXiv:1804.07461
"""

from dataclasses import dataclass

from .base import Dataset
from .sentences import check_options, folder_of, labelled, rows_of, sentences_of

PHRASES = ("train.tsv.gz", "dev.tsv")
SENTENCES = ("sentences_train.tsv", "test_labeled.tsv")
_TEXT, _LABEL = 0, 1


@dataclass(frozen=True)
class Sst2:
    """Phrases or sentences as tokens, filled up; label 1 is a good word.

    Attributes:
        length: S, tokens of a sentence with [CLS] and [SEP], between 3 and 512; longer ones are cut, of 32
            tokens 4 % of the phrases and 19 % of the whole sentences.
        tokenizer: ``"training"``: the most frequent words of the training sentences, and so no epsilon
            (``fitted_inputs``); ``hf:NAME`` or ``hf:FOLDER``: a transformer's own; else the file of a public
            list of words, one a line.
        max_tokens: V of words at most, five special ones counted.
        phrases: The 67 349 phrases of GLUE, and its 872 sentences of ``dev`` for test; or else the 6920 whole
            sentences, and the 1821 of the treebank's own test.
    """

    length: int = 32
    tokenizer: str = "training"
    max_tokens: int = 4000
    phrases: bool = True

    def __post_init__(self) -> None:
        check_options(self.tokenizer, self.length, self.max_tokens)

    def load(self) -> Dataset:
        files = PHRASES if self.phrases else SENTENCES
        how = "get SST-2 of gluebenchmark.com" if self.phrases else "get the treebank of nlp.stanford.edu"
        folder = folder_of("sst2", files, how)
        train, test = (
            labelled(folder / file, rows_of(folder / file, 2, "sentence\tlabel"), _TEXT, _LABEL)
            for file in files
        )
        return sentences_of("sst2", train, test, self.tokenizer, self.length, self.max_tokens)
