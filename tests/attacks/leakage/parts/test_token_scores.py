"""Oracle: leakage specification, section 10: words alone are scored, and paired by 1 - ROUGE-1; by hand."""

import pytest
import torch

from gauntlet.attacks.leakage.parts.baselines import baselines
from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.attacks.leakage.parts.token_scores import match_tokens, token_scores
from gauntlet.core.observation import Reconstruction, Truth
from gauntlet.core.seeds import generator

PAD, CLS, SEP = 0, 2, 3
FRAMING = (PAD, CLS, SEP)


def rebuilt(*rows):
    x = torch.tensor(rows)
    return Reconstruction(x, torch.zeros(len(x), dtype=torch.int64), 0.0, (), "closed_form", {})


def true(*rows, framing=FRAMING):
    return Truth(torch.tensor(rows), torch.zeros(len(rows), dtype=torch.int64), framing=framing)


def test_what_frames_a_sentence_counts_for_nothing():
    """Of two words one is right; six of eight positions are given. Padding counted, it would be 7/8."""
    found = score(rebuilt([CLS, 7, 9, SEP, 0, 0, 0, 0]), true([CLS, 7, 8, SEP, 0, 0, 0, 0]))

    assert found.token_accuracy.tolist() == [0.5]
    assert found.rouge.tolist() == [[0.5, 0.0, 0.5]]
    assert found.overlap.tolist() == [[0.5, 0.5]]
    unframed = score(rebuilt([CLS, 7, 9, SEP, 0, 0, 0, 0]), true([CLS, 7, 8, SEP, 0, 0, 0, 0], framing=()))
    assert unframed.token_accuracy.tolist() == [pytest.approx(7 / 8)]


def test_a_sentence_of_nothing_but_padding_scores_nothing():
    found = score(rebuilt([0, 0, 0, 0, 0, 0, 0, 0]), true([CLS, 7, 8, SEP, 0, 0, 0, 0]))

    assert found.token_accuracy.tolist() == [0.0]
    assert (found.rouge == 0).all()
    assert (found.overlap == 0).all()


def test_words_behind_the_true_end_are_wrong_and_so_is_a_word_that_is_missing():
    """By hand: two right of three positions with a word; ROUGE-1 is 2 * 2 / (3 + 2)."""
    for found, truth in (([CLS, 7, 8, 9], [CLS, 7, 8, SEP]), ([CLS, 7, 8, SEP], [CLS, 7, 8, 9])):
        scores = score(rebuilt(found), true(truth))
        assert scores.token_accuracy.tolist() == [pytest.approx(2 / 3)]
        assert scores.rouge[0, 0].item() == pytest.approx(0.8)


def test_a_sentence_without_a_word_is_exact_where_none_was_rebuilt():
    found = score(rebuilt([CLS, SEP, 0], [CLS, 9, SEP]), true([CLS, SEP, 0], [CLS, 9, SEP]))

    assert found.token_accuracy.tolist() == [1.0, 1.0]
    assert found.rouge[0].tolist() == [0.0, 0.0, 0.0]


def test_sentences_are_paired_by_their_words_and_not_by_their_places():
    """Of (1 2 3 4) stands (4 1 2 3), no word in place; by places it would be paired with (1 9 9 9)."""
    truth, found = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]]), torch.tensor([[1, 9, 9, 9], [4, 1, 2, 3]])

    assert match_tokens(found, truth).tolist() == [1, 0]
    scores = token_scores(found, truth)
    assert scores.rouge[:, 0].tolist() == [1.0, 0.0]


def test_of_sentences_of_the_same_words_each_is_paired_with_its_own_order():
    truth = torch.tensor([[1, 2, 3], [3, 2, 1], [2, 3, 1]])

    assert match_tokens(truth[[2, 0, 1]], truth).tolist() == [1, 2, 0]
    assert token_scores(truth[[2, 0, 1]], truth).accuracy.tolist() == [1.0, 1.0, 1.0]


def test_pairs_are_the_best_of_all_by_rouge_1():
    """Against every permutation, of random sentences of few words with repeats and padding."""
    from itertools import permutations

    stream = generator(0, "pairs")
    for _ in range(20):
        found, truth = (torch.from_numpy(stream.integers(0, 6, (4, 5))) for _ in range(2))
        taken = token_scores(found, truth, FRAMING).rouge[:, 0].sum().item()
        every = [token_scores(found, truth, FRAMING, torch.tensor(o)) for o in permutations(range(4))]
        assert taken == pytest.approx(max(one.rouge[:, 0].sum().item() for one in every))


def test_labels_that_are_words_are_scored_without_what_frames_them():
    """By hand: of the labels 8 and 9 one was found; with four that fill up it would be 5/6."""
    truth = Truth(torch.tensor([[7, 8, 9, 0, 0, 0]]), torch.tensor([[8, 9, 0, 0, 0, 0]]), framing=(PAD,))
    found = Reconstruction(truth.x, torch.tensor([[8, 5, 0, 0, 0, 0]]), 0.0, (), "closed_form", {})
    none = Reconstruction(truth.x, torch.zeros(1, 6, dtype=torch.int64), 0.0, (), "closed_form", {})

    assert [score(one, truth).label_accuracy for one in (found, none)] == [0.5, 0.0]
    empty = Truth(torch.zeros_like(truth.x), torch.zeros_like(truth.y), framing=(PAD,))
    assert score(none, empty).label_accuracy == 1.0


def test_a_guess_without_a_look_is_a_word_wherever_one_stands():
    """7 is the most frequent word, though padding is more frequent: right at two of four positions."""
    found = baselines(true([CLS, 7, 8, 7, 9, SEP, *[0] * 6]), generator(0, "baseline"), (0.0, 9.0))

    assert found["constant"].token_accuracy.tolist() == [0.5]
    assert found["constant"].rouge[0, 0].item() == pytest.approx(0.5)
