"""SPEAR: a batch of examples, exactly, from the gradients of one linear layer with a ReLU behind it.

The layer's gradients are a product of two thin matrices, the upstream gradients E [m, B] and the inputs
[B, D]. E is 0 wherever a unit is off, and of all ways to write the product as one of that rank only the true
one has so many zeros.

Source: Dimitrov, Baader, Mueller, Vechev. SPEAR: Exact Gradient Inversion of Batches in Federated Learning.
NeurIPS 2024. arXiv:2403.03945. That sparse dictionary learning finds the columns of larger batches: SPEAR++,
2025, arXiv:2510.24200 (abstract); the search by it here is ours, after the mathematics alone.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from ...core.errors import PluginError
from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction
from .parts.labels import batch_labels, refuse_unreadable_label
from .parts.output_cone import edges, output_basis
from .parts.ratios import batch_of
from .parts.relu_layer import ReluLayer, agreement, balance, factors, refuse_without_relu, relu_layer
from .parts.requirements import PLAIN_STEP, refuse_unmet
from .parts.sparse_columns import Basis, find_columns, learned, sampled

SEARCHES = ("auto", "sample", "dictionary", "outputs")
SAMPLED = 10  # examples up to which "auto" samples too
CERTAIN, DOUBTFUL = 0.985, 0.9  # certificates


@dataclass(frozen=True)
class Spear:
    """Rebuild all examples of a step exactly, without labels and without any prior.

    Passive. For a model whose first layer is linear, with a bias and a ReLU behind it, and one plain step on
    fewer examples than the layer has units or inputs; how many there are is read from the rank of the
    gradients. The step size cancels. What stands before the layer must act on each value alone as an affine
    map: it is undone. Two equal examples come back as one.

    ``cost`` is 1 less the certificate, the share of (unit, example) of which the gradient is 0 just where the
    rebuilt example turns the unit off: 0 for the truth. ``stopped`` is ``"converged"`` where it is at least
    0.985 for every example, and ``"not_certified"`` where it is below 0.9 on average, the search ended
    without all examples, or two examples turn the same units on, so that mixtures of them fit as well (also
    where these happen to be the examples themselves).
    ``details``: ``rank``, ``found`` (columns proven), ``certificate``, ``certified`` (examples of which
    98.5 % of the units agree and no mixture with another fits), ``rounds`` (of the search), and
    ``predicted_mse``, the median of what float32 leaves, in units of the inputs.

    Attributes:
        search: ``"dictionary"`` (sparse dictionary learning), ``"sample"`` (null vectors of sampled rows, for
            about ten examples at most), ``"outputs"`` (linear programs on what the ReLU put out, where a
            linear layer reads it), or ``"auto"``: the first, the second too up to ten examples, and from the
            second round on the third where there is such a layer.
        max_seconds: CPU seconds of the thread after which the search ends, above 0. A linear program is
            given what is left of them by the clock, which may be less. Where time ends the search, results
            depend on the machine.
    """

    search: Literal["auto", "sample", "dictionary", "outputs"] = "auto"
    max_seconds: float = 20.0

    exact: ClassVar[bool] = True
    requires: ClassVar[Mapping[str, Level]] = {"local_steps": Level.EXACT}
    only: ClassVar[Mapping[str, int]] = {"local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = {**PLAIN_STEP, "codec": "identity"}
    uses: ClassVar[tuple[str, ...]] = ("batch_size", "labels", "lr", "privacy", "client_defense")

    def __post_init__(self) -> None:
        if self.search not in SEARCHES:
            raise ValueError(f"search must be one of {', '.join(SEARCHES)}; got {self.search!r}")
        if not 0 < self.max_seconds < inf:
            raise ValueError(f"max_seconds must be above 0 and finite, got {self.max_seconds}")

    def check(self, observation: Observation) -> None:
        refuse_without_relu(observation, "Spear")
        refuse_unreadable_label(observation)
        size, (units, inputs) = observation.knowledge.batch_size or 1, _sizes(observation)
        if size > 1 and size >= min(units, inputs + 1):
            raise PluginError(
                f"Spear needs fewer examples than the first layer has units ({units}) and at most as many "
                f"as inputs ({inputs}), got batch_size = {size}: the rank of its gradients is saturated; "
                "more units or fewer examples would do"
            )

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        until = time.thread_time() + self.max_seconds
        layer, noisy = relu_layer(observation, "Spear"), False
        if observation.knowledge.batch_size == 1:
            noisy, layer = layer.rank > 1, layer.cut(1)
        _refuse_rank(layer, observation)
        basis = Basis(layer.left, layer.sizes, layer.noise)

        def certain(known: Tensor) -> bool:
            agreeing, _ = agreement(layer, basis.zeros(known), factors(layer, known)[0])
            return bool((agreeing >= CERTAIN).all())

        def left() -> float:
            return until - time.thread_time()

        searches = self._searches(observation, layer, basis, generator, left)
        known, rounds = find_columns(basis, searches, certain, lambda: left() <= 0)
        inputs, variance = factors(layer, known)  # [k, D], [k]
        off = basis.zeros(known)  # [k, l]
        agreeing, apart = agreement(layer, off, inputs)  # [k] each
        vacuous = noisy and not bool(off.any())
        certificate = float(agreeing.sum()) / max(layer.rank, 1)
        figures = {"rank": layer.rank, "found": len(known), "rounds": rounds, "certificate": certificate}
        details = {name: float(value) for name, value in figures.items()}
        whole = len(known) == layer.rank  # else a missing example's share may hide in any of the others
        details["certified"] = float(((agreeing >= CERTAIN) & apart).sum()) if whole and not vacuous else 0.0
        if whole and layer.rank:
            details["predicted_mse"] = float((variance[:, None] / layer.slope.square()).mean(dim=1).median())
        order = agreeing.argsort(descending=True, stable=True)
        x = batch_of(((inputs - layer.offset) / layer.slope)[order], observation)
        stopped = "converged" if details["certified"] == layer.rank > 0 else "time_budget"
        told = observation.knowledge.batch_size
        short = len(known) < layer.rank or layer.rank < (told or 0)
        if certificate < DOUBTFUL or short or vacuous or not bool(apart.all()):
            stopped = "not_certified"
        cost = 1 - certificate
        return Reconstruction(x, batch_labels(observation, x), cost, (cost,), stopped, details)

    def _searches(
        self,
        observation: Observation,
        layer: ReluLayer,
        basis: Basis,
        generator: np.random.Generator,
        left: Callable[[], float],
    ) -> list[Callable[[Tensor, int], Tensor]]:
        """Return where directions come from, by ``search``."""
        auto, doubt, found = self.search == "auto", balance(layer), list[Callable[[Tensor, int], Tensor]]()
        if auto or self.search == "dictionary":
            found.append(lambda known, rounds: learned(basis, doubt, generator, known, rounds))
        if self.search == "sample" or (auto and layer.rank <= SAMPLED):
            found.append(lambda _, __: sampled(basis, 512, generator))
        outputs = output_basis(observation, layer) if auto or self.search == "outputs" else None
        if self.search == "outputs" and outputs is None:
            raise PluginError(
                'Spear with search = "outputs" needs a linear layer behind the first ReLU, with gradients of '
                f"the same rank as the first layer's, here {layer.rank}"
            )
        if outputs is not None:
            cone, first = outputs, auto  # where one round of the others is enough, programs would be slower
            nothing = basis.left.new_zeros(0, layer.rank)
            found.append(
                lambda known, rounds: (
                    nothing if first and not rounds else edges(cone, basis, known, generator, left)
                )
            )
        return found


def _sizes(observation: Observation) -> tuple[int, int]:
    """Return how many units the first layer has, and how many inputs."""
    weight = next(v for v in observation.layout.views(observation.update).values() if v.ndim == 2)
    return len(weight), weight.shape[1]


def _refuse_rank(layer: ReluLayer, observation: Observation) -> None:
    """Refuse gradients that are no product of matrices as thin as the batch.

    Raises:
        PluginError: Their rank is the most that there can be, or above the batch size.
    """
    told, size, rank = observation.knowledge, observation.knowledge.batch_size, layer.rank
    most = f"all that {len(layer.left)} live units and {len(layer.slope)} inputs allow: it is saturated"
    if rank < layer.most or (rank <= 1 and size is not None):
        if size is None or rank <= size:
            return
        most = f"above its {size} examples"
    raise PluginError(
        f"Spear counts examples by the rank of the first layer's gradients, here {rank}, {most}; noise and "
        f"lossy codes do that (privacy = {told.privacy}, client_defense = {told.client_defense})"
    )
