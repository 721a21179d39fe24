"""MUD-HoG's options: what each finds, or spares, that the paper's rule does not. Oracles: hand cases."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from mud_hog_streams import confirmed, left_in, play, stream, suspects, trace, updates_of

from gauntlet.core.updates import Updates
from gauntlet.defenses.mud_hog import MudHog


def test_noise_attackers_alone_outside_the_crowd_are_all_found_only_with_the_anchor():
    """Spec 2.11.4: without it the widest gap splits them among themselves."""

    def noisy(rounds: int) -> Iterator[Updates]:
        rng = np.random.default_rng(5)
        for x in stream(rounds, clients=40, size=400):
            x[:6] += 0.3 * rng.normal(size=(6, 400))
            yield updates_of(x)

    anchored, _ = play(MudHog(eps_factor=1.2, gap_anchor=True), noisy(4))
    plain, _ = play(MudHog(eps_factor=1.2), noisy(4))
    assert suspects(anchored[3], "noise") == set(range(6))
    assert suspects(plain[3], "noise") < set(range(6))


def test_where_nobody_has_a_neighbour_nobody_is_suspected_of_noise():
    """In 400 dimensions all distances of a homogeneous crowd are alike: 0.7 of them reaches nobody."""
    verdicts, _ = play(MudHog(eps_factor=0.7), (updates_of(x) for x in stream(4, clients=40, size=400)))
    assert not suspects(verdicts[3], "noise")


def spread_out(rounds: int, odd_round: int | None = None) -> Iterator[Updates]:
    """Yield 30 clients whose data differ for good, up to 1.4 apart; 0 to 5 add noise that is new every round.

    In ``odd_round`` client 20 sends something else altogether.
    """
    rng = np.random.default_rng(8)
    common, own = rng.normal(size=400) / 20, rng.normal(size=(30, 400)) / 20
    own *= np.linspace(0.5, 1.4, 30)[:, None]
    for t in range(rounds):
        x = common + own + 0.3 / 20 * rng.normal(size=(30, 400))
        x[:6] += 0.1 * rng.normal(size=(6, 400))
        x[20] += 5.0 * rng.normal(size=400) * (t == odd_round)
        yield updates_of(x)


def test_noise_no_larger_than_what_sets_honest_clients_apart_is_found_by_its_jitter():
    """Short histories of attackers are 1.2 to 1.4 from the middle, of the farthest honest clients 1.5."""
    far, _ = play(MudHog(preset="robust", noise_test="scatter"), spread_out(6))
    restless, states = play(MudHog(preset="robust"), spread_out(6))
    assert not suspects(far[3], "noise") & set(range(6))
    assert suspects(restless[3], "noise") == set(range(6))
    assert confirmed(states[4], "noise") == set(range(6)) == set(restless[4].flags)
    assert restless[3].details[0]["jitter"] == pytest.approx(0.1 * 20, rel=0.1)
    assert restless[3].details[20]["jitter"] == pytest.approx(0.3, rel=0.1)


def test_one_odd_update_is_no_jitter():
    """Two updates of the three in the window are alike, and those two count."""
    verdicts, _ = play(MudHog(preset="robust"), spread_out(7, odd_round=4))
    assert all(20 not in suspects(v, "noise") for v in verdicts)
    assert verdicts[4].details[20]["jitter"] == pytest.approx(0.3, rel=0.1)


def settled(rounds: int) -> Iterator[Updates]:
    """Yield 20 clients that agree for six rounds and send nothing but chance from then on; 0 and 1 flip."""
    rng = np.random.default_rng(6)
    common = rng.normal(size=300) / 17
    for t in range(rounds):
        x = common * (t < 6) + 0.02 * rng.normal(size=(20, 300))
        x[:2] *= -1
        yield updates_of(x)


def test_after_training_has_settled_long_histories_tell_who_flips_signs():
    """By the short ones one of them would be pardoned: of chance alone, most point a little ahead."""
    verdicts, states = play(MudHog(preset="robust"), settled(12))
    assert all(confirmed(after, "sign_flip") == {0, 1} for after in states[4:])
    assert not any(bool((verdict.weights[2:] == 0).any()) for verdict in verdicts[4:])
    _, by_short = play(MudHog(preset="robust", flip_coherence=0.0), settled(12))
    assert confirmed(by_short[-1], "sign_flip") < {0, 1}


def test_while_the_crowd_is_of_one_mind_who_begins_to_flip_is_found_at_once():
    """Client 1 turns in round 7, when its long history still points ahead."""

    def turning(rounds: int) -> Iterator[Updates]:
        for t, cohort in enumerate(trace(rounds, honest_from=0)):
            vectors = cohort.vectors.clone()
            vectors[1] *= -1 if t < 7 else 1  # the trace flips client 1 throughout
            yield cohort.with_vectors(vectors)

    _, states = play(MudHog(preset="robust"), turning(11))
    assert not confirmed(states[7], "sign_flip")
    assert confirmed(states[10], "sign_flip") == {1}


def test_the_robust_preset_takes_no_majority_for_unreliable():
    """Client 0 sends the middle itself: the widest gap lies between it and all others."""
    rng = np.random.default_rng(3)
    common, own = rng.normal(size=400) / 20, rng.normal(size=(20, 400)) / 20
    own *= np.array([0.0, *[0.8] * 17, *[1.1] * 2])[:, None]

    def alike(rounds: int) -> Iterator[Updates]:
        for _ in range(rounds):
            yield updates_of(common + own + 0.001 * rng.normal(size=(20, 400)))

    _, widest = play(MudHog(preset="robust", unreliable_minority=False), alike(8))
    _, states = play(MudHog(preset="robust"), alike(8))
    assert confirmed(widest[-1], "unreliable") == set(range(1, 20))
    assert confirmed(states[-1], "unreliable") == {18, 19}


def test_an_unreliable_client_weighs_as_told():
    """By hand: client 7 counts 0.5 beside twelve normal ones at t = 8; all of them 10 examples."""
    verdicts, _ = play(MudHog(), trace(9))
    assert verdicts[8].weights[7] == pytest.approx(0.5 / 12.5)
    assert verdicts[8].weights[8] == pytest.approx(1 / 12.5)
    counts = torch.tensor([10] * 8 + [30] * 12)
    by_size, _ = play(
        MudHog(unreliable_weight=0.25, weighting="num_examples"),
        (replace(c, num_examples=counts) for c in trace(9)),
    )
    assert by_size[8].weights[7] == pytest.approx(2.5 / 362.5)


def test_too_many_suspects_stay_in_where_that_is_bounded():
    """Spec 2.6: at t = 3 five of twenty would be left out; with at most a fifth the three drifters stay."""
    at_three = [play(MudHog(max_excluded_fraction=most), trace(4))[0][3] for most in (None, 0.25, 0.2)]
    assert [left_in(v) for v in at_three] == [15, 15, 18]


def test_the_gate_holds_back_a_minority_that_does_not_stand_apart():
    """Spec 2.6: without attackers 2-means names somebody in every round, behind the gate nobody."""
    cohorts = [updates_of(x) for x in stream(9, clients=40)]
    plain, _ = play(MudHog(), cohorts)
    assert all(suspects(v, "targeted") for v in plain[3:])
    for gate in ("separation", "silhouette"):
        gated, states = play(MudHog(targeted_gate=gate), cohorts)
        assert not any(suspects(v, "targeted") for v in gated)
        assert not confirmed(states[-1], "malicious")
        assert any("separation" in named for named in gated[-1].details.values())


@pytest.mark.parametrize(("gate", "least"), [("separation", 0.9), ("silhouette", 0.125)])
def test_each_gate_has_a_threshold_of_its_own(gate, least):
    """Spec 2.6. The three drifters of the trace stand apart for both, but not for a silhouette of 0.9."""
    told, _ = play(MudHog(targeted_gate=gate, gate_threshold=least), trace(6))
    silent, _ = play(MudHog(targeted_gate=gate), trace(6))
    strict, _ = play(MudHog(targeted_gate="silhouette", gate_threshold=0.9), trace(6))
    assert [suspects(v, "targeted") for v in silent] == [suspects(v, "targeted") for v in told]
    assert suspects(silent[5], "targeted")
    assert not suspects(strict[5], "targeted")


def test_the_jitter_of_two_updates_is_enough():
    verdicts, _ = play(MudHog(preset="robust", short_window=2), spread_out(6))
    assert suspects(verdicts[3], "noise") == set(range(6))
    MudHog(preset="robust", noise_test="scatter", short_window=1)


def test_half_precision_histories_decide_the_same_and_never_overflow():
    verdicts, states = play(MudHog(history_dtype="float16"), trace(9))
    assert verdicts[-1].flags == play(MudHog(), trace(9))[0][-1].flags
    assert states[-1]["clients"][0]["long"].dtype == torch.float16
    huge, _ = play(MudHog(history_dtype="float16"), (updates_of(1e6 * x) for x in stream(5)))
    assert huge[-1].aggregate.isfinite().all()


def test_a_preset_gives_way_to_an_option_that_is_given():
    settings = MudHog(preset="robust", gap_anchor=False, eps_factor=0.8).settings
    assert (settings.gap_anchor, settings.eps_factor, settings.targeted_gate) == (False, 0.8, "separation")
    assert MudHog(preset="released_code").settings.unreliable_weight == 1.0
    assert MudHog().settings.unreliable_weight == 0.5


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"preset": "best"}, "preset must be one of paper, released_code, robust, general, got 'best'"),
        ({"eps": 0.0}, "eps must be finite and above 0, got 0.0"),
        ({"unreliable_weight": 1.5}, "unreliable_weight must be between 0 and 1, got 1.5"),
        ({"flip_coherence": 1.5}, "flip_coherence must be between 0 and 1, got 1.5"),
        ({"jitter_factor": 0.5}, "jitter_factor must be finite and at least 1, got 0.5"),
        ({"noise_test": "ears"}, "noise_test must be one of scatter, jitter, got 'ears'"),
        ({"short_window": 0}, "short_window must be at least 1 and finite, got 0"),
        ({"preset": "robust", "short_window": 1}, "short_window must be at least 2 .* is jitter, got 1"),
        ({"noise_test": "jitter", "short_window": 1}, "short_window must be at least 2 .* is jitter, got 1"),
        ({"gate_threshold": -1.0}, "gate_threshold must be at least 0 and finite, got -1.0"),
        ({"history": "long"}, "history must be one of moving, frozen, got 'long'"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        MudHog(**options)
