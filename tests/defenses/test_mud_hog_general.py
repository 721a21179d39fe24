"""MUD-HoG's preset ``general`` on streams whose culprits are known by construction."""

import json

import numpy as np
import pytest
import torch
from mud_hog_streams import confirmed, play, stream, suspects, trace, updates_of

from gauntlet.core.trees import equal, pack, unpack
from gauntlet.defenses.mud_hog import MudHog

GENERAL = MudHog(preset="general")


def crowd(rounds, change, clients=20, size=400, seed=0):
    """Yield honest updates, of a common direction, one's own and noise; then ``change`` them."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=size) / size**0.5
    own = 0.5 * rng.normal(size=(clients, size)) / size**0.5
    for t in range(rounds):
        x = common + own + 0.3 * rng.normal(size=(clients, size)) / size**0.5
        change(x, t, rng)
        yield updates_of(x)


def nothing(x, t, rng):
    pass


def test_the_golden_stream_is_judged_as_the_paper_judges_it():
    """Flippers 0 and 1, noise 2 and 3, a common drift 4, 5, 6; nobody else, and each by its kind."""
    verdicts, states = play(GENERAL, trace(10))
    assert verdicts[-1].flags == {
        **dict.fromkeys([0, 1], "sign_flip"),
        **dict.fromkeys([2, 3], "noise"),
        **dict.fromkeys([4, 5, 6], "targeted"),
    }
    assert confirmed(states[-1], "malicious") == set(range(7))


@pytest.mark.parametrize("seed", range(3))
def test_where_nobody_attacks_nobody_is_named_and_everybody_counts(seed):
    verdicts, states = play(GENERAL, crowd(25, nothing, clients=30, seed=seed))
    assert not confirmed(states[-1], "malicious")
    assert all((v.weights > 0).all() for v in verdicts)


def test_suspects_are_left_out_from_the_first_round_on():
    """Five times as long, turned, or copied: one update is enough to see that, two more to convict."""

    def attack(x, t, rng):
        x[0] *= 5
        x[1] *= -1
        x[2] = x[3] = rng.normal(size=400) / 20

    verdicts, _ = play(GENERAL, crowd(4, attack))
    assert [set(np.flatnonzero(v.weights == 0)) for v in verdicts] == [{0, 1, 2, 3}] * 4
    assert [set(v.flags) for v in verdicts] == [set(), set(), set(), {0, 1, 2, 3}]
    assert verdicts[3].flags == {0: "boosted", 1: "sign_flip", 2: "copied", 3: "copied"}
    assert verdicts[3].details[0]["relative_norm"] == pytest.approx(5, rel=0.1)
    assert verdicts[3].details[1]["cosine"] < 0


def test_no_update_counts_for_more_than_one_twice_as_long_as_the_median():
    """Lengths from 0.3 to 3: the longest is no outlier among them, and yet shortened to twice the median."""

    def stretch(x, t, rng):
        x *= np.geomspace(0.3, 3.0, 20)[:, None]

    cohort = next(crowd(1, stretch))
    verdict, _ = GENERAL.aggregate(cohort, GENERAL.init())
    norms = cohort.vectors.norm(dim=1)
    counted = 20 * verdict.weights * norms
    assert counted.tolist() == pytest.approx(norms.clamp(max=2 * norms.quantile(0.5)).tolist(), rel=1e-5)
    assert (counted < norms - 1e-3).sum() >= 2


@pytest.mark.parametrize("wakes", [0, 8, 20])
def test_sleepers_are_found_within_six_rounds_of_waking(wakes):
    drift = np.random.default_rng(9).normal(size=400) / 20

    def attack(x, t, rng):
        if t >= wakes:
            x[:2] *= -1
            x[2:4] += 0.2 * rng.normal(size=(2, 400))
            x[4:8] += 2 * drift

    verdicts, _ = play(GENERAL, crowd(wakes + 6, attack, clients=24))
    kinds = ["sign_flip"] * 2 + ["noise"] * 2 + ["targeted"] * 4
    assert verdicts[-1].flags == dict(enumerate(kinds))


@pytest.mark.parametrize("seed", range(3))
def test_nobody_is_convicted_for_going_against_a_crowd_that_goes_nowhere(seed):
    """From round 6 on a tenth of the common direction is left, cosine 0.1, and client 0 goes back a fifth."""
    rng = np.random.default_rng(seed)
    common, own = rng.normal(size=400) / 20, 0.5 * rng.normal(size=(20, 400)) / 20

    def cohorts():
        for t in range(14):
            x = (common if t < 6 else 0.1 * common) + own + 0.3 * rng.normal(size=(20, 400)) / 20
            x[0] -= 0.3 * common if t >= 6 else 0
            yield updates_of(x)

    verdicts, _ = play(GENERAL, cohorts())
    assert [v.flags for v in verdicts] == [{}] * 14


@pytest.mark.parametrize("seed", [1, 3, 4])
def test_clients_with_poor_data_are_named_unreliable_and_nothing_worse_long_after_it_showed(seed):
    """Each in a direction of its own, in three rounds: what they share is to have less of the crowd's."""
    own = np.random.default_rng(seed).normal(size=(3, 400)) / 20

    def attack(x, t, rng):
        if 3 <= t < 6:
            x[:3] += 1.5 * own

    verdicts, _ = play(GENERAL, crowd(14, attack))
    assert verdicts[-1].flags == dict.fromkeys(range(3), "unreliable")
    assert verdicts[-1].weights[0] == pytest.approx(verdicts[-1].weights[19] / 2)


