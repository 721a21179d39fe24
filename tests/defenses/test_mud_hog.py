"""Oracles: the golden trace of the robustness spec, 2.11; hand cases; brute force on numpy."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gauntlet.core.contracts import Verdict
from gauntlet.core.layout import Layout
from gauntlet.core.trees import equal, pack, unpack
from gauntlet.core.updates import Context, Updates
from gauntlet.defenses.history import long_history, short_history
from gauntlet.defenses.mud_hog import MudHog

KINDS = ("sign_flip", "noise", "targeted", "unreliable")
NORMS = [0.805230641, 0.864662740, 0.841088388, 0.743512282, 1.000579543, 0.995395341, 1.005208629]
NORMS += [1.001074008, 1.007315881, 1.003898829, 0.993746903, 0.997129724]
SUMS = [0.549324617, 0.034525793, 0.656838708, 0.160192918, 0.364576288, -0.013924386, -0.044813612]
SUMS += [0.297019778, 0.237238916, 0.269501718, 0.243210191, 0.099454345]
NAMED = {"sign_flip": {0, 1}, "noise": {2, 3}, "targeted": {4, 5, 6}}
UNRELIABLE = {3: {2, 3}, 4: {4, 5, 6}, 5: {4, 5, 6, 7}} | {t: {7} for t in range(6, 12)}
SUSPICION = {3: [1] * 7 + [0], 4: [2] * 7 + [0]}
UNRELIABILITY = {
    3: [0, 0, 1, 1, 0, 0, 0, 0],
    4: [0, 0, 0, 0, 1, 1, 1, 0],
    5: [0, 0, 0, 0, 2, 2, 2, 1],
    6: [0, 0, 0, 0, 1, 1, 1, 2],
    7: [0, 0, 0, 0, 0, 0, 0, 3],
}


def updates_of(vectors: Any, ids: Any = None) -> Updates:
    rows = torch.as_tensor(vectors)
    ids = torch.arange(len(rows)) if ids is None else torch.as_tensor(ids)
    return Updates(rows, ids, torch.full((len(rows),), 10))


def trace(rounds: int, honest_from: int | None = None) -> Iterator[Updates]:
    """Yield the golden stream: flippers 0 1, noise 2 3, a common drift 4 5 6, poor data 7, of 20 clients."""
    rng = np.random.default_rng(11)
    mu = rng.normal(size=200)
    mu /= np.linalg.norm(mu)
    q = rng.normal(size=200)
    q -= (q @ mu) * mu
    q /= np.linalg.norm(q)
    for t in range(rounds):
        near = 0.02 * rng.normal(size=(20, 200))
        added, poor = 0.2 * rng.normal(size=(20, 200)), 0.06 * rng.normal(size=(20, 200))
        x = mu + near
        flippers = [0, 1] if honest_from is None or t < honest_from else [1]
        x[flippers] *= -1
        x[2:4] += added[2:4]
        x[4:7] += 0.8 * q
        x[7] += poor[7]
        yield updates_of(x)


def play(defense: MudHog, cohorts: Any, state: Any = None) -> tuple[list[Verdict], list[Any]]:
    """Return every round's verdict, and the state after it."""
    verdicts, states = [], [defense.init() if state is None else state]
    for cohort in cohorts:
        verdict, after = defense.aggregate(cohort, states[-1])
        verdicts.append(verdict)
        states.append(after)
    return verdicts, states[1:]


def suspects(verdict: Verdict, kind: str) -> set[int]:
    return {i for i, named in verdict.details.items() if f"suspect_{kind}" in named}


def confirmed(state: Any, kind: str) -> set[int]:
    return {i for i, record in state["clients"].items() if kind in record["since"]}


def left_in(verdict: Verdict) -> int:
    return int((verdict.weights > 0).sum())


GOLDEN = [
    MudHog(eps_mode="absolute", eps=0.6),
    *(MudHog(eps_factor=factor) for factor in (0.7, 0.8, 1.0)),
    MudHog(preset="robust"),
    MudHog(preset="paper", eps=0.6),
]


