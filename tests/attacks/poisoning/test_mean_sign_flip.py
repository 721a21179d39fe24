"""Oracle: the golden matrix of the robustness spec, section 7."""

import numpy as np

from gauntlet.attacks.poisoning.mean_sign_flip import MeanSignFlip


def test_the_golden_row_is_sent_by_everybody(golden_scene):
    """Spec 7, row ``mean sign flip``, on H = X[:9]."""
    sent, _ = MeanSignFlip().corrupt(*golden_scene, None)
    golden = [0.451238160, 0.425198050, 0.267938726, 0.589780352, -0.020460547]
    np.testing.assert_allclose(sent.vectors, [golden, golden], atol=1e-9)


def test_without_honest_clients_the_attackers_mean_stands_in(scene):
    own, view = scene(np.zeros((0, 2)), [[1.0, 2.0], [3.0, 6.0]])
    sent, _ = MeanSignFlip().corrupt(own, view, None)
    assert sent.vectors.tolist() == [[-2.0, -4.0], [-2.0, -4.0]]
