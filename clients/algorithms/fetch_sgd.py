"""FetchSGD: clients send sketches of their gradients, and the server keeps momentum and error as sketches.

Source: Rothchild, Panda, Ullah, Ivkin, Stoica, Braverman, Gonzalez, Arora. FetchSGD: Communication-Efficient
Federated Learning with Sketching. ICML 2020, Algorithm 1. arXiv:2007.07682. Setting cells to 0 in the place
of the subtraction is its authors' code's.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import LocalTraining, Visit
from ...core.layout import Layout, Slot
from ...core.seeds import generator
from ...core.sketches import Hashes
from ...core.trees import State

_MOST_CELLS = 2**28  # a gigabyte of float32


@dataclass(frozen=True)
class FetchSGD:
    """Step along the k heaviest coordinates of what the sketches of all rounds add up to.

    With S, the mean of the clients' sketches: U = momentum U + S, E = E + lr U, and w loses D, the k largest
    medians of E over its rows; D leaves E, and its coordinates' momentum is forgotten. A sketch is linear, so
    that the mean of sketches is the sketch of the mean: the message is ``rows`` x ``cols`` numbers whatever
    the model, defenses and clipping work on these, what a client sends does not depend on what it sent
    before, and ``secure_sum`` shows the server what it needs and no more. Other privacy mechanisms are
    refused: what an example moves in a sketch is not bounded. One round is one step, of one gradient a
    client; momentum is the server's, so that the training's own is refused, and its weight decay.

    A message need not be the sketch of any gradient: its cells are bounded by the defense alone.

    Attributes:
        rows: Rows of cells, at least 1; odd numbers have one median.
        cols: Cells a row, at least 1; of all rows together at most 2^28.
        k: Coordinates that move in a round, at least 1; all of a smaller model.
        lr: Step size, above 0.
        momentum: rho, at least 0 and below 1.
        error_mode: How D leaves the sketches: ``"zero"``, all cells that it falls into become 0 in E and U
            (the authors' code), or ``"subtract"``, its sketch is subtracted from E, and U stays (the paper).
        batch_size: Examples of which a client takes its gradient, drawn without replacement; 0 takes all.
        hash_seed: A public number from which all sides draw cells and signs, the same in all rounds.
    """

    mechanisms: ClassVar[tuple[str, ...]] = ("none", "secure_sum")

    rows: int = 5
    cols: int = 500
    k: int = 50
    lr: float = 0.1
    momentum: float = 0.9
    error_mode: Literal["zero", "subtract"] = "zero"
    batch_size: int = 0
    hash_seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rows", "cols", "k"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.lr < np.inf:
            raise ValueError(f"lr must be above 0 and finite, got {self.lr}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, got {self.momentum}")
        if self.rows * self.cols > _MOST_CELLS:
            raise ValueError(f"rows * cols must be at most 2^28 cells, got {self.rows} x {self.cols}")
        for name in ("batch_size", "hash_seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return replace(training, batch_size=self.batch_size, local_steps=1, lr=self.lr)

    def up(self, layout: Layout) -> Layout:
        return Layout((Slot("sketch", (self.rows, self.cols), 0),))

    def work(self, visit: Visit) -> tuple[Tensor, Tensor]:
        """Return the sketch of the client's gradient, and its mean loss."""
        rows = None
        if 0 < self.batch_size < visit.num_examples:
            rows = np.sort(visit.stream("fetch_sgd batch").permutation(visit.num_examples)[: self.batch_size])
        gradient, loss = visit.gradient(visit.received, rows)
        return torch.from_numpy(self._hashes(len(gradient)).sketch(gradient.numpy())), loss

    def _hashes(self, numel: int) -> Hashes:
        return _hashes(self.hash_seed, self.rows, self.cols, numel)

    def init(self) -> State:
        """Return U and E; None before the first round.  # [rows cols] each"""
        return {"momentum": None, "error": None}

    def step(self, params: Tensor, aggregate: Tensor, state: State, share: float) -> tuple[Tensor, State]:
        """Return the next parameters [P], and the sketches without what moved."""
        zeros, hashes = torch.zeros_like(aggregate), self._hashes(len(params))
        momentum = self.momentum * (zeros if state["momentum"] is None else state["momentum"]) + aggregate
        error = (zeros if state["error"] is None else state["error"]) + self.lr * momentum
        moved = hashes.heaviest(error.numpy(), self.k)  # D
        if self.error_mode == "subtract":
            error = error - torch.from_numpy(hashes.sketch(moved))
        else:
            touched = torch.zeros(len(error), dtype=torch.bool)
            touched[torch.from_numpy(hashes.cells[:, moved != 0].ravel())] = True
            momentum, error = momentum.where(~touched, 0.0), error.where(~touched, 0.0)
        return params - torch.from_numpy(moved), {"momentum": momentum, "error": error}


@lru_cache(maxsize=2)
def _hashes(seed: int, rows: int, cols: int, numel: int) -> Hashes:
    return Hashes.drawn(generator(seed, "sketch"), rows, cols, numel)