@pytest.mark.parametrize("defense", GOLDEN, ids=lambda d: f"{d.preset}-{d.eps_mode}-{d.eps_factor}")
def test_the_golden_trace_is_decided_as_by_the_released_code(defense):
    """Spec 2.11: the reference agreed with the released code in 168 rounds of 40-client streams."""
    verdicts, states = play(defense, trace(12))

    for t, (verdict, state) in enumerate(zip(verdicts, states, strict=True)):
        for kind in KINDS[:3]:
            assert suspects(verdict, kind) == (NAMED[kind] if t >= 3 else set()), (t, kind)
        assert suspects(verdict, "unreliable") == UNRELIABLE.get(t, set()), t
        assert confirmed(state, "sign_flip") == ({0, 1} if t >= 4 else set())
        assert confirmed(state, "noise") == ({2, 3} if t >= 4 else set())
        assert confirmed(state, "targeted") == ({4, 5, 6} if t >= 6 else set())
        assert confirmed(state, "unreliable") == ({7} if t >= 7 else set())
        assert left_in(verdict) == (20 if t < 3 else 15 if t == 3 else 13)
        assert float(verdict.aggregate.norm()) == pytest.approx(NORMS[t], abs=2e-9)
        assert float(verdict.aggregate.sum()) == pytest.approx(SUMS[t], abs=2e-9)
        records = state["clients"]
        if t in SUSPICION:
            assert [records[i]["suspicion"] for i in range(8)] == SUSPICION[t]
        if t in UNRELIABILITY:
            assert [records[i]["unreliability"] for i in range(8)] == UNRELIABILITY[t]


def test_frozen_histories_give_the_golden_variant():
    """Spec 2.11: v_4 and v_5 hold 7 already, so that it counts as unreliable at t = 6."""
    verdicts, states = play(MudHog(history="frozen"), trace(7))

    assert [suspects(v, "unreliable") for v in verdicts[4:6]] == [{4, 5, 6, 7}] * 2
    assert [confirmed(s, "unreliable") for s in states[5:]] == [set(), {7}]
    assert float(verdicts[6].aggregate.norm()) == pytest.approx(1.009220911, abs=2e-9)
    assert float(verdicts[6].aggregate.sum()) == pytest.approx(0.033036195, abs=2e-9)


def test_who_turns_honest_is_pardoned_after_two_clean_rounds():
    """Spec 2.11, the pardon variant: client 0 stops flipping at t = 6."""
    verdicts, states = play(MudHog(), trace(9, honest_from=6))

    assert [suspects(v, "sign_flip") for v in verdicts[6:]] == [{0, 1}, {1}, {1}]
    assert [confirmed(s, "sign_flip") for s in states[6:]] == [{0, 1}, {0, 1}, {1}]
    assert confirmed(states[8], "malicious") == {1, 2, 3, 4, 5, 6}
    assert left_in(verdicts[8]) == 14
    assert float(verdicts[8].aggregate.norm()) == pytest.approx(1.005846122, abs=2e-9)
    assert float(verdicts[8].aggregate.sum()) == pytest.approx(0.234297510, abs=2e-9)


def test_with_a_frozen_history_nobody_is_ever_pardoned():
    """Spec 2.11: the first three rounds never leave the picture."""
    _, states = play(MudHog(history="frozen"), trace(20, honest_from=6))
    assert confirmed(states[-1], "sign_flip") == {0, 1}


