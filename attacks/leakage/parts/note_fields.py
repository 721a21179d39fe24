"""What a language model writes into a note behind a rebuilt sentence, with tokens that a message showed.

A RECONSTRUCTION: from the abstract is that a model is trained on personal notes so that personal data comes
back; that a note is written behind the sentence, and with which tokens, is ours.

Source: ReCIT: Reconstructing Full Private Data from Gradient in Parameter-Efficient Fine-Tuning of Large
Language Models. 2025. arXiv:2504.20570 (the abstract).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

FREE = -1  # in a note: a token that the model writes


def with_notes(
    model: nn.Module, sentences: Sequence[Tensor], note: Sequence[int], bags: Sequence[Tensor], length: int
) -> Tensor:
    """Return each sentence with a note behind it, word by word the likeliest of a bag.  # [B, length]

    Where sentence and note are longer than the model reads, the sentence's beginning is left out.

    Args:
        model: A language model, in eval mode: its logits [B, S, V] are of the token that follows.
        sentences: Tokens, without what fills up.  # [n] each
        note: Tokens, -1 where the model is to write one; at most ``length``.
        bags: Of each sentence, the tokens that it may take, at least one.  # [k] each
        length: S, what the model reads.
    """
    rows = torch.zeros(len(sentences), length, dtype=torch.int64)
    kept = [row[max(len(row) + len(note) - length, 0) :] for row in sentences]
    for row, words in zip(rows, kept, strict=True):
        row[: len(words)] = words
    ends = torch.tensor([len(words) for words in kept])
    every = torch.arange(len(rows))
    for number, token in enumerate(note):
        said = torch.full((len(rows),), token)
        if token == FREE:
            with torch.no_grad():
                logits = model(rows)[every, (ends + number - 1).clamp(min=0)]  # [B, V]
            said = torch.stack([bag[one[bag].argmax()] for one, bag in zip(logits, bags, strict=True)])
        rows[every, ends + number] = said
    return rows
