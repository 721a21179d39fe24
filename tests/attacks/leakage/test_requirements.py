from dataclasses import replace

import pytest

from gauntlet.attacks.leakage.dlg import DLG
from gauntlet.attacks.leakage.requirements import refuse_unmet
from gauntlet.core.errors import PluginError
from gauntlet.core.observation import Knowledge


def test_the_refusal_lists_every_missing_item(digits, mlp, observe):
    """Leakage specification, section 12: "requirement refusal lists missing items"."""
    x, y = digits
    observation = replace(observe(mlp(), x[:1], y[:1]), knowledge=Knowledge(batch_size=1))

    with pytest.raises(PluginError, match=r"missing here: lr, local_steps \(client 0, round 0\)"):
        refuse_unmet(DLG(), observation)


def test_an_attack_is_refused_where_knowledge_has_another_value_than_it_works_with(digits, mlp, observe):
    x, y = digits
    knowledge = Knowledge(batch_size=2, local_steps=3, lr=0.1)
    observation = replace(observe(mlp(), x[:2], y[:2]), knowledge=knowledge)

    with pytest.raises(
        PluginError, match=r"DLG works with local_steps = 1 only, got local_steps = 3 \(client 0"
    ):
        refuse_unmet(DLG(), observation)


def test_an_attack_that_declares_nothing_runs_on_anything(digits, mlp, observe):
    x, y = digits

    refuse_unmet(object(), replace(observe(mlp(), x[:1], y[:1]), knowledge=Knowledge()))
