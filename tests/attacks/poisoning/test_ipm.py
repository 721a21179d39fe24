"""Oracle: the golden matrix of the robustness spec, section 7."""

import numpy as np
import pytest

from gauntlet.attacks.poisoning.ipm import InnerProductManipulation


@pytest.mark.parametrize(
    ("tau", "golden"),
    [
        (0.1, [0.045123816, 0.042519805, 0.026793873, 0.058978035, -0.002046055]),
        (2.0, [0.902476319, 0.850396099, 0.535877452, 1.179560704, -0.040921094]),
    ],
)
def test_the_golden_row_is_sent_by_everybody(golden_scene, tau, golden):
    """Spec 7, rows ``IPM``, on H = X[:9]."""
    sent, _ = InnerProductManipulation(tau).corrupt(*golden_scene, None)
    np.testing.assert_allclose(sent.vectors, [golden, golden], atol=1e-9)


def test_the_mean_turns_round_once_tau_exceeds_honest_over_malicious(golden_scene):
    """Nine honest, two malicious: at tau = 4.5 the plain mean of all eleven rows is zero."""
    own, view = golden_scene
    honest_sum = view.honest.vectors.sum(dim=0)
    for tau, sign in ((4.4, 1), (4.6, -1)):
        total = honest_sum + InnerProductManipulation(tau).corrupt(own, view, None)[0].vectors.sum(dim=0)
        assert (total * honest_sum).sign().tolist() == [sign] * 5


@pytest.mark.parametrize("tau", [0.0, -0.1, float("inf"), float("nan")])
def test_a_tau_that_does_not_manipulate_is_refused(tau):
    with pytest.raises(ValueError, match="tau must be finite and above 0, got"):
        InnerProductManipulation(tau)
