"""Tokens out of the gradients of two embeddings, against autograd and by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.attacks.leakage import LEAKAGE_ATTACKS
from gauntlet.attacks.leakage.contract.specimens import Reader, example, message
from gauntlet.attacks.leakage.embedding_rows import EmbeddingRows
from gauntlet.attacks.leakage.parts.baselines import baselines
from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.attacks.leakage.parts.outputs import checked_reconstruction
from gauntlet.attacks.leakage.parts.requirements import refuse_unmet
from gauntlet.attacks.leakage.parts.token_scores import match_tokens, token_overlap
from gauntlet.core.errors import PluginError
from gauntlet.core.observation import Reconstruction, Truth
from gauntlet.core.seeds import generator


def rebuilt(observations):
    return EmbeddingRows().reconstruct(observations, generator(0, "attack"))


@pytest.mark.parametrize("number", range(10))
def test_the_one_sequence_of_a_step_is_found_with_its_labels(number):
    """Five tokens of ten, some of them twice; the update is autograd's."""
    observations, truth = example(number, tokens=True)
    found = rebuilt(observations)

    assert torch.equal(found.x, truth.x)
    assert torch.equal(found.y, truth.y)
    assert found.cost < 1e-9
    assert found.details["rank"] == 5


def test_a_gradient_with_noise_has_a_cost_that_says_so():
    """Noise as long as the gradient: the cost is about 1 (its square over the gradient's)."""
    (seen,), _ = example(tokens=True)
    noise = torch.randn(len(seen.update), generator=torch.Generator().manual_seed(0))
    noise *= seen.update.norm() / noise.norm()

    assert rebuilt([replace(seen, update=seen.update + noise)]).cost > 0.3


def test_a_model_without_learned_positions_is_refused():
    (seen,), _ = example(tokens=True)
    model = nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 10))
    with pytest.raises(
        PluginError, match=r"one of 5 positions that are trained, of one width; .* has 0\.wei"
    ):
        EmbeddingRows().check(replace(seen, model=model))


class Normed(Reader):
    """The reader behind a layer norm, of another width."""

    def __init__(self, width):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(10, width), nn.Embedding(5, width)
        self.inner = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 16))


def seen_by(model):
    x = torch.tensor([[3, 1, 4, 1, 5]])
    return message(model, x, torch.tensor([[1, 4, 1, 5, 9]]), 0, 0, {})


def test_more_positions_than_the_embeddings_are_wide_are_refused():
    with pytest.raises(PluginError, match=r"got 5 positions of width 4; .* a wider model"):
        refuse_unmet(EmbeddingRows(), seen_by(Normed(4)))


@pytest.mark.parametrize(("width", "rank", "stopped"), [(5, 4, "not_certified"), (6, 5, "closed_form")])
def test_a_rank_that_does_not_give_the_order_is_said_to_be_no_proof(width, rank, stopped):
    """A layer norm drops a shift of all values: of width 5, what comes back spans four dimensions."""
    torch.manual_seed(0)
    found = rebuilt([seen_by(Normed(width))])

    assert found.details["rank"] == rank
    assert found.stopped == stopped


@pytest.mark.parametrize("name", ["dlg", "idlg", "bias_trick"])
def test_an_attack_on_floats_is_refused_for_tokens_and_one_on_tokens_for_floats(name):
    tokens, floats = example(tokens=True)[0][0], example()[0][0]
    with pytest.raises(
        PluginError, match=r"works on inputs that are floats, got tokens \(client 0, round 0\)"
    ):
        refuse_unmet(LEAKAGE_ATTACKS.build(name), tokens)
    with pytest.raises(PluginError, match="works on inputs that are tokens, got floats"):
        refuse_unmet(EmbeddingRows(), floats)
    with pytest.raises(PluginError, match=r"one class each, got labels of shape \[3\]"):
        refuse_unmet(LEAKAGE_ATTACKS.build(name), replace(floats, label_shape=(3,)))


def test_tokens_are_right_or_wrong_once_each_sequence_has_found_its_own():
    """By hand: of the true (1 2 3), (4 5 6), rebuilt are (4 5 0), (1 2 3): 1 and 2/3 of their positions."""
    truth = Truth(torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.tensor([[2, 3, 4], [5, 6, 1]]))
    found = Reconstruction(
        torch.tensor([[4, 5, 0], [1, 2, 3]]), torch.tensor([[5, 6, 9], [2, 3, 4]]), 0.0, (), "closed_form", {}
    )
    scores = score(found, truth, (0.0, 9.0))

    assert scores.order.tolist() == [1, 0]
    assert scores.token_accuracy.tolist() == pytest.approx([1, 2 / 3])
    assert scores.label_accuracy == pytest.approx(5 / 6)
    assert scores.overlap.flatten().tolist() == pytest.approx([1, 1, 2 / 3, 2 / 3])
    assert bool(scores.psnr.isnan().all() and scores.mse.isnan().all())
    with pytest.raises(ValueError, match="expected a reconstruction of shape"):
        match_tokens(found.x[:1], truth.x)


def test_different_tokens_have_a_precision_and_a_recall_wherever_they_stand():
    """By hand: of 1 and 9, half are in (1 2 3 1), whose three different tokens are found to a third."""
    found = token_overlap(torch.tensor([[1, 1, 9, 9]]), torch.tensor([[1, 2, 3, 1]]))

    assert found.tolist() == [pytest.approx([1 / 2, 1 / 3])]


def test_what_no_attack_at_all_would_score_of_tokens():
    """The most frequent token is right where it stands: at 3 of 6 positions; noise at about one of 10."""
    x = torch.tensor([[7, 7, 3], [7, 1, 2]])
    found = baselines(Truth(x, x), generator(0, "baseline"), (0.0, 9.0))
    many = baselines(Truth(torch.zeros(1, 10_000).long(), x), np.random.default_rng(0), (0.0, 9.0))

    assert sorted(found["constant"].token_accuracy.tolist()) == pytest.approx([1 / 3, 2 / 3])
    assert float(many["noise"].token_accuracy[0]) == pytest.approx(0.1, abs=0.015)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": torch.zeros(1, 5)}, "x must hold tokens from 0 to 9, got torch.float32"),
        ({"x": torch.full((1, 5), 10)}, "x must hold tokens from 0 to 9, got torch.int64"),
        ({"y": torch.zeros(1).long()}, r"y must be \[1, 5\], got \[1\]"),
        ({"artefact": "rows"}, "artefact 'rows' does not go with what was rebuilt"),
    ],
)
def test_what_an_attack_hands_back_amiss_is_refused(change, words):
    observations, _ = example(tokens=True)
    found = rebuilt(observations)
    with pytest.raises(PluginError, match=words):
        checked_reconstruction(replace(found, **change), observations, "it")
    assert checked_reconstruction(found, observations, "it").x.dtype == torch.int64
