"""TIGER: sentences whose words an attention could have read, by descent on the distance from its span.

Of the paper the abstract and the introduction alone were read. From them is that token embeddings are
optimised so that what transformers' layers read lies near the subspace that gradients span, in the place of a
test of tokens one by one. Unverified, since ours: the sum over two attentions (as the public summary has it),
its logarithm, words as weights over candidates, how many directions are kept, and every number.

Source: Kalikman, Petrov, Dimitrov, Vechev. TIGER: Inverting Transformer Gradients via Embedding-Subspace
Distance Optimization. 2026. arXiv:2606.18312 (the abstract and the introduction).
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ...core.errors import PluginError
from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction
from .parts.attention_inputs import attention_inputs, input_of
from .parts.requirements import PLAIN_STEP, refuse_unmet
from .parts.spans import readers
from .parts.token_labels import labels_of, misfit
from .parts.token_tables import token_table
from .search.adam import AdamSearch
from .search.embedded import special_of
from .search.subspaces import Subspaces, directions, squared_distance
from .search.word_spaces import FreeVectors, WeighedWords, WordSpace

Space = Literal["words", "vectors"]
CERTAIN = 1e-6  # 1 - cosine, below which what was rebuilt is the truth
ALIKE = 0.7  # of the words in place: as likely one sentence twice as two
LEAST = 1e-8  # squared distances below that are float32's rounding


@dataclass(frozen=True)
class TIGER:
    """Search sentences by the distance J of what two attentions read from the spans of their gradients.

    Passive. J is the sum over the first two attentions of the mean over words of the squared distance from
    the span over the squared length: 0 of the truth, 2 at most. Sentences are searched one by one from
    several starts, and those of least J that differ are taken. For encoders and decoders of two blocks or
    more whose queries, keys and values are trained, and fewer different (token, position) than half of their
    width. Labels are read from the last layer. ``cost`` is 1 - the cosine of the message and the step on what
    was rebuilt; below 1e-6 it has ``"converged"``. ``details`` has ``distance``, the mean of J over the
    sentences, and ``rank`` and ``rank_2``, of the spans; where one is 0 it is ``"not_identifiable"``.

    Attributes:
        max_iterations: Steps of Adam, at least 1.
        lr: Their size: of a word's weights in nats, or of vectors in units of the root mean square of the
            embedding's entries, above 0.
        space: ``"words"``: a vector is a mean of the embeddings of a position's candidates, weighed by a
            softmax that is searched; ``"vectors"``: it is free, and read as the nearest word by cosine.
        candidates: Words at a position, nearest to the first span, at least 1; of ``"words"`` alone.
        logarithm: Whether the logarithms of both attentions' distances are added up, so that the second
            counts where the first is as good as 0; else they themselves are (J).
        restarts: Starts for each sentence of the batch, at least 1.
        rank: Directions of each span that are kept at most, at least 1; None: those above the noise.
        first: The token that every sentence begins with, or None.
        last: The token that every sentence ends with, or None.
        padding: The token that shorter ones are filled up with, or None.
        words_from: The first token that is a word, at least 0; those below are never read out.
    """

    max_iterations: int = 200
    lr: float = 0.1
    space: Space = "words"
    candidates: int = 16
    logarithm: bool = True
    restarts: int = 8
    rank: int | None = None
    first: int | None = None
    last: int | None = None
    padding: int | None = None
    words_from: int = 0

    requires: ClassVar[Mapping[str, Level]] = {"batch_size": Level.EXACT, "local_steps": Level.EXACT}
    only: ClassVar[Mapping[str, int]] = {"local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    inputs: ClassVar[tuple[str, ...]] = ("tokens",)

    def __post_init__(self) -> None:
        if self.space not in get_args(Space):
            raise ValueError(f"space must be one of {', '.join(get_args(Space))}, got {self.space!r}")
        for name in ("max_iterations", "candidates", "restarts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"rank must be at least 1 or None, got {self.rank}")
        special_of(self)
        self._adam()

    def _adam(self) -> AdamSearch:
        return AdamSearch(self.lr, signed=False, decays=False)

    def check(self, observation: Observation) -> None:
        token_table(observation)
        special_of(self).refuse_outside(observation.num_tokens)
        known = {slot.name for slot in observation.layout.parameters}
        for layers in _attentions(observation, _frozen(observation)):
            if not readers(layers, known):
                raise PluginError(f"TIGER reads the gradients of {', '.join(layers)}, and none is trained")

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        model, size = _frozen(observation), observation.knowledge.batch_size or 1
        template = special_of(self).template(observation, 1)[0]  # [S]
        groups = _attentions(observation, model)
        most = size * int((template != (-2 if self.padding is None else self.padding)).sum())
        spans = [directions(observation, layers, most, self.rank) for layers in groups]
        ranks = {name: float(len(span)) for name, span in zip(("rank", "rank_2"), spans, strict=True)}
        if not all(ranks.values()):
            x = template.where(template >= 0, self.words_from).repeat(size, 1)
            y = torch.zeros(size, *observation.label_shape, dtype=torch.int64)
            return Reconstruction(x, y, 1.0, (), "not_identifiable", ranks)
        table = token_table(observation)
        away = Subspaces(model, table, [layers[0] for layers in groups], spans, template)
        words = model.get_submodule(table).get_parameter("weight").float()  # [V, d]
        search = self._search(observation, model, groups[0][0], spans[0], words)
        found, trace = self._found(search, away, words, template, size, generator)
        x, away_from = _distinct(found, away(words[found]), template < 0, size)
        y = labels_of(observation, model, x)
        cost, details = misfit(observation, model, x, y), {**ranks, "distance": float(away_from.mean())}
        stopped = "converged" if cost < CERTAIN else "max_iterations"
        return Reconstruction(x, y, cost, trace, stopped, details)

    def _search(
        self, observation: Observation, model: nn.Module, layer: str, span: Tensor, words: Tensor
    ) -> WordSpace:
        """Return what is searched in the place of words [V, d]."""
        (length,) = observation.input_shape
        if self.space == "vectors":
            return FreeVectors(words, self.words_from, length)
        parts = torch.split(torch.arange(self.words_from, observation.num_tokens), 256)
        inputs = (input_of(model, layer, tokens[:, None].expand(-1, length)) for tokens in parts)
        off = torch.cat([squared_distance(one.float(), span) for one in inputs])  # [V', S]
        near = off.argsort(dim=0, stable=True)[: self.candidates].T  # [S, n]
        return WeighedWords(near + self.words_from, off.T.gather(1, near).clamp(min=LEAST).log() / 2, words)

    def _found(
        self,
        search: WordSpace,
        away: Subspaces,
        words: Tensor,
        template: Tensor,
        size: int,
        stream: np.random.Generator,
    ) -> tuple[Tensor, tuple[float, ...]]:
        """Return the sentences [n, S] at which searches ended, and the least objective over the steps."""
        known, trace = template >= 0, []
        variables = search.start(self.restarts * size, stream)
        held = words[template.clamp(min=0)]
        step = self._adam().steps((variables,), self.max_iterations, stream)
        for _ in range(self.max_iterations):
            leaf = variables.detach().requires_grad_()
            with torch.enable_grad():
                off = away(torch.where(known[:, None], held, search.vectors(leaf)))  # [N, 2]
                value = (off + LEAST).log().sum(dim=1) if self.logarithm else off.sum(dim=1)
                gradient = torch.autograd.grad(value.sum(), leaf)
            trace.append(float(value.detach().min()))
            step(gradient)
        found = torch.where(known, template, search.tokens(variables))
        return torch.unique(found, dim=0), tuple(trace)


def _distinct(found: Tensor, off: Tensor, words: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the ``size`` sentences of least distance that are unlike each other, and their distances J.

    Where there are fewer, the nearest of the others fill up.

    Args:
        found: Sentences.  # [n, S]
        off: Their distances from both spans.  # [n, 2]
        words: Which places hold words, bool.  # [S]
        size: How many.
    """
    order = (off + LEAST).log().sum(dim=1).argsort(stable=True).tolist()
    kept, others = list[int](), list[int]()
    for i in order:
        alike = (found[kept][:, words] == found[i, words]).float().mean(dim=1)
        (kept if bool((alike < ALIKE).all()) else others).append(i)
    rows = torch.tensor((kept + others)[:size])
    rows = rows[torch.arange(size) % len(rows)]
    return found[rows], off[rows].sum(dim=1)


def _attentions(observation: Observation, model: nn.Module) -> list[tuple[str, ...]]:
    """Return the names of the layers that the first and the second attention hand their input to.

    Raises:
        PluginError: There are none.
    """
    found = attention_inputs(model, torch.zeros(1, *observation.input_shape, dtype=torch.int64))
    if len(found) < 2:
        raise PluginError(
            "TIGER needs a transformer of two blocks or more whose queries, keys and values are linear; "
            f"the model has {len(found)} attention{'s' * (len(found) != 1)} of that kind"
        )
    return found[:2]


def _frozen(observation: Observation) -> nn.Module:
    """Return the public model in float64, as it answers without dropout."""
    return copy.deepcopy(observation.model).double().eval().requires_grad_(False)
