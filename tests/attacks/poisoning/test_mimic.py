"""Oracles: the singular value decomposition of numpy; victims chosen by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.mimic import Mimic
from gauntlet.core.seeds import generator
from gauntlet.core.updates import concatenate
from gauntlet.defenses.median import Median


def crowd(seed: int = 0, outlier: float = 8.0) -> np.ndarray:
    """Seven honest clients, the fifth of them (id 12) far out along one direction."""
    rows = np.random.default_rng(seed).normal(size=(7, 40))
    rows[4] += outlier * np.ones(40) / 40**0.5 * 3
    return rows


def test_it_chooses_who_stands_out_and_stays_with_it(scene):
    attack = Mimic(warmup_rounds=2)
    state = attack.init()
    for t, victim in enumerate([4, 4, 4]):
        rows = crowd(t)
        own, view = scene(rows, rows[:2])
        sent, state = attack.corrupt(own, replace(view, round=t, generator=generator(0, "a", t)), state)
        np.testing.assert_array_equal(sent.vectors, [rows[victim]] * 2)
        assert state["victim"] == (None if t == 0 else 12)

    rows = crowd(3, outlier=0.0)
    rows[1] += 50  # somebody else stands out now
    own, view = scene(rows, rows[:2])
    np.testing.assert_array_equal(attack.corrupt(own, view, state)[0].vectors[0], rows[4])


def test_the_direction_is_the_first_singular_vector(scene):
    rows = crowd()
    own, view = scene(rows, rows[:2])
    _, state = Mimic().corrupt(own, view, Mimic().init())
    top = np.linalg.svd(rows - rows.mean(axis=0))[2][0]
    assert abs(float(state["direction"].numpy() @ top)) > 0.999


def test_a_victim_that_is_not_there_is_stood_in_for(scene):
    rows = crowd()
    own, view = scene(rows, rows[:2])
    fixed = Mimic(victim=1000)
    np.testing.assert_array_equal(fixed.corrupt(own, view, fixed.init())[0].vectors[0], rows[0])

    found = Mimic(warmup_rounds=1)
    _, state = found.corrupt(own, view, found.init())
    absent = replace(view, honest=view.honest.rows(view.honest.client_ids != state["victim"]))
    sent, after = found.corrupt(own, absent, state)
    assert any(torch.equal(sent.vectors[0], row) for row in absent.honest.vectors)
    assert after["victim"] == state["victim"]


def test_an_attacker_is_never_the_victim(scene):
    """A cohort without honest clients passes by without a choice, and the next one decides."""
    rows = crowd()
    own, nobody = scene(np.zeros((0, 40)), rows[:2])
    attack = Mimic(warmup_rounds=1)
    sent, state = attack.corrupt(own, nobody, attack.init())
    assert torch.equal(sent.vectors, own.vectors[[0, 0]])
    assert state == attack.init()
    own, view = scene(rows, rows[:2])
    assert attack.corrupt(own, view, state)[1]["victim"] == 12


def test_equal_updates_are_no_trouble(scene):
    own, view = scene([[1.0, 2.0]] * 3, [[1.0, 2.0]])
    sent, _ = Mimic().corrupt(own, view, Mimic().init())
    assert sent.vectors.tolist() == [[1.0, 2.0]]


def test_clients_that_differ_are_outvoted_by_one_of_them_and_its_copies(scene):
    """Karimireddy et al., Section 3: ten clients in two camps; four copies decide for one camp."""
    camps = np.sign(np.arange(10) - 4.5)[:, None] * np.ones((1, 30))
    rows = camps + 0.05 * np.random.default_rng(0).normal(size=(10, 30))
    own, view = scene(rows, rows[[0, 1, 5, 6]])
    sent, _ = Mimic().corrupt(own, view, Mimic().init())
    mean = view.honest.vectors.mean(dim=0)

    def error(bad) -> float:
        aggregate = Median().aggregate(concatenate([view.honest, bad], 14.0), None)[0].aggregate
        return float(torch.linalg.vector_norm(aggregate - mean)) / 30**0.5

    assert error(sent) > 0.85
    assert error(own) < 0.7 * error(sent)


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="victim must be a client id from 0, or None, got -1"):
        Mimic(victim=-1)
    with pytest.raises(ValueError, match="warmup_rounds must be at least 1, got 0"):
        Mimic(warmup_rounds=0)
