"""Oracles: the golden trace of the robustness spec, 2.11; hand cases; brute force on numpy."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from mud_hog_streams import confirmed, left_in, play, stream, suspects, trace, updates_of

from gauntlet.core.layout import Layout
from gauntlet.core.trees import equal, pack, unpack
from gauntlet.core.updates import Context
from gauntlet.defenses.mud_hog import MudHog
from gauntlet.defenses.mud_hog.history import long_history, short_history

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


def test_since_when_a_client_is_confirmed_follows_the_rounds_of_the_run():
    context = Context(round=100, params=torch.zeros(200), layout=Layout(()), seed=0)
    cohorts = [replace(c, context=replace(context, round=100 + t)) for t, c in enumerate(trace(7))]
    verdicts, _ = play(MudHog(), cohorts)
    assert verdicts[-1].details[0]["sign_flip_since"] == 104
    assert verdicts[-1].details[4]["targeted_since"] == 106
    assert verdicts[-1].scores[0] == verdicts[-1].details[0]["suspicion"] == 4
