"""HeteroFL: clients train models of several widths, each the leading channels of one global model.

Source: Diao, Ding, Tarokh. HeteroFL: Computation and Communication Efficient Federated Learning for
Heterogeneous Clients. ICLR 2021. arXiv:2010.01264, and the authors' code.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isclose
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ...core.contracts import LocalTraining, Part
from ...core.layout import Layout
from ..models.narrowed import classifier, narrowed


@dataclass(frozen=True)
class HeteroFL:
    """Train FedAvg on models of several widths; a coordinate is averaged over the clients that have it.

    A client of rate r has the first ceil(r C) of each hidden layer's C outputs, and all classes. Where no
    client of a cohort has a coordinate the aggregate is 0: it keeps its value, but for central noise and a
    server optimizer that remembers. A narrow client computes with a narrow model: its step,
    its message and what it receives are as small as that. The defense is a mean that counts alike (the
    paper's), or any that declares ``partial``.

    A model without hidden layers is the whole one at every rate.

    The paper's models have batch norm, whose statistics are collected afterwards; here group norm needs none.
    Group norm's groups of a narrow model are other channels than those of the wide one, as in the authors'
    code.

    Attributes:
        rates: The paper's r of each level, above 0 and at most 1.
        shares: The share of clients of each level, above 0, summing to 1; empty: equal shares.
        mode: ``"fix"``: a client's level stays; the first clients by id have the first rate, and so on.
            ``"dynamic"``: every client's level is drawn anew in each round.
        scale: Whether hidden layers' outputs are divided by r in training (the paper's Scaler), so that wide
            and narrow ones are as large.
        mask: Whether a client's logits of labels that it does not hold are 0 in its loss, and the
            classifier's rows of a label come from clients alone that hold it. It tells the server which
            labels each client holds, which no mechanism here protects: there is then no epsilon.
    """

    rates: tuple[float, ...] = (1.0, 0.5, 0.25, 0.125, 0.0625)
    shares: tuple[float, ...] = ()
    mode: Literal["fix", "dynamic"] = "dynamic"
    scale: bool = True
    mask: bool = True

    plain: ClassVar[bool] = True
    weighs_alike: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.rates or not all(0 < rate <= 1 for rate in self.rates):
            raise ValueError(f"rates must be above 0 and at most 1, at least one, got {list(self.rates)}")
        if self.shares and (len(self.shares) != len(self.rates) or not all(s > 0 for s in self.shares)):
            raise ValueError(
                f"shares must be above 0 and as many as rates ({len(self.rates)}), got {list(self.shares)}"
            )
        if self.shares and not isclose(sum(self.shares), 1, abs_tol=1e-6):
            raise ValueError(f"shares must sum to 1, got {sum(self.shares):g}")
        if self.mode not in ("fix", "dynamic"):
            raise ValueError(f"mode must be fix or dynamic, got {self.mode!r}")

    @property
    def levels_stay(self) -> bool:
        """Whether a client has one level in all rounds."""
        return self.mode == "fix"

    @property
    def labels(self) -> Callable[[nn.Module], Tensor] | None:
        """What tells which label each parameter is about; None where labels do not matter."""
        return _labels if self.mask else None

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    def correct(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        return gradient

    def levels(self, model: nn.Module, input_shape: tuple[int, ...]) -> Sequence[Part]:
        return [narrowed(model, rate, input_shape, self.scale) for rate in self.rates]

    def level(self, client_id: int, num_clients: int, draw: Callable[[], np.random.Generator]) -> int:
        """Return the level of the quantile at which the client stands, or at which a draw falls."""
        at = (client_id + 0.5) / num_clients if self.mode == "fix" else float(draw().random())
        shares = self.shares or (1.0,) * len(self.rates)
        ends = np.cumsum(shares) / sum(shares)
        return int((ends[:-1] <= at).sum())


def _labels(model: nn.Module) -> Tensor:
    """Return the label that each parameter is about: its row of the classifier; -1 for none.  # [P]"""
    path, _ = classifier(model)
    layout = Layout.of(model)
    found = torch.full((layout.num_parameters,), -1)
    for slot in layout.parameters:
        if slot.name.rpartition(".")[0] == path:
            rows = torch.arange(slot.shape[0]).repeat_interleave(slot.size // slot.shape[0])
            found[slot.start : slot.start + slot.size] = rows
    return found
