"""LiRA beside normal laws in closed form, shadows by hand, and a client of digits."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from gauntlet.attacks.leakage.contract.specimens import example
from gauntlet.attacks.leakage.lira import LiRA, log_ratios
from gauntlet.attacks.leakage.membership import Membership
from gauntlet.attacks.leakage.parts.ranking import auc
from gauntlet.attacks.leakage.parts.requirements import refuse_unmet
from gauntlet.attacks.leakage.parts.requirements import told as told_of
from gauntlet.attacks.leakage.parts.shadows import drawn, shadow_updates
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge, Records
from gauntlet.core.observation import Observation
from gauntlet.core.seeds import generator


@pytest.mark.parametrize("pooled", [False, True])
def test_a_ratio_is_that_of_two_normal_laws(pooled):
    """Beside scipy: the moments of the shadows with a candidate, and of those without."""
    stream = np.random.default_rng(0)
    shadows, observed = (
        torch.from_numpy(stream.normal(3, 2, (40, 5))),
        torch.from_numpy(stream.normal(3, 2, 5)),
    )
    chosen = drawn(5, 2, 8, 40, stream)[:40]
    found = log_ratios(observed, shadows, chosen, pooled)
    laws = [
        [(shadows[rows[:, h], h].mean(), shadows[rows[:, h], h].var()) for h in range(5)]
        for rows in (chosen, ~chosen)
    ]
    widths = [np.mean([float(v) for _, v in law]) for law in laws]
    for h in range(5):
        each = [
            stats.norm.logpdf(float(observed[h]), float(mean), np.sqrt(widths[i] if pooled else float(var)))
            for i, (mean, var) in enumerate(law[h] for law in laws)
        ]
        assert float(found[h]) == pytest.approx(each[0] - each[1], rel=1e-6)


def test_of_normal_scores_the_area_is_that_of_the_best_test_whatever_each_record_is_like():
    """Score of h: N(m_h + d, 1) with it, N(m_h, 1) without. The best area is Phi(d / sqrt 2); with m_h spread
    by 10 the scores themselves have Phi(d / sqrt 2 / sqrt 101).
    """
    stream, size, d = np.random.default_rng(1), 4000, 1.5
    middle = stream.normal(0, 10, size)
    members = stream.random(size) < 0.5
    observed = torch.from_numpy(middle + d * members + stream.normal(size=size))
    chosen = torch.from_numpy(stream.random((400, size)) < 0.5)
    shadows = torch.from_numpy(middle + stream.normal(size=(400, size))) + d * chosen
    ratios = log_ratios(observed, shadows, chosen, pooled=True)
    inside = torch.from_numpy(members)
    best, raw = (stats.norm.cdf(d / np.sqrt(2) / s) for s in (1, np.sqrt(101)))
    assert auc(ratios[inside], ratios[~inside]) == pytest.approx(best, abs=0.02)
    assert auc(observed[inside], observed[~inside]) == pytest.approx(raw, abs=0.02)


@pytest.mark.parametrize(("candidates", "size"), [(4, 1), (16, 8), (30, 8), (7, 100)])
def test_every_candidate_is_in_enough_shadows_and_out_of_as_many(candidates, size):
    chosen = drawn(candidates, size, 8, 64, np.random.default_rng(0))
    assert len(chosen) >= 64
    assert int(chosen.sum(dim=0).min()) >= 8
    assert int((~chosen).sum(dim=0).min()) >= 8
    assert set(chosen.sum(dim=1).tolist()) == {max(1, min(size, candidates // 2))}


def linear(size, seed, members=True):
    """The message of one step on ``size`` records by a linear model, and who of twice as many they are."""
    stream = generator(seed, "test_lira")
    x, y = torch.from_numpy(stream.standard_normal((2 * size, 20))).float(), torch.arange(2 * size) % 3
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = torch.nn.Linear(20, 3)
    loss = torch.nn.functional.cross_entropy(model(x[:size]), y[:size])
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    update = -0.1 * torch.cat([g.flatten() for g in gradients])
    others = torch.from_numpy(stream.standard_normal((100, 20))).float()
    known = LeakageKnowledge(
        batch_size=size, local_steps=1, lr=0.1, optimizer="sgd", loss="cross_entropy",
        candidates=Records(x, y), auxiliary=Records(others, torch.arange(100) % 3),
    )  # fmt: skip
    return Observation(0, 0, model, Layout.of(model), b"", update, (20,), 3, (-9.0, 9.0), known)


def test_the_shadow_of_the_client_itself_sends_what_the_client_sends():
    """One that trains on the client's own records and no others takes the same step."""
    seen = linear(8, 0)
    chosen = (torch.arange(16) < 8)[None]
    updates, _ = shadow_updates(seen, chosen, np.random.default_rng(0))
    assert torch.allclose(updates[0], seen.update, atol=1e-7)
    twice = replace(seen, knowledge=replace(seen.knowledge, local_steps=2))
    moved, _ = shadow_updates(twice, chosen, np.random.default_rng(0))
    assert 1.5 < float(moved.norm() / updates.norm()) < 2.0


