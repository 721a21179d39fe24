"""Oracle: the definition."""

from gauntlet.attacks.poisoning.zero import Zero


def test_every_coordinate_is_zero(scene):
    own, view = scene([[1.0, 1.0]], [[2.0, 3.0], [-1.0, 5.0]])
    sent, _ = Zero().corrupt(own, view, None)
    assert sent.vectors.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert own.vectors.tolist() == [[2.0, 3.0], [-1.0, 5.0]]