def test_who_attacks_every_third_round_is_convicted_and_who_stops_is_pardoned():
    def attack(x, t, rng):
        if t % 3 == 0:
            x[0] *= -1
        if t < 6:
            x[1] *= -1

    verdicts, states = play(GENERAL, crowd(25, attack))
    assert confirmed(states[9], "sign_flip") == {0, 1}
    assert set(verdicts[-1].flags) == {0}
    assert verdicts[-1].weights[1] > 0


def test_absent_clients_keep_their_files_to_the_bit():
    cohorts = list(trace(8))
    _, states = play(GENERAL, cohorts[:6])
    verdict, after = GENERAL.aggregate(cohorts[6].rows(torch.arange(20) % 3 > 0), states[-1])
    assert all(after["clients"][i] is states[-1]["clients"][i] for i in range(0, 20, 3))
    assert set(verdict.details) == {i for i in range(20) if i % 3}


def test_half_of_the_clients_a_round_are_enough():
    """Client 7 has poor data: the only honest one that so small a crowd may take for a culprit."""
    rng, state, flags = np.random.default_rng(2), GENERAL.init(), {}
    for cohort in trace(40):
        came = torch.from_numpy(np.sort(rng.choice(20, 12, replace=False)))
        verdict, state = GENERAL.aggregate(cohort.rows(came), state)
        flags |= verdict.flags
    kinds = ["sign_flip"] * 2 + ["noise"] * 2 + ["targeted"] * 3
    assert {i: flags.get(i) for i in range(7)} == dict(enumerate(kinds))
    assert set(flags) <= set(range(8))


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_no_decision_depends_on_the_scale_of_updates(scale):
    plain, _ = play(GENERAL, trace(8))
    other, _ = play(GENERAL, (c.with_vectors(scale * c.vectors) for c in trace(8)))
    for kind in ("sign_flip", "noise", "targeted", "boosted", "copied"):
        assert [suspects(v, kind) for v in plain] == [suspects(v, kind) for v in other]


def test_a_checkpoint_changes_nothing():
    cohorts = list(trace(9))
    verdicts, states = play(GENERAL, cohorts)
    value, tensors = pack(states[4])
    again, resumed = play(GENERAL, cohorts[5:], unpack(json.loads(json.dumps(value)), tensors))
    assert equal(resumed[-1], states[-1])
    assert again[-1].flags == verdicts[-1].flags


@pytest.mark.parametrize("rows", [torch.zeros(10, 6), torch.ones(10, 6), torch.eye(10, 6)])
def test_updates_without_direction_or_difference_give_no_nan_and_no_culprit(rows):
    verdicts, _ = play(GENERAL, [updates_of(rows)] * 6)
    for verdict in verdicts:
        assert verdict.aggregate.isfinite().all()
        assert np.isfinite([v for named in verdict.details.values() for v in named.values()]).all()
    if rows.unique(dim=0).shape[0] == 1:
        assert not verdicts[-1].flags


def honest_on_a_line(size, seed):
    """Yield eight rounds of twelve honest clients: 1 + normal(0, 0.5) a parameter."""
    rng = np.random.default_rng([12, size, seed])
    for _ in range(8):
        yield updates_of(torch.from_numpy(1 + 0.5 * rng.normal(size=(12, size))).float())


def test_of_one_parameter_honest_clients_are_taken_for_copies_and_of_two_they_are_not():
    """A known limit: on a line two of twelve are close by chance in most rounds."""
    flagged = [
        [len(play(GENERAL, honest_on_a_line(size, s))[0][-1].flags) for s in range(3)] for size in (1, 2)
    ]
    assert max(flagged[0]) > 0
    assert flagged[1] == [0, 0, 0]


def test_updates_that_differ_in_length_alone_are_not_told_apart_by_rounding():
    """Their cosines are 1 but for the last digits, in which there is no poor half."""
    row = np.random.default_rng(4).normal(size=200)
    rows = [torch.from_numpy(np.linspace(0.8, 1.2, 12)[:, None] * row).float()] * 3
    verdicts, _ = play(GENERAL, map(updates_of, rows))
    assert not any(named.get("suspect_unreliable") for v in verdicts for named in v.details.values())


def test_no_more_clients_are_remembered_than_asked_for_and_those_seen_last():
    state = MudHog(preset="general", max_clients=12).init()
    for t, x in enumerate(stream(6, clients=30)):
        came = torch.arange(30) % 3 == t % 3
        _, state = MudHog(preset="general", max_clients=12).aggregate(updates_of(x).rows(came), state)
        assert len(state["clients"]) <= 12
    assert {i for i in state["clients"] if i % 3 == 2} == set(range(2, 30, 3))


def test_the_other_presets_hold_no_evidence():
    _, states = play(MudHog(preset="robust"), trace(3))
    assert "evidence" not in states[-1]["clients"][0]
