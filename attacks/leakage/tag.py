"""TAG: rebuild the sentences of a step by matching its gradient, on vectors in the place of words.

Source: Deng, Wang, Li, Wang, Shang, Liu, Rajasekaran, Ding. TAG: Gradient Attack on Transformer-based
Language Models. Findings of EMNLP 2021. arXiv:2103.06819; as the baseline that LAMP's
authors run (arXiv:2202.08827): the embedding of words is left out of the distance, every tensor counts 1, the
absolute values 0.01. ``distance = "l2"`` is DLG on embeddings. Step sizes in units of the embedding are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction
from .parts.requirements import PLAIN_STEP, refuse_unmet
from .search.adam import AdamSearch
from .search.embedded import special_of
from .search.engine import Budget, Problem, by_adam
from .search.text_matching import Defended, refuse_unmatchable, text_matching

Size = Literal["l2_l1", "l2"]


@dataclass(frozen=True)
class TAG:
    """Search the vectors of a step's words by squared and absolute differences of gradients.

    Passive. Of a class a sentence the label is read where there is one sentence, and told of several; labels
    at each position are searched beside the words. Each vector is read as the word whose embedding is nearest
    by cosine. ``cost`` is relative to ||G||^2.

    Attributes:
        max_iterations: Steps of Adam, at least 1.
        lr: Their size, in units of the root mean square of the embedding's entries, above 0.
        decays: Whether steps shrink along half a cosine.
        distance: ``"l2_l1"`` (TAG) or ``"l2"`` (DLG on embeddings).
        next_words: Whether a language model's labels are taken for the words that follow, each as near to
            them as its vector is, so that the last one alone is searched; else all are (the paper's).
        restarts: Random starts, at least 1; the one of least cost wins.
        tolerance: The cost at which the search has converged, above 0; 0: it never has.
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

    max_iterations: int = 500
    lr: float = 0.1
    decays: bool = True
    distance: Size = "l2_l1"
    next_words: bool = True
    restarts: int = 4
    tolerance: float = 0.0
    max_seconds: float | None = None
    masked: bool = False
    dropout: bool = False
    first: int | None = None
    last: int | None = None
    padding: int | None = None
    words_from: int = 0

    requires: ClassVar[Mapping[str, Level]] = {
        "batch_size": Level.EXACT,
        "lr": Level.EXACT,
        "local_steps": Level.EXACT,
    }
    only: ClassVar[Mapping[str, int]] = {"local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    uses: ClassVar[tuple[str, ...]] = ("labels",)
    inputs: ClassVar[tuple[str, ...]] = ("tokens",)

    def __post_init__(self) -> None:
        if self.distance not in get_args(Size):
            raise ValueError(f"distance must be one of {', '.join(get_args(Size))}, got {self.distance!r}")
        special_of(self)
        self._budget()
        self._adam()

    def _budget(self) -> Budget:
        return Budget(self.max_iterations, self.tolerance, self.restarts, self.max_seconds)

    def _adam(self) -> AdamSearch:
        return AdamSearch(self.lr, signed=False, decays=self.decays, schedule="cosine")

    def _defended(self) -> Defended:
        return Defended(self.masked, self.dropout)

    def check(self, observation: Observation) -> None:
        refuse_unmatchable(observation, special_of(self), self.distance, "TAG", self._defended())

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        matching = text_matching(
            observation, special_of(self), self.distance, self.next_words, self._defended()
        )
        starts = [matching.start(generator) for _ in range(self.restarts)]
        problem = Problem(matching.cost, lambda v, _: matching.prior(v), matching.project)
        return matching.reconstruction(by_adam(problem, starts, self._adam(), self._budget()))
