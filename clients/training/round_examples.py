"""What each client trains on in a round: its own examples, poisoned where it attacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from ...core.declarations import ClientData, DataAttacks, declared
from ...core.errors import PluginError
from ...core.observation import Truth
from ...core.seeds import generator
from ..data.base import FederatedData, PartitionedData
from ..exchange.levels import ALL_LABELS, EveryLabel, HeldLabels
from .minibatches import gathered
from .seen_model import SeenModels
from .shelf import Shelf

if TYPE_CHECKING:
    from ...core.contracts import DataAttack, LocalTraining, SeenModel
    from ...core.roles import Role
    from ..exchange.messages import Broadcast
    from .defending import Alter

Array = np.ndarray[Any, Any]


class RoundExamples:
    """The clients' examples, round by round."""

    def __init__(
        self,
        data: FederatedData,
        poisons: tuple[Role[DataAttack], ...],
        seed: int,
        device: str = "cpu",
        labels: EveryLabel | HeldLabels = ALL_LABELS,
        model: nn.Module | None = None,
        alter: Alter | None = None,
    ) -> None:
        """Take the data, the attacks on examples and who runs them, and what a shelf must know.

        Args:
            data: Whose examples.
            poisons: Attacks on examples, and who runs them.
            seed: The run's seed.
            device: Where clients train.
            labels: Which labels count in each client's loss.
            model: The clients' model, for attacks that look at it.
            alter: What clients train on in the place of their examples, as a defense of theirs says.
        """
        self._data, self._poisons, self._seed, self._device = data, poisons, seed, device
        self._labels, self._alter = labels, alter
        self._shelf: Shelf | None = None  # the data's own, once it is needed
        looks = any(declared(role.attack, DataAttacks.sees_model) for role in poisons)
        self._models = None if model is None or not looks else SeenModels(model)
        self._seen: tuple[int, SeenModel] | None = None  # what clients received last, and in which round

    def receive(self, broadcast: Broadcast) -> None:
        """Take what clients receive in a round, before they are asked for their examples in it."""
        if self._models is not None:
            self._seen = broadcast.round, self._models.of(broadcast.params.cpu(), broadcast.buffers)

    def of(self, client_id: int, round_: int) -> tuple[Tensor, Tensor]:
        """Return what the client trains on."""
        x, y = self.behind(client_id, round_)
        return (x, y) if self._alter is None else self._alter(client_id, round_, x, y)

    def behind(self, client_id: int, round_: int) -> tuple[Tensor, Tensor]:
        """Return what stands behind that: the examples before a defense of the client's alters them."""
        x, y = self._data.client(client_id)
        for number, role in enumerate(self._poisons):
            if client_id in role.attackers(round_):
                stream = generator(self._seed, "poison", number, round_, client_id)
                attack = role.of(client_id, round_)
                told = (self._shown(role, round_),) if declared(role.attack, DataAttacks.sees_model) else ()
                x, y = attack.poison(x, y, stream, *told)
        return x, y

    def retrained(self, client_id: int, round_: int, training: LocalTraining) -> Tensor | None:
        """Return the update that an attack on a client's examples writes itself, if one does.  # [P]"""
        for number, role in enumerate(self._poisons):
            if client_id not in role.attackers(round_):
                continue
            attack = role.of(client_id, round_)
            retrain = declared(attack, DataAttacks.retrain)
            if retrain is not None:
                stream = generator(self._seed, "retrain", number, round_, client_id)
                x, y = self._data.client(client_id)
                return retrain(x, y, stream, self._shown(role, round_), training)
        return None

    @property
    def retrain(self) -> bool:
        """Whether some attack writes its clients' updates itself."""
        return any(declared(role.attack, DataAttacks.retrain) is not None for role in self._poisons)

    def _shown(self, role: Role[Any], round_: int) -> SeenModel:
        if self._seen is None or self._seen[0] != round_:
            raise PluginError(
                f"attack '{role.kind}' makes its examples of round {round_} from the model that its client "
                "receives then, which is not known here"
            )
        return self._seen[1]

    def truth(self, client_id: int, round_: int, batches: Callable[[int], list[Array]]) -> Truth:
        """Return the examples behind the client's steps, each once, and what it trains on in their place.

        ``batches`` is as for ``taken``.
        """
        x, y = self.behind(client_id, round_)
        rows = np.unique(np.concatenate(batches(len(y))))
        framing = declared(self._data, ClientData.framing)
        if self._alter is None:
            return Truth(x[rows], y[rows], framing=framing)
        altered, labels = self._alter(client_id, round_, x, y)
        return Truth(x[rows], y[rows], altered=(altered[rows], labels[rows]), framing=framing)

    def shelf_of(self, ids: list[int], round_: int) -> tuple[Shelf, list[Array]]:
        """Return where the clients' examples lie, with which labels count, and each client's rows there."""
        if isinstance(self._data, PartitionedData) and not self._poisons and self._alter is None:
            self._shelf = self._shelf or Shelf.around(self._data.x, self._data.y).to(self._device)
            places = [self._data.rows(i) for i in ids]
            return self._labels.marked(self._shelf, ids, places), places
        examples = [self.of(i, round_) for i in ids]
        ends = np.cumsum([len(y) for _, y in examples])
        places = [np.arange(e - len(y), e) for e, (_, y) in zip(ends, examples, strict=True)]
        return self._labels.marked(Shelf.joined(examples).to(self._device), ids, places), places

    def taken(
        self, client_id: int, round_: int, batches: Callable[[int], list[Array]]
    ) -> tuple[int, tuple[Tensor, Tensor], list[Array]]:
        """Return how many examples a client has, those that its steps take, and each step's rows of them.

        Args:
            client_id: Who.
            round_: When.
            batches: From how many examples there are to the rows of each local step.
        """
        poisoned = any(client_id in role.attackers(round_) for role in self._poisons)
        other = poisoned or self._alter is not None
        if other or not isinstance(self._data, PartitionedData):
            examples = self.of(client_id, round_)
            count = len(examples[1])
            return count, examples, batches(count)
        count = self._data.num_examples(client_id)
        rows, steps = gathered(batches(count))
        return count, self._data.at(self._data.rows(client_id)[rows]), steps
