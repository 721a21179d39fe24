"""Oracle: what a permutation keeps."""

from dataclasses import replace

import torch

from gauntlet.attacks.poisoning.permutation import Permutation
from gauntlet.core.seeds import generator


def test_the_same_values_stand_in_other_places(scene):
    values = torch.arange(50.0)[None]
    own, view = scene(values, values)
    sent, _ = Permutation().corrupt(own, view, None)
    assert torch.equal(sent.vectors.sort(dim=1).values, own.vectors)
    assert (sent.vectors == own.vectors).sum() < 6  # one on average


def test_the_order_is_the_generators(scene):
    own, view = scene(torch.arange(50.0)[None], torch.arange(50.0)[None])
    sent = [
        Permutation().corrupt(own, replace(view, generator=generator(0, "order", t)), None)[0].vectors
        for t in (1, 1, 2)
    ]
    assert torch.equal(sent[0], sent[1])
    assert not torch.equal(sent[0], sent[2])
