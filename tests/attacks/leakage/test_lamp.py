"""Oracles: orders that keep every word, the right order by the gradient alone, a likely one by language."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from gauntlet.attacks.leakage.lamp import LAMP
from gauntlet.attacks.leakage.parts.requirements import refuse_unmet
from gauntlet.attacks.leakage.parts.trigrams import trigrams_of
from gauntlet.attacks.leakage.search.embedded import SpecialTokens
from gauntlet.attacks.leakage.search.reordering import Fluency, Reordering, rearrangements
from gauntlet.attacks.leakage.search.text_matching import text_matching
from gauntlet.clients.models.tiny_gpt import TinyGpt
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge, Records
from gauntlet.core.observation import Observation
from gauntlet.core.seeds import generator, seeded_torch

WORDS, LENGTH = 30, 6


def spoken(x=None, size=1):
    """Return the gradient of a small language model on sentences, and these."""
    with seeded_torch(generator(0, "weights")):
        model = TinyGpt(width=32, blocks=2).build((LENGTH,), WORDS)
    said = torch.from_numpy(generator(0, "text").integers(WORDS, size=(size, LENGTH + 1))) if x is None else x
    x, y = said[:, :-1], said[:, 1:]
    loss = functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
    knowledge = LeakageKnowledge(batch_size=len(x), local_steps=1, lr=1.0)
    seen = Observation(
        0, 0, model, Layout.of(model), b"", -gradient, (LENGTH,), WORDS, (0.0, WORDS - 1.0), knowledge,
        kind="gradient", num_tokens=WORDS, label_shape=(LENGTH,),
    )  # fmt: skip
    return seen, x, y


def test_other_orders_keep_every_word_and_what_frames_them():
    words = torch.tensor([1, 2, 3, 5])
    found = rearrangements(words, 7, 200, generator(0, "orders"))

    assert torch.equal(found[0], torch.arange(7))
    assert torch.equal(found.sort(dim=1).values, torch.arange(7).expand(200, -1))
    assert (found[:, [0, 4, 6]] == torch.tensor([0, 4, 6])).all()
    assert len(found.unique(dim=0)) == 14  # of 24: itself, 10 moves of a run, 3 exchanges that are none
    assert Counter((found[1::4] != torch.arange(7)).sum(dim=1).tolist()) == {2: 50}  # exchanges


def test_a_sentence_of_one_word_has_one_order():
    assert torch.equal(
        rearrangements(torch.tensor([2]), 4, 5, generator(0, "orders")), torch.arange(4).expand(5, -1)
    )


def reordering(seen, model=None, weight=0.0, candidates=60):
    matching = text_matching(seen, SpecialTokens(), "cosine_layerwise", True)
    stream = generator(0, "orders")
    return matching, Reordering(matching.step, matching.cost, Fluency(model, weight), candidates, stream)


def test_the_right_words_in_a_wrong_order_are_put_right_by_the_gradient():
    """With no language model an order is taken only if the matching cost falls: here three looks do."""
    seen, x, y = spoken()
    matching, orders = reordering(seen)
    moved = x[:, [1, 0, 2, 3, 5, 4]]
    last = 20 * functional.one_hot(y[:, -1:], WORDS).float()
    variables = matching.step.vectors(moved)[None], last[None]
    costs = [float(matching.cost(variables).detach())]
    for _ in range(3):
        orders.apply(variables)
        costs.append(float(matching.cost(variables).detach()))

    assert costs == sorted(costs, reverse=True)
    assert torch.equal(matching.step.tokens(variables[0])[0], x)
    assert orders.taken[1] == 3
    assert 1 <= orders.taken[0] <= 3


def test_where_the_gradient_says_nothing_the_language_model_chooses():
    seen, _, _ = spoken()
    rule = (torch.arange(20)[:, None] + torch.arange(LENGTH)) % WORDS  # each word is the one before plus 1
    _, orders = reordering(seen, trigrams_of(rule, WORDS), weight=1.0, candidates=300)
    orders = replace(orders, cost=lambda variables: torch.zeros(len(variables[0])))
    variables = orders.step.vectors(torch.tensor([[6, 5, 3, 4, 7, 8]]))[None], torch.zeros(1, 1, 1, WORDS)
    for _ in range(3):
        orders.apply(variables)

    assert orders.step.tokens(variables[0])[0, 0].tolist() == [3, 4, 5, 6, 7, 8]


def test_a_sentence_comes_back_with_a_language_model_of_other_text():
    """Every word of a sentence, in order; the model's text has no sentence of the client's."""
    stream = generator(1, "other")
    begin = torch.from_numpy(stream.integers(WORDS, size=(100, 1)))
    seen, x, _ = spoken((torch.tensor([[11]]) + 3 * torch.arange(LENGTH + 1)) % WORDS)
    other = (begin + 3 * torch.arange(LENGTH)) % WORDS
    other = other[(other != x).any(dim=1)]
    told = replace(seen.knowledge, auxiliary=Records(other, other))
    found = LAMP(max_iterations=120, draws=10).reconstruct(
        [replace(seen, knowledge=told)], generator(0, "attack")
    )

    assert torch.equal(found.x, x)
    assert found.details["nats"] < 2.5  # of any words it is log 30 = 3.4
    assert found.details["reordered"] <= 1


def test_without_other_text_it_works_by_the_gradient_alone():
    seen, x, _ = spoken()
    found = LAMP(max_iterations=60, draws=10, swap_every=20).reconstruct([seen], generator(0, "attack"))

    assert found.details["nats"] == 0
    assert float((found.x == x).float().mean()) > 1 / 3


def test_a_step_size_is_needed_by_differences_alone():
    seen, _, _ = spoken()
    unknown = replace(seen, kind="update", knowledge=replace(seen.knowledge, lr=None))
    refuse_unmet(LAMP(), unknown)
    with pytest.raises(PluginError, match="LAMP needs to know lr with distance 'l2_l1'"):
        refuse_unmet(LAMP(distance="l2_l1"), unknown)


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="candidates must be finite and at least 1, got 0"):
        LAMP(candidates=0)
    with pytest.raises(ValueError, match="distance must be one of cosine_layerwise, l2_l1, got 'l2'"):
        LAMP(distance="l2")
