"""DeepSight: look into the output layer and the answers of local models; leave out clusters of narrow ones.

Source: Rieger, Nguyen, Miettinen, Sadeghi. DeepSight: Mitigating Backdoor Attacks in Federated Learning
Through Deep Model Inspection. NDSS 2022. arXiv:2201.00763. Unverified: that ratios are of probabilities, the
options of HDBSCAN, and that a client in no cluster is judged by its own label; public re-implementations
differ in the last two. The paper draws 20,000 inputs.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.layout import Slot
from ..core.updates import Context, Updates, row_norms
from .clipping import clip_factors
from .parts.asked_rows import by_row
from .parts.clusters import NOISE, apart, dense_clusters
from .parts.columns import Array
from .parts.geometry import cosines
from .parts.screening import needed, screened, stream, uniform

_NUMBERS = 2**22  # of candidates, inputs or outputs that stand together: 16 MiB
_HIGHEST = 80.0  # exponent of a ratio


@dataclass(frozen=True)
class DeepSight:
    """Average the clipped updates of clusters in which few clients were trained on few classes.

    A client's update energy of a class is the sum of magnitudes in the output layer's row and bias; squared
    and as shares they are its NEUPs. How many of them exceed ``max(0.01, 1 / C)`` times the largest is its
    score: who has at most half of the median one is suspicious. Clients are clustered by their NEUPs, by
    what their models make of random inputs (DDifs: the mean ratio of a class's probability to the global
    model's) and by the cosines of the output biases; the three results are averaged and clustered again. A
    cluster is left out where ``suspicious_share`` of it or more is suspicious. All are clipped to the median
    norm of the cohort. Averaged distances tie often; clients then go by the length of their updates.

    It fails against a backdoor taught with so many honest examples that the update's energy is spread as
    honest ones are, and where honest clients hold few classes.

    Attributes:
        num_inputs: Random inputs of a seed, uniform in [0, 1), at least 1.
        num_seeds: Sets of inputs, each with a clustering of its own, at least 1.
        suspicious_share: The paper's tau, above 0 and at most 1.
        min_cluster_size: Least members of a cluster, at least 2.
        min_samples: Neighbours that make a client's neighbourhood dense, at least 1.
    """

    num_inputs: int = 1000
    num_seeds: int = 3
    suspicious_share: float = 1 / 3
    min_cluster_size: int = 2
    min_samples: int = 3

    runs_models: ClassVar[bool] = True
    beside_params: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, least in (("num_inputs", 1), ("num_seeds", 1), ("min_cluster_size", 2), ("min_samples", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 < self.suspicious_share <= 1:
            raise ValueError(f"suspicious_share must be above 0 and at most 1, got {self.suspicious_share}")

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        context = needed(updates, "deepsight", "the model")
        ratios = self._ratios(updates, context)
        head = output_layer(context, ratios.shape[2])
        shares = energy_shares(updates.vectors, head)
        exceeding, lengths = exceedings(shares), row_norms(updates.vectors)
        order = np.argsort(lengths.numpy(), kind="stable")  # so that it is no matter who sent a row
        cosine, labels = bias_cosines(updates.vectors, head), np.empty(len(order), dtype=np.int64)
        labels[order] = self._clusters(shares[order], ratios[:, order], cosine[np.ix_(order, order)])
        keep = self._accepted(labels, exceeding <= np.median(exceeding) / 2)
        weights = uniform(keep) * clip_factors(lengths, float(lengths.quantile(0.5)))
        return screened(updates, weights, ~keep, torch.from_numpy(exceeding.astype(np.float64))), state

    def _ratios(self, updates: Updates, context: Context) -> Array:
        """Return the DDifs: each class's mean probability over the global model's.  # [seeds, K, C]"""
        run, blank = context.forward, context.blank
        if run is None or blank is None:
            raise ValueError(
                "deepsight needs to run models: context.forward and blank must be given, got None"
            )
        if not blank.is_floating_point():
            raise ValueError(f"deepsight draws inputs of real numbers, and the model takes {blank.dtype}")
        options = self.num_inputs, self.num_seeds, len(updates), tuple(blank.shape)
        found = by_row(updates, context, options, partial(self._row_ratios, updates, context, blank))
        return found.swapaxes(0, 1)

    def _row_ratios(self, updates: Updates, context: Context, blank: Tensor, rows: Tensor) -> Array:
        """Return the DDifs of some rows.  # [rows, seeds, C]"""
        height = max(1, min(_NUMBERS // max(1, blank.numel()), _NUMBERS // (16 * len(updates))))
        rng, found = stream(updates, "deepsight"), []
        for _ in range(self.num_seeds):
            total = torch.zeros(())
            for size in _parts(self.num_inputs, height):
                x = torch.from_numpy(rng.random((size, *blank.shape[1:]), dtype=np.float32))
                total = total + _sums(updates, rows, context, x)
            found.append((total / self.num_inputs).nan_to_num(nan=0.0).numpy())
        return np.stack(found, axis=1)

    def _clusters(self, shares: Array, ratios: Array, cosine: Array) -> Array:
        """Return the cluster of each client, by all three signals together.  # [K]"""
        sizes = self.min_cluster_size, self.min_samples
        distance = np.maximum(1 - cosine, 0.0)
        by_bias = apart(dense_clusters(distance, *sizes, precomputed=True))
        by_share = apart(dense_clusters(shares, *sizes))
        by_ratio = np.mean([apart(dense_clusters(one, *sizes)) for one in ratios], axis=0)
        merged = (by_bias + by_share + by_ratio) / 3
        return dense_clusters(merged, *sizes, precomputed=True, single=True)

    def _accepted(self, labels: Array, suspicious: Array) -> Tensor:
        """Return who is averaged, bool.  # [K]"""
        inside = np.maximum(labels, 0)
        members, doubtful = np.bincount(inside), np.bincount(inside, weights=suspicious & (labels >= 0))
        members = members - np.bincount(inside[labels == NOISE], minlength=len(members))
        out = doubtful >= self.suspicious_share * np.maximum(members, 1)
        return torch.from_numpy(~np.where(labels == NOISE, suspicious, out[inside]))


def output_layer(context: Context, num_classes: int) -> tuple[Slot, ...]:
    """Return the tensors of the model's last module that have a row for each class, the bias last.

    Raises:
        ValueError: There is no bias among them.
    """
    slots = context.layout.parameters
    module = slots[-1].name.rpartition(".")[0] if slots else ""
    head = [s for s in slots if s.name.rpartition(".")[0] == module and s.shape[:1] == (num_classes,)]
    head.sort(key=lambda slot: len(slot.shape) == 1)
    if not head or len(head[-1].shape) != 1:
        raise ValueError(
            f"deepsight needs a bias for each of the {num_classes} outputs in the model's last layer, "
            f"got {', '.join(f'{s.name} {list(s.shape)}' for s in slots[-2:])}"
        )
    return tuple(head)


def bias_cosines(vectors: Tensor, head: tuple[Slot, ...]) -> Array:
    """Return the cosine of every two clients' updates of the output biases.  # [K, K]"""
    found: Array = cosines(_of(vectors, head[-1])).numpy()
    return found


def energy_shares(vectors: Tensor, head: tuple[Slot, ...]) -> Array:
    """Return the NEUPs: each class's squared update energy as a share, all 0 of no update.  # [K, C]"""
    height = max(1, _NUMBERS // max(1, vectors.shape[1]))
    energy = torch.cat([_energy(rows, head) for rows in torch.split(vectors, height)])
    largest = energy.amax(dim=1, keepdim=True).clamp(min=1e-300)
    squares = (energy / largest).square()
    shares: Array = (squares / squares.sum(dim=1, keepdim=True).clamp(min=1e-300)).numpy()
    return shares


def _energy(vectors: Tensor, head: tuple[Slot, ...]) -> Tensor:
    """Return the summed magnitudes of each class's row and bias, float64.  # [K, C]"""
    rows = [_of(vectors, slot).reshape(len(vectors), slot.shape[0], -1) for slot in head]
    return torch.stack([row.abs().sum(dim=2, dtype=torch.float64) for row in rows]).sum(dim=0)


def exceedings(shares: Array) -> Array:
    """Return how many NEUPs [K, C] exceed the threshold, max(0.01, 1 / C) of the client's largest.  # [K]"""
    bound = max(0.01, 1 / shares.shape[1]) * shares.max(axis=1, keepdims=True)
    found: Array = (shares > bound).sum(axis=1)
    return found


def _of(vectors: Tensor, slot: Slot) -> Tensor:
    return vectors[:, slot.start : slot.start + slot.size]


def _parts(count: int, height: int) -> list[int]:
    return [min(height, count - at) for at in range(0, count, height)]


def _sums(updates: Updates, rows: Tensor, context: Context, x: Tensor) -> Tensor:
    """Return the sums over inputs [n, ...] of each class's probability ratio, float64.  # [rows, C]"""
    run, params = context.forward, context.params
    assert run is not None
    before = _log_probabilities(run(params[None], x))
    theirs = updates.buffers if updates.buffers.shape[1] else None
    height = max(1, _NUMBERS // max(1, updates.vectors.shape[1]))
    sums = []
    for some in torch.split(rows, height):
        after = run(params + updates.vectors[some], x, None if theirs is None else theirs[some])
        sums.append((_log_probabilities(after) - before).clamp(max=_HIGHEST).exp().sum(dim=1))
    return torch.cat(sums)


def _log_probabilities(outputs: Tensor) -> Tensor:
    if outputs.ndim != 3 or outputs.shape[2] < 2:
        raise ValueError(
            "deepsight needs one output a class for each input, [n, C] of two classes or more, got shape "
            f"{list(outputs.shape[1:])}"
        )
    return outputs.double().log_softmax(dim=2)
