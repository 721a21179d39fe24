"""Oracles: leakage specification, section 10, by hand; the textbook recursion of the common subsequence."""

from functools import cache

import pytest
import torch

from gauntlet.attacks.leakage.parts.rouge import rouge
from gauntlet.core.seeds import generator


def words(text):
    names = {"the": 0, "cat": 1, "sat": 2, "on": 3, "mat": 4, "a": 5}
    return torch.tensor([[names[word] for word in text.split()]])


def test_a_sentence_without_its_verb_scores_as_the_specification_says():
    """R-1: P 5/5, R 5/6, F 10/11. R-2: the cat, on the, the mat of 4 and of 5, F 6/9. R-L: 5 of 5 and 6."""
    found = rouge(words("the cat on the mat"), words("the cat sat on the mat"))

    torch.testing.assert_close(found, torch.tensor([[10 / 11, 2 / 3, 10 / 11]]))


@pytest.mark.parametrize(
    ("rebuilt", "expected"),
    [
        ("the cat sat on the mat", [1.0, 1.0, 1.0]),
        ("a a a a a a", [0.0, 0.0, 0.0]),
        ("mat the on sat cat the", [1.0, 0.0, 1 / 2]),  # backwards: the bag is right, "the on the" in order
        ("the the the the the the", [1 / 3, 0.0, 1 / 3]),  # a word counts as often as it is there
    ],
)
def test_order_counts_in_pairs_and_in_the_longest_common_sequence(rebuilt, expected):
    torch.testing.assert_close(
        rouge(words(rebuilt), words("the cat sat on the mat")), torch.tensor([expected])
    )


def test_the_longest_common_sequence_is_that_of_the_recursion():
    stream = generator(0, "rouge")
    for _ in range(30):
        a, b = (stream.integers(4, size=n).tolist() for n in stream.integers(1, 40, size=2))

        @cache
        def length(i, j, a=tuple(a), b=tuple(b)):
            if not i or not j:
                return 0
            return (
                length(i - 1, j - 1) + 1 if a[i - 1] == b[j - 1] else max(length(i - 1, j), length(i, j - 1))
            )

        found = rouge(torch.tensor([a]), torch.tensor([b]))[0, 2].item()
        assert found == pytest.approx(2 * length(len(a), len(b)) / (len(a) + len(b)), abs=1e-6)


def test_one_token_has_no_pairs():
    assert rouge(torch.tensor([[3]]), torch.tensor([[3]])).tolist() == [[1.0, 0.0, 1.0]]


def test_all_three_are_those_of_the_published_package():
    """Lin's measures as google-research's rouge-score computes them, without stemming."""
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rouge1", "rouge2", "rougeL"])
    stream = generator(0, "rouge_score")
    for _ in range(30):
        a, b = (stream.integers(5, size=n).tolist() for n in stream.integers(1, 30, size=2))
        theirs = scorer.score(*(" ".join(f"word{t}" for t in text) for text in (b, a)))

        found = rouge(torch.tensor([a]), torch.tensor([b]))[0].tolist()
        wanted = [theirs[kind].fmeasure for kind in ("rouge1", "rouge2", "rougeL")]
        assert found == pytest.approx(wanted, abs=1e-6)
