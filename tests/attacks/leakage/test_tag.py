"""Oracles: the client's own gradient at the truth, sentences that come back, and what is known of them."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage.parts.requirements import refuse_unmet
from gauntlet.attacks.leakage.search import layerwise as by_layer
from gauntlet.attacks.leakage.search.distances import squared
from gauntlet.attacks.leakage.search.embedded import SpecialTokens, embedded
from gauntlet.attacks.leakage.search.text_matching import text_matching
from gauntlet.attacks.leakage.tag import TAG
from gauntlet.clients.models.tiny_gpt import TinyGpt
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation
from gauntlet.core.seeds import generator, seeded_torch

WORDS, LENGTH, LR = 50, 8, 0.1


def gpt():
    with seeded_torch(generator(0, "weights")):
        return TinyGpt(width=32, blocks=2).build((LENGTH,), WORDS)


class Padded(nn.Module):
    """Two classes, from the mean of all words but 0, which fills sentences up."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, 16), nn.Embedding(LENGTH, 16)
        self.inner, self.head = nn.Linear(16, 32), nn.Linear(32, 2)

    def forward(self, x):
        there = (x != 0).float()[..., None]
        h = self.inner(self.words(x) + self.places(torch.arange(LENGTH).expand_as(x))).tanh()
        return self.head((h * there).sum(dim=1) / there.sum(dim=1))


def padded():
    with seeded_torch(generator(0, "weights")):
        return Padded()


def text(size=1, seed=0, length=LENGTH):
    return torch.from_numpy(generator(seed, "text").integers(5, WORDS, size=(size, length + 1)))


def step(model, x, y, lr=LR):
    layout = Layout.of(model)
    loss = functional.cross_entropy(model(x).flatten(0, -2), y.flatten())
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
    knowledge = LeakageKnowledge(batch_size=len(x), local_steps=1, lr=lr)
    return Observation(
        0, 0, model, layout, b"", -(lr or LR) * gradient, tuple(x.shape[1:]), int(model(x).shape[-1]),
        (0.0, WORDS - 1.0), knowledge, num_tokens=WORDS, label_shape=tuple(y.shape[1:]),
    )  # fmt: skip


def spoken(size=1, seed=0):
    said = text(size, seed)
    return step(gpt(), said[:, :-1], said[:, 1:]), said[:, :-1], said[:, 1:]


@pytest.mark.parametrize("searches", [1, 3])
def test_at_the_true_vectors_the_gradient_is_the_clients_but_for_the_words_own(searches):
    seen, x, y = spoken(2)
    made = embedded(seen, SpecialTokens())
    found = made.gradients(made.vectors(x).expand(searches, -1, -1, -1) * made.unit, y)

    wanted = seen.gradient()[made.counts]
    assert len(wanted) == len(seen.update) - WORDS * 32 - 2 * 32  # nor the biases of two blocks' keys
    assert torch.allclose(found, wanted.expand(searches, -1), atol=1e-6)


def test_the_cosine_of_every_layer_at_the_truth_is_1():
    """Biases of keys have no gradient but rounding, whose direction is another each time."""
    seen, x, y = spoken()
    matching = text_matching(seen, SpecialTokens(), "cosine_layerwise", True)
    found = matching.distance(matching.step.gradients(matching.step.vectors(x)[None] * matching.step.unit, y))

    assert "blocks.0.key.bias" not in {slot.name for slot in matching.step.layout.parameters}
    assert float(found.detach()) == pytest.approx(0, abs=1e-5)


def test_absolute_values_of_weight_0_leave_the_squares(monkeypatch):
    """TAG's distance with lambda = 0 is DLG's."""
    seen, _, _ = spoken()
    made = embedded(seen, SpecialTokens())
    target = seen.gradient()[made.counts]
    others = target + torch.linspace(-1, 1, len(target)).expand(2, -1)
    monkeypatch.setattr(by_layer, "ABSOLUTE", 0.0)

    found = by_layer.layerwise("l2_l1", target, made.layout)(others)
    assert torch.allclose(found, squared(target)(others), rtol=1e-5)


def test_the_sentence_of_a_step_and_its_labels_come_back():
    """Chance finds 1 word in 50. The labels are the words that follow: that of the last is searched."""
    seen, x, y = spoken()
    found = TAG(max_iterations=200, restarts=1).reconstruct([seen], generator(0, "attack"))

    assert float((found.x == x).float().mean()) >= 0.75
    assert float((found.y == y).float().mean()) >= 0.75
    assert found.cost < 0.1
    assert torch.equal(found.progress.x[-1], found.x)


def test_without_the_link_labels_are_searched_and_are_no_longer_those_of_the_start():
    """A public implementation returns the largest of the labels that it began with: 1 in 50."""
    seen, _, y = spoken()
    found = TAG(max_iterations=200, restarts=1, next_words=False).reconstruct([seen], generator(0, "attack"))

    assert float((found.y == y).float().mean()) >= 0.5


def test_of_one_sentence_the_class_is_read_and_of_several_it_must_be_told():
    x, y = text(2)[:, :-1], torch.tensor([1, 0])
    one = TAG(max_iterations=3).reconstruct([step(padded(), x[:1], y[:1])], generator(0, "attack"))
    assert one.y.tolist() == [1]

    several = step(padded(), x, y)
    with pytest.raises(PluginError, match=r"labels of 2 examples .* labels_known = true"):
        refuse_unmet(TAG(), several)
    told = replace(several, knowledge=replace(several.knowledge, labels=(0, 1)))
    found = TAG(max_iterations=3).reconstruct([told], generator(0, "attack"))
    assert found.y.tolist() == [0, 1]


def test_what_frames_a_sentence_stays_and_its_length_is_read_from_the_positions():
    """Five words and what begins and ends them, filled up with 0."""
    x = text(1)[:, :-1]
    x[0, 0], x[0, 6], x[0, 7:] = 2, 3, 0
    attack = TAG(max_iterations=3, first=2, last=3, padding=0, words_from=5)
    found = attack.reconstruct([step(padded(), x, torch.tensor([1]))], generator(0, "attack"))

    assert found.x[0, [0, 6, 7]].tolist() == [2, 3, 0]
    assert int(found.x[0, 1:6].min()) >= 5


def test_a_step_size_that_is_not_known_is_asked_for():
    said = text()
    with pytest.raises(PluginError, match="needs to know batch_size, lr"):
        refuse_unmet(TAG(), step(gpt(), said[:, :-1], said[:, 1:], lr=None))


class Unsmooth(nn.Module):
    """Reads its words as one-hot rows of a fixed matrix, and embeds nothing."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(WORDS, 2)

    def forward(self, x):
        return self.head(functional.one_hot(x, WORDS).float().mean(dim=1))


def test_models_and_options_with_which_nothing_can_be_searched_are_refused():
    x, y = text(1)[:, :-1], torch.tensor([1])
    with pytest.raises(PluginError, match="needs an embedding of 50 tokens; the model has none"):
        refuse_unmet(TAG(), step(Unsmooth(), x, y))
    with pytest.raises(PluginError, match="words_from = 50 leaves no word of 50 tokens"):
        refuse_unmet(TAG(words_from=50), step(padded(), x, y))
    with pytest.raises(PluginError, match="special token 77 is none of 50"):
        refuse_unmet(TAG(first=77), step(padded(), x, y))
    with pytest.raises(ValueError, match="first must be a token, at least 0, or None; got -1"):
        TAG(first=-1)
    with pytest.raises(ValueError, match="distance must be one of l2_l1, l2, got 'cosine'"):
        TAG(distance="cosine")
