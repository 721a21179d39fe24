"""What a client's own defense does not go with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....clients.training.defending import changes_updates
from ....core.declarations import Algorithms, ClientDefenses, declared
from ....core.errors import PluginError, ScenarioError

if TYPE_CHECKING:
    from ..fitted import Fitted
    from ..parts import Parts


def _acts(parts: Parts) -> bool:
    """Return whether a defense changes updates or examples; one may wrap the model alone."""
    examples = declared(parts.client_defense, ClientDefenses.examples) is not None
    return examples or changes_updates(parts.client_defense)


def a_defense_of_clients_that_work_in_their_own_way(parts: Parts) -> ScenarioError | None:
    """A defense around local SGD, with an algorithm that sends something else than an update of it."""
    if not _acts(parts) or not parts.brings(Algorithms.work):
        return None
    return ScenarioError(
        f"client defense '{parts.spec.client_defense.name}' stands between local SGD and what a client lets "
        f"out, and algorithm '{parts.spec.algorithm.name}' works in a way of its own; use another algorithm"
    )


def gradients_that_go_out_beside_a_defended_update(parts: Parts) -> ScenarioError | None:
    """A defense of updates, with an algorithm that also sends a gradient over all of a client's examples."""
    if not changes_updates(parts.client_defense) or not declared(parts.algorithm, Algorithms.full_gradient):
        return None
    return ScenarioError(
        f"client defense '{parts.spec.client_defense.name}' changes updates, and algorithm "
        f"'{parts.spec.algorithm.name}' as configured also makes what it sends of a gradient over all of a "
        "client's examples, which nothing would change; use other options (scaffold: option = 'II') or "
        "another algorithm"
    )


def a_look_at_examples_behind_their_privacy(parts: Parts) -> ScenarioError | None:
    """A defense that tells something of single examples, after a mechanism that protects each of them."""
    if not _acts(parts) or not parts.in_steps:
        return None
    if not declared(parts.client_defense, ClientDefenses.looks_at_examples):
        return None
    return ScenarioError(
        f"client defense '{parts.spec.client_defense.name}' looks at single examples, of which privacy "
        f"'{parts.spec.privacy.name}' has let out what it may already; use gradient_pruning, which looks at "
        "the update alone, or a mechanism that protects whole clients"
    )


def a_model_that_a_client_defense_cannot_work_on(fitted: Fitted) -> ScenarioError | None:
    """A defense that says so itself of the run's model."""
    defense = fitted.parts.client_defense
    check = declared(defense, ClientDefenses.check)
    if check is None:
        return None
    try:
        check(fitted.model, fitted.data.input_shape)
    except PluginError as error:
        refusal = ScenarioError(str(error))
        refusal.__cause__ = error
        return refusal
    return None
