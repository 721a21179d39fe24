"""What a procedure owes that combines messages itself, or whose clients hold others' examples."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ....core import trees
from ....core.algorithm_replies import combined, replicated
from ....core.contracts import LocalTraining
from ....core.declarations import Algorithms, Declaration, declared
from ....core.layout import Layout, Slot
from ....core.registry import require
from ....core.trees import State
from ....core.updates import Updates
from ...exchange.exchange import Exchange, exchange_of

_K, _P = 3, 6
_LAYOUT = Layout((Slot("weight", (2, 2), 0), Slot("bias", (2,), 4)))


def step_length(algorithm: Any, exchange: Exchange) -> int:
    """Return how many numbers ``step`` is given."""
    combines = declared(algorithm, Algorithms.combine) is not None
    return (exchange.layout if combines else exchange.up).num_parameters


def aggregate_of(
    algorithm: Any, exchange: Exchange, updates: Updates, state: State, num_clients: int = _K
) -> tuple[Tensor, State]:
    """Return what ``step`` is given: what the algorithm makes of the messages, or their mean."""
    combine = declared(algorithm, Algorithms.combine)
    if combine is None:
        return exchange.unscaled(updates.vectors.mean(dim=0)), state
    verdict, state = combine(updates, state, num_clients)
    return verdict.aggregate, state


def who_combines_or_has_replicas_works_in_a_way_of_its_own(algorithm: Any) -> None:
    for verb in (Algorithms.combine, Algorithms.replicas):
        if declared(algorithm, verb) is None:
            continue
        needs: tuple[Declaration[Any], ...] = (Algorithms.work, Algorithms.init, Algorithms.step)
        missing = [v.name for v in needs if declared(algorithm, v) is None]
        require(not missing, f"an algorithm with {verb.name} needs {' and '.join(missing)} besides")
    both = declared(algorithm, Algorithms.combine) and declared(algorithm, Algorithms.scales)
    require(not both, "an algorithm that combines messages takes them as they are: scales must not be there")


def what_is_replicated_follows_from_a_clients_id(algorithm: Any) -> None:
    replicas = declared(algorithm, Algorithms.replicas)
    if replicas is None:
        return
    for client in range(_K):
        found = [replicas(client, _K) for _ in range(2)]
        replicated(found[0], client, _K)
        require(tuple(found[0]) == tuple(found[1]), "replicas must follow from what it is given alone")


def messages_are_combined_into_an_update(algorithm: Any) -> None:
    """Also of nobody: then it says so; and what it was given stays as it was."""
    combine = declared(algorithm, Algorithms.combine)
    if combine is None:
        return
    length = exchange_of(algorithm, _LAYOUT, algorithm.schedule(LocalTraining())).up.num_parameters
    for size in (_K, 0):
        vectors = torch.zeros(size, length)
        updates = Updates(vectors, torch.arange(size), torch.ones(size, dtype=torch.int64))
        state = algorithm.init()
        before = trees.pack([vectors, state])
        came = combine(updates, state, _K)
        combined(came)
        require(trees.equal(trees.unpack(*before), [vectors, state]), "combine wrote to its inputs")
        made = came[0].aggregate
        require(made.shape == (_P,) and bool(made.isfinite().all()), f"combine gave {list(made.shape)}")
        require(size > 0 or came[0].fallback != "", "combine must say in fallback that nobody was counted")


CHECKS: tuple[Callable[[Any], None], ...] = (
    who_combines_or_has_replicas_works_in_a_way_of_its_own,
    what_is_replicated_follows_from_a_clients_id,
    messages_are_combined_into_an_update,
)
