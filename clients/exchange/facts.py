"""The single numbers that clients state beside their messages, where an algorithm declares some."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...core.contracts import LocalTraining, LocalWork
from ...core.declarations import Algorithms, declared, name_of
from ...core.errors import PluginError

BYTES = 8
"""How long a fact is on its way: a float64, beside the frame, through no codec."""


@dataclass(frozen=True, eq=False)
class Statement:
    """What a client states.

    Attributes:
        names: The names, in the order of the columns of ``Updates.facts``.  # F of them
        who: What messages call the algorithm.
        of: What a client's training makes of it; None of an algorithm that states nothing, or itself in
            ``work``.
        training: How clients train, as the algorithm schedules it.
    """

    names: tuple[str, ...] = ()
    who: str = ""
    of: Callable[[Tensor, LocalWork], Mapping[str, Tensor]] | None = None
    training: LocalTraining = field(default_factory=LocalTraining)

    def __len__(self) -> int:
        return len(self.names)

    def by(self, update: Tensor, work: LocalWork) -> Tensor:
        """Return what clients with these updates [K, P] state, float64.  # [K, F]

        Raises:
            PluginError: As ``rows``.
        """
        if self.of is None:
            return torch.zeros(len(update), 0, dtype=torch.float64)
        return self.rows("facts_of", self.of(update, work), len(update))

    def rows(self, verb: str, said: Any, clients: int) -> Tensor:
        """Return what a verb said by name, a column a name.  # [K, F]

        Raises:
            PluginError: A fact is missing, is none of those declared, or is not one number a client.
        """
        if not isinstance(said, Mapping) or set(said) != set(self.names):
            came = ", ".join(map(str, said)) if isinstance(said, Mapping) else type(said).__name__
            raise PluginError(
                f"{self.who}: {verb} must return {len(self)} facts ({', '.join(self.names)}), got "
                f"{came or 'none'}"
            )
        columns = [torch.as_tensor(said[name], device="cpu").detach() for name in self.names]
        for name, column in zip(self.names, columns, strict=True):
            if column.numel() != clients or column.ndim > 2 or column.is_complex():
                raise PluginError(
                    f"{self.who}: {verb} must return '{name}' as one number a client, [{clients}], got "
                    f"{list(column.shape)}"
                )
        return torch.stack([column.reshape(-1).double() for column in columns], dim=1)


SILENCE = Statement()


def statement_of(algorithm: Any, training: LocalTraining) -> Statement:
    """Return what an algorithm's clients state.

    Raises:
        PluginError: A name that is empty or there twice, or a local rule that never says what they are.
    """
    names, who = tuple(declared(algorithm, Algorithms.facts)), f"algorithm {name_of(algorithm)}"
    if not names:
        return SILENCE
    if len(set(names)) < len(names) or not all(name.isidentifier() for name in names):
        raise PluginError(f"{who}: facts must be different names, letters and digits; got {list(names)}")
    of = declared(algorithm, Algorithms.facts_of)
    if of is None and declared(algorithm, Algorithms.work) is None:
        raise PluginError(f"{who} declares facts ({', '.join(names)}), and has no facts_of that states them")
    return Statement(names, who, of, training)
