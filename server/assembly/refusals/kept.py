"""What an algorithm does not go with whose clients keep a part of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....clients.training.defending import changes_updates
from ....core.declarations import Algorithms, Defenses, declared
from ....core.errors import ScenarioError

if TYPE_CHECKING:
    from ..parts import Parts


def of_their_own(parts: Parts) -> str:
    """Return why clients cannot be stacked."""
    return f"with algorithm '{parts.spec.algorithm.name}' each has a part of the model of its own"


def a_part_that_is_kept_besides(parts: Parts) -> ScenarioError | None:
    """An algorithm whose clients keep a part of the model, and that also changes or exchanges something."""
    if not parts.brings(Algorithms.keeps):
        return None
    others = Algorithms.work, Algorithms.up, Algorithms.down, Algorithms.memory, Algorithms.levels
    for verb in (*others, Algorithms.personal, Algorithms.added_loss, Algorithms.step):
        if parts.brings(verb):
            return ScenarioError(f"{_who(parts)}, and it cannot declare {verb.name} besides")
    if declared(parts.algorithm, Algorithms.facts):
        return ScenarioError(f"{_who(parts)}, and it cannot declare facts besides")
    if not declared(parts.algorithm, Algorithms.plain):
        return ScenarioError(f"{_who(parts)}, and it must declare plain: gradients stay as they are")
    return None


def stacking_of_models_that_differ(parts: Parts) -> ScenarioError | None:
    """``vectorize = on`` where each client has a part of the model of its own."""
    if not parts.brings(Algorithms.keeps) or parts.spec.vectorize != "on":
        return None
    return ScenarioError(f"vectorize = on cannot be: {of_their_own(parts)}; use auto or off")


def a_client_defense_of_whole_updates(parts: Parts) -> ScenarioError | None:
    """A client defense that changes updates, and would count what is not sent."""
    if not parts.brings(Algorithms.keeps) or not changes_updates(parts.client_defense):
        return None
    return ScenarioError(
        f"{_who(parts)}, and client defense '{parts.spec.client_defense.name}' changes updates of whole "
        "ones; use one that wraps the model or alters examples, or none"
    )


def a_rule_that_runs_models(parts: Parts) -> ScenarioError | None:
    """A defense that runs, plants or certifies models, of which a part is not there."""
    verbs = Defenses.prepare, Defenses.evaluate
    runs = any(declared(parts.defense, verb) is not None for verb in verbs)
    if not parts.brings(Algorithms.keeps) or not (runs or declared(parts.defense, Defenses.runs_models)):
        return None
    return ScenarioError(
        f"{_who(parts)}, and defense '{parts.spec.defense.name}' works on whole ones; use one that looks at "
        "updates alone, such as median"
    )


def _who(parts: Parts) -> str:
    return f"with algorithm '{parts.spec.algorithm.name}' clients keep a part of the model"
