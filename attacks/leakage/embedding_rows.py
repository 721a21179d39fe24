"""The tokens of one sequence, and their order, from the gradients of two embeddings.

A row of a token embedding's gradient is not zero where the token stood in the batch. With learned positions
added to it, the rows of both are made of the same parts: with d_i what comes back to position i, the row of
position i is d_i, and the row of token v is the sum of d_i over the positions at which v stands. So
G_tokens = A G_positions with A one-hot in every column, and least squares give A exactly where the d_i are
linearly independent: S positions need a width of at least S. The labels are the tokens one position on; as
the last one every token is tried, and the one whose gradient comes nearest is kept.

Source: Melis, Song, De Cristofaro, Shmatikov. Exploiting Unintended Feature Leakage in Collaborative
Learning. IEEE S&P 2019, Section 4.1 (the rows tell which words stood in a batch). arXiv:1805.04049. That
learned positions give the order away: Lu, Zhang, Zhao, Wang, He. APRIL: Finding the Achilles' Heel on Privacy
for Vision Transformers. CVPR 2022. arXiv:2112.14087. The closed form for sequences of tokens is ours.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ...core.errors import PluginError
from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction
from .parts.requirements import PLAIN_STEP, refuse_unmet

SHARP = 1e-5  # singular values below, of the largest, are what float32 leaves of zeros


@dataclass(frozen=True)
class EmbeddingRows:
    """Rebuild the one sequence of a language model's step.

    ``cost`` is the squared distance between the observed gradient and that of what was rebuilt, over the
    observed one's own squared length: 0 of an exact reconstruction. ``details`` has ``rank``, of the
    positions' gradients: the order is sure where it is the number of positions, and elsewhere ``stopped`` is
    ``"not_certified"``. More positions than the embeddings are wide are refused; as many may have a rank of
    one less (behind layer norms alone nothing comes back along a shift of all values).
    """

    exact: ClassVar[bool] = True
    requires: ClassVar[Mapping[str, Level]] = {
        "batch_size": Level.EXACT,
        "lr": Level.EXACT,
        "local_steps": Level.EXACT,
    }
    only: ClassVar[Mapping[str, int]] = {"batch_size": 1, "local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    inputs: ClassVar[tuple[str, ...]] = ("tokens",)

    def check(self, observation: Observation) -> None:
        _, positions = embeddings(observation)
        length, width = observation.layout.views(observation.update)[positions].shape
        if length > width:
            raise PluginError(
                f"EmbeddingRows needs embeddings at least as wide as a sequence is long, got {length} "
                f"positions of width {width}; shorter sequences or a wider model would do"
            )

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        observation = observations[-1]
        refuse_unmet(self, observation)
        gradient = observation.gradient().nan_to_num(0.0, 0.0, 0.0)
        views = observation.layout.views(gradient)
        tokens, positions = (views[name].double() for name in embeddings(observation))  # [V, d], [S, d]
        stands = torch.linalg.lstsq(
            positions.T, tokens.T, rcond=SHARP, driver="gelsd"
        ).solution.T  # A: [V, S]
        x = stands.nan_to_num(0.0, 0.0, 0.0).argmax(dim=0)[None]  # [1, S]
        y, cost = _labelled(observation, gradient, x)
        rank = float(torch.linalg.matrix_rank(positions, rtol=SHARP))
        stopped = "closed_form" if rank == len(positions) else "not_certified"
        return Reconstruction(x, y, cost, (cost,), stopped, {"rank": rank})


def embeddings(observation: Observation) -> tuple[str, str]:
    """Return the names of the weights of the tokens' embedding and the positions'.

    Raises:
        PluginError: The model has no such pair, of one width.
    """
    size, length = observation.num_tokens, observation.input_shape[0]
    found = [(f"{n}.weight", m) for n, m in observation.model.named_modules() if isinstance(m, nn.Embedding)]
    rows = [(n, m) for n, m in found if m.num_embeddings == size]
    places = [
        n
        for n, m in found
        if rows and m.num_embeddings == length and m.embedding_dim == rows[0][1].embedding_dim
    ]
    places = [name for name in places if name != rows[0][0]]
    known = {slot.name for slot in observation.layout.parameters}
    if not rows or not places or not {rows[0][0], places[0]} <= known:
        raise PluginError(
            f"EmbeddingRows needs an embedding of {size} tokens and one of {length} positions that are "
            f"trained, of one width; the model has {', '.join(n for n, _ in found) or 'none'}"
        )
    return rows[0][0], places[0]


def _labelled(observation: Observation, gradient: Tensor, x: Tensor) -> tuple[Tensor, float]:
    """Return the labels of x [1, S] whose gradient comes nearest to the observed one, and how near."""
    model = copy.deepcopy(observation.model).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    named = dict(model.named_parameters())
    own = [named[slot.name] for slot in observation.layout.parameters]
    length, best = float(gradient.double().square().sum()), (x, float("inf"))
    with torch.enable_grad():
        logits = model(x)[0]  # [S, V]
        for last in range(observation.num_classes):
            y = torch.cat([x[:, 1:], torch.tensor([[last]])], dim=1)
            loss = nn.functional.cross_entropy(logits, y[0])
            found = torch.autograd.grad(loss, own, retain_graph=True, allow_unused=True)
            flat = [torch.zeros_like(p) if g is None else g for g, p in zip(found, own, strict=True)]
            off = torch.cat([g.flatten() for g in flat]).double() - gradient.double()
            cost = float(off.square().sum()) / max(length, 1e-300)
            best = min(best, (y, cost), key=lambda one: one[1])
    return best
