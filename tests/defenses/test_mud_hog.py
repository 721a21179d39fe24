"""Oracles: the golden trace of the robustness spec, 2.11; hand cases; brute force on numpy."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from gauntlet.core.contracts import Verdict
from gauntlet.core.updates import Updates
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
