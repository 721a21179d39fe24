"""LAMP: rebuild the sentences of a step by matching its gradient and by putting words into a likely order.

Source: Balunovic, Dimitrov, Jovanovic, Vechev. LAMP: Extracting Text from Gradients with Language Model
Priors. NeurIPS 2022, Section 4. arXiv:2202.08827. Its language model, GPT-2, is here interpolated trigrams of
other text (``parts.trigrams``); lengths and step sizes are in units of the embedding, and steps shrink along
half a cosine: ours.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction
from .parts.requirements import PLAIN_STEP, refuse_unmet
from .search.adam import AdamSearch
from .search.embedded import special_of
from .search.engine import Budget, Problem, Variables, by_adam
from .search.reordering import Reordering, fluency_of
from .search.text_matching import Defended, TextMatching, refuse_unmatchable, text_matching

Measure = Literal["cosine_layerwise", "l2_l1"]


@dataclass(frozen=True)
class LAMP:
    """Search the vectors of a step's words by its gradient, and their order also by a language model.

    Passive. The language model is counted on ``auxiliary`` records, which nobody trains on
    (``auxiliary = 500`` of a probe); without any, orders are told by the gradient alone. Labels are as for
    ``tag``. ``cost`` is the matching cost. ``details`` has ``reordered``, the share of looks at a sentence
    that put it into another order, and ``nats``, what the language model says of a word of the result.

    Attributes:
        max_iterations: Steps of Adam, at least 1 (the authors' 2000).
        lr: Their size, in units of the root mean square of the embedding's entries, above 0 (the authors'
            0.01 is about 0.2).
        distance: ``"cosine_layerwise"``, or ``"l2_l1"``, which needs to know ``lr``.
        norm_weight: What the squared relative difference of the vectors' mean length from that of the
            embedding's words counts, at least 0 (the authors' 1 and 25, at a length of 1.4, are 2 and 49).
        language_weight: What a nat a word counts in the choice of an order, at least 0.
        swap_every: Iterations between two looks at other orders, at least 1; 0: none.
        candidates: Orders that are looked at each time, at least 1 (the authors' 200).
        draws: Random starts, and then orders, of which the best begins, at least 1 each (the authors' 500).
        next_words: As for ``tag``.
        restarts: Searches side by side, at least 1; the one of least cost wins.
        max_seconds: Wall-clock budget, above 0, or None. A budget makes results depend on the machine.
        masked: Whether entries that are 0 in the message are left out of the distance: the adaptive attacker
            of ``gradient_pruning``.
        dropout: Whether the masks of the model's dropout are searched beside the words, as ``dia`` does for
            pictures: the adaptive attacker of dropout, whose rates and places are public.
        first: The token that every sentence begins with, or None.
        last: The token that every sentence ends with, or None.
        padding: The token that shorter ones are filled up with, or None.
        words_from: The first token that is a word, at least 0; those below are never read out.
    """

    max_iterations: int = 400
    lr: float = 0.2
    distance: Measure = "cosine_layerwise"
    norm_weight: float = 2.0
    language_weight: float = 0.2
    swap_every: int = 50
    candidates: int = 40
    draws: int = 50
    next_words: bool = True
    restarts: int = 1
    max_seconds: float | None = None
    masked: bool = False
    dropout: bool = False
    first: int | None = None
    last: int | None = None
    padding: int | None = None
    words_from: int = 0

    requires: ClassVar[Mapping[str, Level]] = {"batch_size": Level.EXACT, "local_steps": Level.EXACT}
    only: ClassVar[Mapping[str, int]] = {"local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    uses: ClassVar[tuple[str, ...]] = ("labels", "lr", "auxiliary")
    inputs: ClassVar[tuple[str, ...]] = ("tokens",)

    def __post_init__(self) -> None:
        if self.distance not in get_args(Measure):
            raise ValueError(f"distance must be one of {', '.join(get_args(Measure))}, got {self.distance!r}")
        least = {"candidates": 1, "draws": 1, "swap_every": 0, "norm_weight": 0, "language_weight": 0}
        for name, bound in least.items():
            if not bound <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be finite and at least {bound}, got {getattr(self, name)}")
        special_of(self)
        self._budget()
        self._adam()

    def _budget(self) -> Budget:
        return Budget(self.max_iterations, 0.0, self.restarts, self.max_seconds)

    def _adam(self) -> AdamSearch:
        return AdamSearch(self.lr, signed=False, schedule="cosine")

    def _defended(self) -> Defended:
        return Defended(self.masked, self.dropout)

    def check(self, observation: Observation) -> None:
        refuse_unmatchable(observation, special_of(self), self.distance, "LAMP", self._defended())

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        matching = text_matching(
            observation, special_of(self), self.distance, self.next_words, self._defended()
        )
        step, fluency = matching.step, fluency_of(observation, self.language_weight)
        orders = Reordering(step, matching.cost, fluency, self.candidates, generator)
        starts = [self._start(matching, generator) for _ in range(self.restarts)]
        problem = Problem(matching.cost, self._prior(matching), self._projection(matching, orders))
        found = by_adam(problem, starts, self._adam(), self._budget())
        words = step.tokens(found.variables[0])
        nats = 0.0
        if fluency.model is not None:
            nats = float(fluency.model.nats(words)[step.counted].mean())
        reordered = orders.taken[0] / max(orders.taken[1], 1)
        return matching.reconstruction(found, reordered=reordered, nats=nats)

    def _projection(self, matching: TextMatching, orders: Reordering) -> Callable[[Variables], None]:
        """Return what is done after each step: what is known is held, now and then words change places."""
        taken, begin = 0, self.max_iterations // 10

        def project(variables: Variables) -> None:
            nonlocal taken
            matching.project(variables)
            taken += 1
            if self.swap_every and taken >= begin and taken % self.swap_every == 0:
                orders.apply(variables)

        return project

    def _prior(self, matching: TextMatching) -> Callable[[Variables, float], Tensor]:
        """Return what vectors [R, B, S, d] of another mean length than the embedding's words cost, and masks
        of another share than is dropped.  # [R]
        """
        step, usual = matching.step, matching.step.usual_length

        def prior(variables: Variables, _: float) -> Tensor:
            lengths = variables[0][:, step.template < 0].norm(dim=2).mean(dim=1)  # [R]
            off: Tensor = (lengths / usual - 1).square()
            return self.norm_weight * off + matching.prior(variables)

        return prior

    def _start(self, matching: TextMatching, stream: np.random.Generator) -> Variables:
        """Return the best of some random vectors in the best of some orders, each as long as a word's."""
        drawn = [matching.start(stream) for _ in range(self.draws)]
        x, *others = _best(matching, tuple(torch.stack(v) for v in zip(*drawn, strict=True)))
        orders = torch.arange(x.shape[1]).expand(self.draws, len(x), -1).clone()  # [k, B, S]
        for b, row in enumerate(matching.step.template):
            words = (row < 0).nonzero()[:, 0]
            for k in range(1, self.draws):
                orders[k, b, words] = words[torch.from_numpy(stream.permutation(len(words)))]
        tried = torch.stack([torch.stack([x[b, o] for b, o in enumerate(order)]) for order in orders])
        x = _best(matching, (tried, *(v.expand(self.draws, *v.shape) for v in others)))[0]
        words = matching.step.template < 0
        x[words] *= matching.step.usual_length / x[words].norm(dim=1, keepdim=True)
        return (x, *others)


def _best(matching: TextMatching, tries: Variables) -> Variables:
    """Return those of some variables [k, ...] that fit the message best."""
    with torch.no_grad():
        chosen = int(matching.cost(tries).nan_to_num(float("inf")).argmin())
    return tuple(v[chosen].clone() for v in tries)
