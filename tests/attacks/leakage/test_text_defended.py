"""Oracles: at the truth, what an attacker that knows of a defense compares is what the client sent."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from gauntlet.attacks.leakage.lamp import LAMP
from gauntlet.attacks.leakage.search.embedded import SpecialTokens, embedded
from gauntlet.attacks.leakage.search.text_matching import Defended, text_matching
from gauntlet.attacks.leakage.tag import TAG
from gauntlet.clients.client_defenses.gradient_pruning import GradientPruning
from gauntlet.clients.models.tiny_gpt import TinyGpt
from gauntlet.core.dropout import masked, seen_calls
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation
from gauntlet.core.seeds import generator, seeded_torch

WORDS, LENGTH, RATE = 30, 6, 0.5


def spoken(size=1, dropout=0.0):
    """Return the message of a small language model, sentences, labels, and the masks of the step."""
    with seeded_torch(generator(0, "weights")):
        model = TinyGpt(width=16, blocks=2, dropout=dropout).build((LENGTH,), WORDS)
    said = torch.from_numpy(generator(0, "text").integers(WORDS, size=(size, LENGTH + 1)))
    x, y, stream = said[:, :-1], said[:, 1:], generator(0, "masks")
    calls = seen_calls(model.train(), x)
    masks = [torch.from_numpy(stream.random(shape) >= rate).float() for rate, shape in calls]
    with masked(model, masks):
        loss = functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
    seen = Observation(
        0, 0, model.eval(), Layout.of(model), b"", -gradient, (LENGTH,), WORDS, (0.0, WORDS - 1.0),
        LeakageKnowledge(size, local_steps=1, lr=1.0), kind="gradient", num_tokens=WORDS,
        label_shape=(LENGTH,),
    )  # fmt: skip
    return seen, x, y, masks


def pruned(seen, rate=0.8):
    """Return a message as ``gradient_pruning`` leaves it."""
    found, defense = seen.update.clone(), GradientPruning(rate)
    for slot in seen.layout.parameters:
        defense._prune(found[None, slot.start : slot.start + slot.size])
    return replace(seen, update=found)


@pytest.mark.parametrize("distance", ["cosine_layerwise", "l2_l1", "l2"])
def test_of_a_pruned_message_the_truth_fits_what_was_left_exactly(distance):
    seen, x, y, _ = spoken()
    seen = pruned(seen)

    def at_the_truth(defended):
        matching = text_matching(seen, SpecialTokens(), distance, True, defended)
        vectors = matching.step.vectors(x)[None] * matching.step.unit
        return float(matching.distance(matching.step.gradients(vectors, y)).detach())

    assert at_the_truth(Defended(masked=True)) == pytest.approx(0, abs=1e-5)
    assert at_the_truth(Defended()) > 0.05


@pytest.mark.parametrize("searches", [1, 3])
def test_with_the_clients_masks_the_gradient_is_the_clients(searches):
    seen, x, y, masks = spoken(2, RATE)
    made = embedded(seen, SpecialTokens(), dropping=True)
    vectors = (made.vectors(x) * made.unit).expand(searches, -1, -1, -1)
    given = tuple(mask.expand(searches, *mask.shape) for mask in masks)
    wanted = seen.gradient()[made.counts].expand(searches, -1)

    assert [call.shape for call in made.calls] == [tuple(mask.shape[1:]) for mask in masks]
    assert {call.rate for call in made.calls} == {RATE}
    assert torch.allclose(made.gradients(vectors, y, given), wanted, atol=1e-6)
    whole = tuple(torch.full_like(mask, 1 - RATE) for mask in given)  # nothing dropped, in scale
    assert not torch.allclose(made.gradients(vectors, y, whole), wanted, atol=1e-3)
    plain = embedded(seen, SpecialTokens()).gradients(vectors, y)
    assert torch.allclose(made.gradients(vectors, y, whole), plain, atol=1e-6)


def test_masks_begin_as_draws_stay_between_0_and_1_and_pay_for_another_rate():
    """By hand: a mask that drops nothing is off its rate by 0.5, in each of five calls."""
    seen, _, _, masks = spoken(1, RATE)
    matching = text_matching(seen, SpecialTokens(), "cosine_layerwise", True, Defended(dropout=True))
    x, q, *drawn = matching.start(generator(0, "start"))
    ones = [torch.ones(1, *mask.shape) for mask in masks]
    outside = (x[None], q[None], *(3 * one - 2 * one.cumsum(-1).fmod(2) for one in ones))
    matching.project(outside)

    assert len(masks) == 5
    assert all(set(mask.unique().tolist()) == {0.0, 1.0} for mask in drawn)
    assert [mask.shape for mask in drawn] == [mask.shape for mask in masks]
    assert matching.prior((x[None], q[None], *ones)).tolist() == pytest.approx([1e-4 * 5 * 0.5])
    assert all(float(mask.min()) >= 0 and float(mask.max()) == 1 for mask in outside[2:])


@pytest.mark.parametrize("attack", [TAG(max_iterations=12, restarts=2), LAMP(max_iterations=12, draws=3)])
def test_both_attacks_search_masks_and_sentences(attack):
    """Fewer iterations than find them: the cost falls."""
    seen, _, _, _ = spoken(1, RATE)
    made = replace(attack, dropout=True, masked=True).reconstruct([seen], generator(0, "attack"))

    assert made.x.shape == (1, LENGTH)
    assert made.cost < made.trace[0]


@pytest.mark.parametrize("attack", [TAG(dropout=True), LAMP(dropout=True)])
def test_a_model_that_drops_nothing_has_no_masks_to_search(attack):
    seen, _, _, _ = spoken()
    with pytest.raises(PluginError, match="dropout = true needs a model that drops something in training"):
        attack.check(seen)
