"""What attacks that see the model want of it: a trigger that follows the model is another one for each.

It is asked anew for every model that is evaluated, in the server's process whatever the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...clients.placement.device import one_thread
from ...core.contracts import Goal
from ...core.declarations import DataAttacks, declared
from ...core.errors import PluginError
from .evaluation import GoalScore, Score, goal_score

if TYPE_CHECKING:
    from torch import Tensor

    from ...clients.scoring.candidates import CandidateModels
    from ...clients.training.seen_model import SeenModels
    from ...core.roles import Role


@dataclass(frozen=True, eq=False)
class MovingGoals:
    """The goals of a run that follow the model.

    Attributes:
        attacks: By place among all goals of the run: the attack's name, and its ``goal``.
        seen: Shows the model to the attacks.
        models: Runs it.
        x, y: The test set.
    """

    attacks: dict[int, tuple[str, Callable[..., Goal]]]
    seen: SeenModels
    models: CandidateModels
    x: Tensor
    y: Tensor

    def of(self, params: Tensor, buffers: Tensor) -> list[tuple[str, Goal]]:
        """Return what the attacks want of a model, by name.

        Raises:
            PluginError: One raised, or does not return a goal.
        """
        found, model = [], self.seen.of(params, buffers)
        for name, goal in self.attacks.values():
            with one_thread():
                wish = goal(self.x.clone(), self.y.clone(), model)
            if not isinstance(wish, Goal):
                raise PluginError(f"attack '{name}': goal must return a Goal, got a {type(wish).__name__}")
            found.append((name, wish))
        return found

    def joined(self, score: Score, params: Tensor, buffers: Tensor) -> Score:
        """Return a model's score with how far these attacks came, each in its place among the others."""
        goals = list[GoalScore](score.goals)
        run = self.models.forward(buffers)
        for place, (name, goal) in zip(self.attacks, self.of(params, buffers), strict=True):
            predicted = run(params[None], goal.x)[0].argmax(dim=-1) if len(goal.x) else goal.truth
            goals.insert(place, goal_score(name, goal, predicted))
        return replace(score, goals=tuple(goals))


def moving(roles: Sequence[Role[Any]]) -> dict[int, tuple[str, Callable[..., Goal]]]:
    """Return the attacks whose goals follow the model, by their place among all that have a goal."""
    wanted = [r for r in roles if declared(r.attack, DataAttacks.goal) is not None]
    return {
        place: (role.kind, role.attack.goal)
        for place, role in enumerate(wanted)
        if declared(role.attack, DataAttacks.sees_model)
    }
