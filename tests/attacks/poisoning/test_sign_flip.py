"""Oracle: the definition, exactly."""

import pytest
import torch

from gauntlet.attacks.poisoning.sign_flip import SignFlip


def test_the_opposite_of_the_own_update_is_sent(scene):
    own, view = scene([[9.0, 9.0]], [[1.0, -2.0], [0.0, 4.0]])
    sent, _ = SignFlip(scale=2.5).corrupt(own, view, None)
    assert sent.vectors.tolist() == [[-2.5, 5.0], [0.0, -10.0]]
    assert torch.equal(sent.client_ids, own.client_ids)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_a_scale_that_flips_nothing_is_refused(scale):
    with pytest.raises(ValueError, match="scale must be finite and above 0, got"):
        SignFlip(scale)