def stream(rounds: int, clients: int = 20, size: int = 50, seed: int = 3) -> Iterator[np.ndarray]:
    """Yield like-minded updates around one direction of length 1."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=size)
    common /= np.linalg.norm(common)
    for _ in range(rounds):
        yield common + 0.02 * rng.normal(size=(clients, size))


@pytest.mark.parametrize("kind", ["moving", "frozen"])
def test_histories_are_those_of_brute_force(kind):
    """Spec 2.11.1: the mean of the last (or, frozen, the first) three updates, and the sum of all."""
    rows = [torch.from_numpy(x).to(torch.float32) for x in stream(10)]
    _, states = play(MudHog(history=kind), map(updates_of, rows))

    for t, state in enumerate(states):
        seen = rows[: t + 1][-3:] if kind == "moving" else rows[: t + 1][:3]
        records = [state["clients"][i] for i in range(20)]
        torch.testing.assert_close(short_history(records), torch.stack(seen).mean(dim=0))
        torch.testing.assert_close(long_history(records, mean=False), torch.stack(rows[: t + 1]).sum(dim=0))
        assert all(len(r["window"]) <= 3 for r in records)


def test_a_frozen_window_stays_the_mean_of_the_first_three():
    """Spec 2.7.1: updates t = 1..8 times [1, 2, 3] stay at [2, 4, 6] in the released code."""
    cohorts = [updates_of(torch.tensor([[1.0, 2.0, 3.0]]) * t) for t in range(1, 9)]
    _, moving = play(MudHog(), cohorts)
    _, frozen = play(MudHog(preset="released_code"), cohorts)

    assert [short_history([s["clients"][0]])[0].tolist() for s in frozen[2:]] == [[2.0, 4.0, 6.0]] * 6
    assert [short_history([s["clients"][0]])[0, 0].item() for s in moving[2:]] == [2, 3, 4, 5, 6, 7]


def test_nobody_is_judged_before_the_fourth_update_or_among_too_few():
    """Spec 2.11.2, with five flippers of twenty; and with 5 clients where 6 are needed."""
    signs = np.where(np.arange(20) < 5, -1.0, 1.0)[:, None]
    verdicts, states = play(MudHog(), (updates_of(x * signs) for x in stream(4)))
    assert [bool(suspects(v, "sign_flip")) for v in verdicts] == [False, False, False, True]
    assert all(record["suspicion"] == 0 for s in states[:3] for record in s["clients"].values())

    few, after = play(MudHog(), (updates_of(x[:5] * signs[3:8]) for x in stream(8)))
    assert not any(v.flags for v in few)
    assert all(r["suspicion"] == r["unreliability"] == 0 for r in after[-1]["clients"].values())


def test_a_drift_in_one_direction_is_confirmed_as_targeted_at_round_six():
    """Spec 2.11.5: 5 of 40 clients drift by far more than the spread."""
    drift = np.zeros((40, 50))
    drift[7:12] = 0.5 * np.random.default_rng(0).normal(size=50) / 7
    _, states = play(MudHog(), (updates_of(x + drift) for x in stream(7, clients=40)))
    assert [confirmed(s, "targeted") for s in states[5:]] == [set(), {7, 8, 9, 10, 11}]


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


def test_who_sends_what_decides_and_not_the_order_of_clients():
    """Spec 2.11.6: under other ids the same clients are found."""
    order = np.random.default_rng(1).permutation(20)
    straight, _ = play(MudHog(), trace(9))
    permuted, _ = play(MudHog(), (c.with_vectors(c.vectors[torch.from_numpy(order)]) for c in trace(9)))
    for one, other in zip(straight, permuted, strict=True):
        assert {int(order[i]): flag for i, flag in other.flags.items()} == dict(one.flags)
        torch.testing.assert_close(one.aggregate, other.aggregate)


@pytest.mark.parametrize(
    ("test", "mode"), [("scatter", "relative"), ("scatter", "absolute"), ("jitter", "absolute")]
)
def test_the_scale_of_updates_matters_to_an_absolute_eps_only(test, mode):
    """Spec 2.11.9: a thousand times the updates, the same decisions in relative mode, and by jitter."""
    defense = MudHog(noise_test=test, eps_mode=mode, eps=0.6)
    plain, _ = play(defense, trace(6))
    large, _ = play(defense, (c.with_vectors(1000 * c.vectors) for c in trace(6)))
    same = [suspects(a, k) == suspects(b, k) for a, b in zip(plain, large, strict=True) for k in KINDS]
    assert all(same) == (test == "jitter" or mode == "relative")


def test_an_absent_clients_record_stays_to_the_bit_and_the_others_go_on():
    """Spec 2.11.10."""
    cohorts = list(trace(10))
    _, states = play(MudHog(), cohorts[:6])
    here = torch.arange(20) % 3 > 0
    verdict, after = MudHog().aggregate(cohorts[6].rows(here), states[-1])

    for i in range(0, 20, 3):
        assert after["clients"][i] is states[-1]["clients"][i]
    assert after["clients"][1]["seen"] == 7
    assert set(verdict.details) == set(verdict.scores) == {i for i in range(20) if i % 3}
    assert verdict.flags == {1: "sign_flip", 2: "noise", 4: "targeted", 5: "targeted"}


def test_with_half_of_the_clients_a_round_everybody_is_found_later():
    """Spec 2.5: the mean is split where clients have sent differently often; nobody honest is confirmed."""
    rng, found = np.random.default_rng(2), {}
    state = MudHog().init()
    for cohort in trace(40):
        came = torch.from_numpy(np.sort(rng.choice(20, 12, replace=False)))
        verdict, state = MudHog().aggregate(cohort.rows(came), state)
        found |= verdict.flags
    assert {i: found.get(i) for i in range(7)} == dict.fromkeys([0, 1], "sign_flip") | dict.fromkeys(
        [2, 3], "noise"
    ) | dict.fromkeys([4, 5, 6], "targeted")
    assert not confirmed(state, "malicious") - set(range(7))


def test_long_histories_are_split_by_what_was_sent_and_not_by_how_often():
    """Spec 2.5: clients 0 to 5 come late; the sums tell only that, the means tell who drifts."""
    drift = np.zeros((20, 50))
    drift[10:13] = 0.5 * np.random.default_rng(0).normal(size=50) / 7
    cohorts = [updates_of(x + drift) for x in stream(10)]
    cohorts = [c.rows(torch.arange(20) > 5) if t < 6 else c for t, c in enumerate(cohorts)]

    named = {
        n: suspects(play(MudHog(long_norm=n), cohorts)[0][-1], "targeted") for n in ("auto", "mean", "sum")
    }

    assert named == {"auto": {10, 11, 12}, "mean": {10, 11, 12}, "sum": set(range(6))}


def test_a_checkpoint_at_round_five_changes_nothing():
    """Spec 2.11.11, through JSON and tensors; the ids are still integers."""
    cohorts = list(trace(9))
    _, states = play(MudHog(), cohorts)
    value, tensors = pack(states[4])
    restored = unpack(json.loads(json.dumps(value)), tensors)
    assert all(isinstance(i, int) for i in restored["clients"])
    verdicts, resumed = play(MudHog(), cohorts[5:], restored)
    assert equal(resumed[-1], states[-1])
    assert verdicts[-1].flags == play(MudHog(), cohorts)[0][-1].flags


def test_a_cohort_of_none_but_confirmed_attackers_moves_nothing():
    """Spec 2.11.12: the zero update, and it says whom it left out."""
    cohorts = list(trace(8))
    _, states = play(MudHog(), cohorts[:7])
    verdict, _ = MudHog().aggregate(cohorts[7].rows(torch.arange(20) < 7), states[-1])
    assert not verdict.aggregate.any()
    assert not verdict.weights.any()
    assert len(verdict.flags) == 7


@pytest.mark.parametrize("rows", [torch.zeros(10, 6), torch.ones(10, 6), torch.eye(10, 6)])
def test_updates_without_direction_or_difference_give_no_nan_and_no_culprit(rows):
    """Spec 2.11.8: cosine 0 for a zero update; equal updates have nothing to split."""
    verdicts, _ = play(MudHog(preset="robust"), [updates_of(rows)] * 6)
    for verdict in verdicts:
        assert verdict.aggregate.isfinite().all()
        assert np.isfinite([v for named in verdict.details.values() for v in named.values()]).all()
    if rows.unique(dim=0).shape[0] == 1:
        assert not verdicts[-1].flags


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
    for gate, least in (("separation", 0.9), ("silhouette", 0.125)):
        gated, states = play(MudHog(targeted_gate=gate, gate_threshold=least), cohorts)
        assert not any(suspects(v, "targeted") for v in gated)
        assert not confirmed(states[-1], "malicious")
        assert any("separation" in named for named in gated[-1].details.values())


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


def test_since_when_a_client_is_confirmed_follows_the_rounds_of_the_run():
    context = Context(round=100, params=torch.zeros(200), layout=Layout(()), seed=0)
    cohorts = [replace(c, context=replace(context, round=100 + t)) for t, c in enumerate(trace(7))]
    verdicts, _ = play(MudHog(), cohorts)
    assert verdicts[-1].details[0]["sign_flip_since"] == 104
    assert verdicts[-1].details[4]["targeted_since"] == 106
    assert verdicts[-1].scores[0] == verdicts[-1].details[0]["suspicion"] == 4


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"preset": "best"}, "preset must be one of paper, released_code, robust, got 'best'"),
        ({"eps": 0.0}, "eps must be finite and above 0, got 0.0"),
        ({"unreliable_weight": 1.5}, "unreliable_weight must be between 0 and 1, got 1.5"),
        ({"flip_coherence": 1.5}, "flip_coherence must be between 0 and 1, got 1.5"),
        ({"jitter_factor": 0.5}, "jitter_factor must be finite and at least 1, got 0.5"),
        ({"noise_test": "ears"}, "noise_test must be one of scatter, jitter, got 'ears'"),
        ({"short_window": 0}, "short_window must be at least 1, got 0"),
        ({"history": "long"}, "history must be one of moving, frozen, got 'long'"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        MudHog(**options)
