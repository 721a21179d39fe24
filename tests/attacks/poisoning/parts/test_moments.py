"""What attacks on a crowd take for honest behaviour."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning import UPDATE_ATTACKS
from gauntlet.core.contracts import UpdateKnowledge
from gauntlet.core.errors import PluginError

CROWD = ("alie", "ipm", "mean_sign_flip", "min_max", "min_sum", "fang_trim")


@pytest.mark.parametrize("name", CROWD)
def test_colluders_send_what_they_would_if_all_honest_clients_were_like_them(scene, name):
    """Oracle: the omniscient attack, shown the attackers' own honest updates as those of the honest."""
    rows = 0.5 + np.random.default_rng(4).normal(size=(9, 12))
    own, view = scene(rows[:5], rows[5:])
    colluding = UPDATE_ATTACKS.build(name, {"knowledge": "colluders"})
    omniscient = UPDATE_ATTACKS.build(name)
    assert (colluding.knowledge, omniscient.knowledge) == (
        UpdateKnowledge.COLLUDERS,
        UpdateKnowledge.OMNISCIENT,
    )

    def sent(attack, honest):
        fresh = replace(view, honest=honest, generator=np.random.default_rng(0))
        return attack.corrupt(own, fresh, attack.init())[0].vectors

    alike = sent(omniscient, own)
    assert torch.equal(sent(colluding, None), alike)
    assert not torch.allclose(sent(omniscient, view.honest), alike)
    assert not torch.allclose(alike, own.vectors)


@pytest.mark.parametrize("name", CROWD)
def test_a_single_update_is_no_crowd(name):
    with pytest.raises(PluginError, match="knowledge must be omniscient or colluders, got own"):
        UPDATE_ATTACKS.build(name, {"knowledge": "own"})
    with pytest.raises(PluginError, match=r"option 'knowledge' is 'all': .*'colluders' or 'omniscient'"):
        UPDATE_ATTACKS.build(name, {"knowledge": "all"})
