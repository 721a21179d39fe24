"""Parts for Flower's own runtime: our defenses as its strategies, our attacks as mods of its clients.

``GauntletStrategy`` runs a defense of ours in a Flower ``ServerApp``, and ``attack_mod`` makes chosen nodes
of a Flower ``ClientApp`` lie. The other way, its strategies as defenses here, is ``flower_strategies``.

Nothing imports this file until it is asked for, so that Gauntlet neither needs Flower nor loads it.

Source: Beutel et al. Flower: A Friendly Federated Learning Research Framework. arXiv:2007.14390
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...core.declarations import Defenses, declared
from ...core.errors import InfeasibleCohort, PluginError
from ...core.updates import Context, Updates, all_finite
from ...defenses import DEFENSES
from .mod import ClientMod, attack_mod
from .records import checked_vector_of, claim_of, client_id_of, layout_of, only, values_of, vector_of

if TYPE_CHECKING:
    from ...core.contracts import Defense, Verdict
    from ...core.trees import State

try:
    from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
    from flwr.serverapp import Grid
    from flwr.serverapp.strategy import FedAvg
except ModuleNotFoundError as error:
    raise PluginError(f"Flower is not installed ({error}): pip install 'gauntlet-fl[flower]'") from error

__all__ = ["ClientMod", "GauntletStrategy", "attack_mod", "client_id_of"]

_log = logging.getLogger(__name__)


class GauntletStrategy(FedAvg):
    """Aggregate with a defense of Gauntlet's inside Flower's own runtime; the rest is FedAvg's.

    The defense sees local minus global arrays, client ids that are the nodes' own, and the public context;
    what it remembers is kept from round to round in ``memory``. A reply that cannot be decoded, does not fit
    the global arrays or is not finite is left out with a warning, as in a run of Gauntlet's. Arrays of whole
    numbers stay as they were.

    Attributes:
        defense: The plug-in.
        memory: The defense's state, a tree as ``core.trees`` describes.
        verdict: What the defense said in the last round; None before the first.
    """

    def __init__(
        self,
        defense: Defense | str,
        options: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        **fedavg: Any,
    ) -> None:
        """Take a defense, or its name and ``options``; ``fedavg`` goes to Flower's FedAvg."""
        super().__init__(**fedavg)
        self.defense: Defense = DEFENSES.build(defense, options) if isinstance(defense, str) else defense
        if declared(self.defense, Defenses.needs_root):
            raise ValueError("the defense needs examples of the server's own: Flower's server has none")
        if declared(self.defense, Defenses.runs_models):
            raise ValueError("the defense runs candidate models: Flower's server knows arrays, and no model")
        if declared(self.defense, Defenses.prepare) is not None:
            raise ValueError("the defense plants something in the parameters: Flower sends its own down")
        self.seed = seed
        self.memory: State = self.defense.init()
        self.verdict: Verdict | None = None
        self._arrays: ArrayRecord | None = None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        self._arrays = arrays
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        if self._arrays is None:
            raise ValueError("aggregate_train came before configure_train: the global arrays are not known")
        layout = layout_of(self._arrays)
        context = Context(server_round - 1, vector_of(self._arrays, layout), layout, self.seed)
        updates, heard = self._updates(replies, self._arrays, context)
        if not heard:
            return None, None
        if (decided := self._decided(updates)) is None:
            return None, None
        self.verdict, self.memory = decided
        values = values_of(context.params + self.verdict.aggregate, self._arrays, layout)
        moved = {name: Array(value) for name, value in values.items()}
        return ArrayRecord(dict(self._arrays) | moved), self._metrics(heard)

    def _decided(self, updates: Updates) -> tuple[Verdict, State] | None:
        """Return the verdict and the new memory; None where the defense cannot judge these clients."""
        least = declared(self.defense, Defenses.least_cohort)
        try:
            if len(updates) < least:
                raise InfeasibleCohort(f"the defense needs {least} updates or more, got {len(updates)}")
            return self.defense.aggregate(updates, self.memory)
        except InfeasibleCohort as reason:
            _log.warning("the arrays stay as they were: %s", reason)
            return None

    def _updates(
        self, replies: Iterable[Message], like: ArrayRecord, context: Context
    ) -> tuple[Updates, list[Message]]:
        """Return the updates that can be used and the replies behind them, in ascending client id."""
        by_id = {client_id_of(reply.metadata.src_node_id): reply for reply in replies}
        vectors = torch.empty(len(by_id), context.layout.num_parameters)  # [K, P]
        ids: list[int] = []
        for client_id, reply in sorted(by_id.items()):
            try:
                vectors[len(ids)] = self._update(reply, like, context)
            except ValueError as reason:
                _log.warning("node %d is left out: %s", reply.metadata.src_node_id, reason)
            else:
                ids.append(client_id)
        heard = [by_id[i] for i in ids]
        claims = [int(only(r.content.metric_records)[self.weighted_by_key]) for r in heard]
        rows = vectors[: len(ids)]
        return Updates(rows, torch.tensor(ids), torch.tensor(claims), context=context), heard

    def _update(self, reply: Message, like: ArrayRecord, context: Context) -> Tensor:
        """Return a reply's local minus global arrays.  # [P]

        Raises:
            ValueError: Why the reply is no update.
        """
        if reply.has_error():
            raise ValueError(f"error: {reply.error.reason!r}")
        arrays, metrics = only(reply.content.array_records), only(reply.content.metric_records)
        if arrays is None:
            raise ValueError("its arrays are not those of the global model")
        if claim_of(metrics, self.weighted_by_key) is None:
            raise ValueError(f"it has no '{self.weighted_by_key}' between 0 and 2**53")
        update = checked_vector_of(arrays, like, context.layout) - context.params
        if not all_finite(update):
            raise ValueError("its values are not finite")
        return update

    def _metrics(self, heard: list[Message]) -> MetricRecord | None:
        """Return the clients' metrics as FedAvg does, of those that report what most of them do."""
        forms = [_form(only(reply.content.metric_records)) for reply in heard]
        usual = Counter(forms).most_common(1)[0][0]
        alike = [reply.content for reply, form in zip(heard, forms, strict=True) if form == usual]
        for odd in (reply for reply, form in zip(heard, forms, strict=True) if form != usual):
            node_id = odd.metadata.src_node_id
            _log.warning("node %d is left out of the metrics: it reports other ones than most", node_id)
        if not any(only(content.metric_records)[self.weighted_by_key] for content in alike):
            return None
        return self.train_metrics_aggr_fn(alike, self.weighted_by_key)


def _form(metrics: MetricRecord) -> frozenset[tuple[str, int | None]]:
    """Return each metric's name with the length of its list, None for a number: what can be averaged."""
    return frozenset((k, len(v) if isinstance(v, list) else None) for k, v in metrics.items())
