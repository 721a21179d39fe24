"""FedSkel: slow clients train and exchange their most important channels, the skeleton, alone.

Source: Luo, Yang, Wang, Zhang, Yang, Zhao, Shi, Cheng. FedSkel: Efficient Federated Learning on Heterogeneous
Systems with Skeleton Gradients Update. CIKM 2021. arXiv:2108.09081, and the authors' public code. The
schedule of rounds and how a client's ratio follows from its number are ours.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from math import floor
from typing import Literal

import torch
from torch import Tensor, nn

from ...core.contracts import LocalTraining, Visit, Worked
from ...core.layout import Layout
from .parts.channels import hidden, layer_of, spread
from .parts.local_sgd import Batch, descend
from .parts.sliced import check, sliced

CRITERIA = ("activation", "gradient", "random")


@dataclass(frozen=True)
class FedSkel:
    """Measure which channels matter in one round, and go back through those alone in the next few.

    Rounds come in cycles. In the first of one, SetSkel, everything is trained and sent, and a client adds up
    over its batches how large every output channel of each hidden layer is. Its skeleton is all channels but
    the floor((1 - r) C) least of the C. In the ``update_rounds`` that follow, UpdateSkel, the forward pass is
    the whole one, with the client's own other rows; backwards the outputs' gradient is cut to the skeleton
    before either product, rows of the skeleton alone move and are sent, and the server takes the mean of each
    over those that sent it. Hidden layers are ``nn.Linear`` and ``nn.Conv2d``; all else is always trained.
    At r = 1 it is FedAvg, bit for bit where clients train one at a time and without dropout.

    A message is the update, 0 outside of the skeleton, and which channels it holds: codec ``zero_rows`` sends
    the skeleton's rows alone. The way down is counted as whole models. The server learns which channels a
    client finds important. A client may claim to hold any share of a channel, which decides what the others'
    rows there are divided by: a liar moves them as far as it likes.

    Attributes:
        keep_ratios: r, above 0 and at most 1; clients of equal shares, the first ids the first ratio.
        update_rounds: UpdateSkel rounds behind each SetSkel round, at least 1.
        criterion: What is added up: ``"activation"``, sizes of outputs; ``"gradient"``, sizes of the outputs'
            gradients; ``"random"``, chance.
        masked: Whether the server divides a row by the clients that sent it, and so needs the plain mean.
            Otherwise a message is how the client's whole model differs from the received one, old rows among
            it, as in the authors' code, and any defense will do.
    """

    keep_ratios: tuple[float, ...] = (1.0,)
    update_rounds: int = 3
    criterion: Literal["activation", "gradient", "random"] = "activation"
    masked: bool = True

    def __post_init__(self) -> None:
        if not self.keep_ratios or not all(0 < ratio <= 1 for ratio in self.keep_ratios):
            raise ValueError(
                f"keep_ratios must be above 0 and at most 1, at least one, got {list(self.keep_ratios)}"
            )
        if self.update_rounds < 1:
            raise ValueError(f"update_rounds must be at least 1, got {self.update_rounds}")
        if self.criterion not in CRITERIA:
            raise ValueError(f"criterion must be one of {', '.join(CRITERIA)}; got {self.criterion!r}")

    @property
    def plain_mean(self) -> bool:
        """Whether the server divides one mean by another."""
        return self.masked

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    def up(self, layout: Layout) -> Layout:
        return layout.repeated("update", "kept") if self.masked else layout

    def memory(self, layout: Layout) -> Layout:
        return layout.repeated("own", "kept")

    def ratio(self, client_id: int, num_clients: int) -> float:
        """Return a client's r."""
        return self.keep_ratios[client_id * len(self.keep_ratios) // num_clients]

    def work(self, visit: Visit) -> Worked:
        """Train in the way of the round's phase; see the class."""
        own, kept = (_group(visit, name) for name in ("own", "kept"))
        setting = visit.round % (1 + self.update_rounds) == 0 or not bool(kept.any())  # or it never was there
        mask = torch.ones_like(kept) if setting else kept
        begun = visit.received.where(mask.bool(), own)
        weights = [slot.name for slot in hidden(visit.layout)]
        channels = {name: firsts(mask) for name, mask in visit.layout.views(mask).items() if name in weights}
        sizes = {name: torch.zeros_like(of) for name, of in channels.items()} if setting else {}
        local, loss = self._trained(visit, begun, channels, sizes)
        if setting:
            kept = spread(visit.layout, self._skeleton(visit, sizes))
        change = torch.cat([local - begun, mask])  # 0 outside of the mask, where no gradient came
        return Worked(change if self.masked else local - visit.received, loss, torch.cat([local, kept]))

    def _trained(
        self, visit: Visit, begun: Tensor, kept: dict[str, Tensor], sizes: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return where local SGD comes to [P], and its loss; sizes of channels are added to ``sizes``."""
        channels = {layer_of(name): mask.nonzero().flatten() for name, mask in kept.items()}

        def value(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
            with sliced(model, channels, "fedskel"), ExitStack() as watching:
                for name, size in sizes.items():
                    layer = check("fedskel", layer_of(name), model.get_submodule(layer_of(name)))
                    handle = layer.register_forward_hook(_Meter(size, self.criterion == "gradient"))
                    watching.callback(handle.remove)
                loss = visit.loss(model(batch.x), batch.y)
            return loss, loss

        return descend(visit, value, begun)

    def _skeleton(self, visit: Visit, sizes: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return by weight which channels are the client's skeleton, 1 or 0.  # [C] each"""
        ratio, stream = self.ratio(visit.client_id, visit.num_clients), visit.stream("skeleton")
        found = {}
        for name, size in sizes.items():
            drawn = torch.from_numpy(stream.random(len(size)))
            found[name] = skeleton(drawn if self.criterion == "random" else size, ratio)
        return found

    def init(self) -> None:
        return None

    def step(self, params: Tensor, aggregate: Tensor, state: None, share: float) -> tuple[Tensor, None]:
        """Add each row's mean over those that sent it; not ``masked``, the aggregate."""
        if not self.masked:
            return params + aggregate, state
        update, kept = aggregate.view(2, -1)
        return params + torch.where(kept > 0, update / kept.where(kept > 0, 1.0), 0.0), state


class _Meter:
    """Adds to each channel how large its outputs, or their gradients, are."""

    def __init__(self, size: Tensor, gradients: bool) -> None:
        self._size, self._gradients = size, gradients

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> None:
        if self._gradients:
            outputs.register_hook(lambda gradient: self._add(layer, gradient))  # type: ignore[no-untyped-call]
        else:
            self._add(layer, outputs.detach())

    def _add(self, layer: nn.Module, values: Tensor) -> None:
        channel = 1 if isinstance(layer, nn.Conv2d) else values.ndim - 1
        self._size += values.abs().transpose(0, channel).flatten(1).sum(dim=1)


def skeleton(sizes: Tensor, ratio: float) -> Tensor:
    """Return 0 for the floor((1 - ratio) C) least channels, of equals the first, else 1.  # [C]"""
    cut = floor((1 - ratio) * len(sizes) + 1e-9)  # 1e-9: 0.1 * 10 in floating point is no whole channel
    kept = torch.ones(len(sizes))
    kept[sizes.argsort(stable=True)[:cut]] = 0
    return kept


def firsts(mask: Tensor) -> Tensor:
    """Return what a layer's mask [C, ...] says of each channel.  # [C]"""
    return mask.flatten(1)[:, 0]


def _group(visit: Visit, name: str) -> Tensor:
    """Return one group of what the client remembers.  # [P]"""
    return torch.cat([v.flatten() for key, v in visit.own.items() if key.partition("/")[0] == name])