@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.9, 0.0), (0.0, 0.5), (0.9, 0.5)])
def test_a_shadow_steps_with_the_clients_momentum_and_weight_decay(momentum, weight_decay):
    """Beside torch's own SGD, over three steps on the client's records."""
    seen = linear(8, 0)
    told = {"local_steps": 3, "momentum": momentum, "weight_decay": weight_decay}
    seen = replace(seen, knowledge=replace(seen.knowledge, **told))
    records, model = seen.knowledge.candidates, copy.deepcopy(seen.model)
    steps = torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum, weight_decay=weight_decay)
    for _ in range(3):
        steps.zero_grad()
        torch.nn.functional.cross_entropy(model(records.x[:8]), records.y[:8]).backward()
        steps.step()
    moved = [a - b for a, b in zip(model.parameters(), seen.model.parameters(), strict=True)]
    known = told_of(LiRA(), seen)

    updates, _ = shadow_updates(known, (torch.arange(16) < 8)[None], np.random.default_rng(0))

    assert torch.allclose(updates[0], torch.cat([m.flatten() for m in moved]).detach(), atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"statistic": "logit"}, {"variance": "each"}])
def test_ratios_tell_members_better_than_scores_that_no_shadow_stands_behind(options):
    """24 of 48 random records of 20 numbers; the scores' own areas, and those of ratios, over six clients."""
    ratios, scores = [], []
    for seed in range(6):
        seen = linear(24, seed)
        (found,), (plain,) = LiRA(**options).infer([seen]), Membership().infer([seen])
        ratios.append(auc(found[:24], found[24:]))
        scores.append(auc(plain[:24], plain[24:]))
    assert np.mean(ratios) > np.mean(scores) + 0.03


def test_of_labels_that_mean_nothing_and_records_of_nobody_it_says_nothing():
    """Nobody of the candidates is a member: the first half is no likelier than the second."""
    found = []
    for seed in range(20):
        seen, other = linear(8, seed), linear(8, seed + 100)
        (score,) = LiRA().infer([replace(seen, update=other.update)])
        found.append(auc(score[:8], score[8:]))
    assert np.mean(found) == pytest.approx(0.5, abs=0.1)


def test_of_a_gradient_a_shadow_takes_a_step_as_small_as_the_message_is_scaled_to():
    """A gradient is a step of size 1, and its shadows' of 1e-3: both are brought to 1e-3."""
    seen = linear(8, 3)
    gradient = replace(seen, kind="gradient", update=seen.update / 0.1)
    (of_update,), (of_gradient,) = LiRA().infer([seen]), LiRA().infer([gradient])
    assert torch.allclose(of_update, of_gradient, rtol=1e-3, atol=1e-3)


def test_what_it_cannot_compare_is_refused_with_what_would_help():
    (seen, *_), _ = example()
    known = seen.knowledge
    alone = replace(known, candidates=Records(known.candidates.x[:1], known.candidates.y[:1]))
    with pytest.raises(PluginError, match="it needs 2 candidates, got 1"):
        refuse_unmet(LiRA(), replace(seen, knowledge=alone))
    many = replace(known, batch_size=8, labels=None, batches=None, auxiliary=None)
    with pytest.raises(PluginError, match="auxiliary = 200 gives it so many test examples"):
        refuse_unmet(LiRA(), replace(seen, knowledge=many))
    blind = replace(known, lr=None, local_lr=None)
    with pytest.raises(PluginError, match="whose size is not known here; use membership"):
        refuse_unmet(LiRA(), replace(seen, knowledge=blind))
