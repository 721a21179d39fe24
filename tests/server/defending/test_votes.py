"""What a vote of noisy models certifies in whole runs, beside liars who push as hard as they may."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from gauntlet.core.contracts import EvaluatedModel, UpdateKnowledge
from gauntlet.defenses.crfl import CRFL
from gauntlet.server.round import run_round
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

OPTIONS = {
    "clip_norm": 15.0,
    "noise_std": 0.04,
    "update_clip_norm": 0.1,
    "num_byzantine": 2,
    "votes": 300,
    "alpha": 0.01,
}


@dataclass(frozen=True)
class Pushing:
    """Sends class 3 up and the others down, everywhere alike, as long as ``size`` says."""

    size: float = 1e20

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN

    def init(self) -> None:
        return None

    def corrupt(self, own: Any, view: Any, state: None) -> Any:
        push = torch.full((10, 65), -1.0)
        push[3] = 9.0
        lie = torch.cat([push[:, :-1].flatten(), push[:, -1]])
        return own.with_vectors((self.size * lie).expand(len(own), -1)), state


def after(small, size):
    """Return a run and its state after two rounds, in the second of which two of eight push so hard."""
    role = RoleSpec(PluginSpec(f"{__file__}:Pushing", {"size": size}), (0, 1), start_round=1)
    spec = small(
        model=PluginSpec("logistic_regression"), defense=PluginSpec("crfl", OPTIONS), roles=(role,), rounds=2
    )
    simulation = prepare(spec)
    state, pool = simulation.first, simulation.serial_pool()
    for _ in range(2):
        state, _ = run_round(simulation.plan, state, pool)
    return simulation, state


def test_liars_of_the_last_round_take_no_certified_vote_and_take_others(small):
    """The same round twice, once with two silent and once with two liars: noise and honest clients are equal.

    The models are apart by at most the reach, 2 * 0.1 / 8, and no certified example's vote differs.
    """
    simulation, quiet = after(small, 0.0)
    _, loud = after(small, 1e20)
    certifier = simulation.certifier
    columns = certifier._columns(quiet, quiet.params, certifier.x)
    moved = float((loud.params - quiet.params).norm())
    assert 0.95 * columns["reach"] < moved <= columns["reach"]

    def votes(state):
        run = certifier.models.forward(state.buffers)
        known = EvaluatedModel(state.round, simulation.plan.layout, 10, 7, run, 8.0, 1.0)
        return CRFL(**OPTIONS)._counted(state.params, certifier.x, known).argmax(dim=1)

    differs = votes(quiet) != votes(loud)
    assert int(columns["certified"].sum()) > 50
    assert not bool((differs & columns["certified"]).any())
    assert bool(differs.any())
