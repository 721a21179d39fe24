"""How much updates differ, against brute force; who is restless and whose data are poor, by hand."""

import numpy as np
import torch

from gauntlet.defenses.mud_hog.history import jitters
from gauntlet.defenses.mud_hog.judgement import poor, restless


def test_jitter_is_that_of_brute_force():
    rng = np.random.default_rng(4)
    windows = [torch.from_numpy(rng.normal(size=(n, 50))).float() for n in (3, 2, 1, 4)]
    by_hand = [
        min((np.linalg.norm(a - b) / np.sqrt(2) for a in w for b in w if a is not b), default=0.0)
        for w in (list(window.double().numpy()) for window in windows)
    ]
    records = [{"window": list(window)} for window in windows]
    np.testing.assert_allclose(jitters(records).numpy(), by_hand, rtol=1e-12)


def test_restless_is_who_jumps_ahead_and_agrees_with_itself_on_less_than_it_differs():
    jitter, norms = np.array([1.0, 1.1, 1.2, 9.0, 9.0, 3.0]), np.array([0.5, 0.5, 0.5, 8.0, 9.5, 2.0])
    everybody = np.ones(6, dtype=bool)
    assert np.flatnonzero(restless(jitter, norms, everybody, 2.0).suspect).tolist() == [3, 5]
    asked = np.array([True, True, True, False, True, True])
    finding = restless(jitter, norms, asked, 2.0)
    assert np.flatnonzero(finding.suspect).tolist() == [5]
    assert np.isnan(finding.measure).tolist() == [False, False, False, True, False, False]
    assert not restless(jitter, norms, everybody, 4.0).suspect.any()


def test_poor_is_who_lies_below_the_widest_gap_or_below_that_of_the_lower_half():
    """Angles to the middle at 0 degrees; the widest gap of cosines lies above all but the first."""
    angles = np.deg2rad([0.0, 40.0, -40.0, 42.0, -42.0, 55.0, -55.0])
    short = torch.from_numpy(np.stack([np.cos(angles), np.sin(angles)], axis=1)).float()
    everybody = np.ones(7, dtype=bool)
    assert np.flatnonzero(poor(short, everybody, minority=False).suspect).tolist() == [1, 2, 3, 4, 5, 6]
    assert np.flatnonzero(poor(short, everybody, minority=True).suspect).tolist() == [5, 6]
