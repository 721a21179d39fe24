"""What an algorithm does not go with that combines messages itself, or whose clients have replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....core.declarations import Algorithms, Codecs, Defenses, Mechanisms, declared
from ....core.errors import ScenarioError

if TYPE_CHECKING:
    from ..parts import Parts


def _who(parts: Parts) -> str:
    return f"algorithm '{parts.spec.algorithm.name}'"


def a_step_before_messages_are_combined(parts: Parts) -> ScenarioError | None:
    """A pre-aggregation, with an algorithm that combines the messages as they were sent."""
    named = parts.spec.pre_aggregations
    if not named or not parts.brings(Algorithms.combine):
        return None
    return ScenarioError(
        f"{_who(parts)} combines the messages as they were sent: leave pre_aggregations out, got '{named[0]}'"
    )


def a_codec_that_a_combination_magnifies(parts: Parts) -> ScenarioError | None:
    """A codec that loses something of messages which an algorithm combines with factors of its own."""
    if not parts.brings(Algorithms.combine) or declared(parts.codec, Codecs.lossless):
        return None
    return ScenarioError(
        f"{_who(parts)} combines messages with factors that magnify what codec '{parts.spec.codec.name}' "
        "loses of each; use identity"
    )


def a_server_without_replicas(parts: Parts) -> ScenarioError | None:
    """A defense that trains on the server's own examples, of which no client has a replica."""
    if not parts.brings(Algorithms.replicas) or not declared(parts.defense, Defenses.needs_root):
        return None
    return ScenarioError(
        f"{_who(parts)} has clients work on replicas of each other's examples, and defense "
        f"'{parts.spec.defense.name}' has the server do the same on its own, of which there is no replica; "
        "use one that needs none"
    )


def replicas_that_no_mechanism_counts(parts: Parts) -> ScenarioError | None:
    """A privacy mechanism, where an example reaches messages of several clients, whatever is declared."""
    if not parts.brings(Algorithms.replicas) or parts.spec.privacy.name == "none":
        return None
    return ScenarioError(
        f"{_who(parts)} has clients work on replicas of each other's examples, and privacy "
        f"'{parts.spec.privacy.name}' counts each example in one client's messages alone; use none"
    )


def a_mean_that_a_combination_does_not_take(parts: Parts) -> ScenarioError | None:
    """A mechanism that protects a mean or shows a sum alone, where the algorithm combines single messages."""
    name = parts.spec.privacy.name
    if not parts.brings(Algorithms.combine) or name == "none":
        return None
    if declared(parts.mechanism, Mechanisms.trust_model) == "local":
        return None
    return ScenarioError(
        f"{_who(parts)} combines single messages with factors of its own, and privacy '{name}' protects a "
        "mean or a sum of them; use none, or noise that clients add themselves"
    )
