"""Models of tokens that read vectors in the place of their tokens' embedding, so that these can be searched.

The embedding's own gradient is then unknown, and is compared with nothing, as if it were frozen. What a
sentence begins and ends with and is filled up with is public, and stays where it is.

Source: Balunovic, Dimitrov, Jovanovic, Vechev. LAMP. NeurIPS 2022, Section 4 (vectors in the place of tokens,
read out by the nearest embedding, framing tokens held). arXiv:2202.08827. Soft labels of next tokens: Deng et
al. TAG. Findings of EMNLP 2021. arXiv:2103.06819.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from ....core.dropout import Call, dropouts, masked, seen_calls
from ....core.errors import PluginError
from ....core.layout import Layout, Slot
from ....core.observation import Observation
from ..parts.loud_tensors import loud_tensors
from ..parts.token_tables import position_table, token_table
from .gradients import attacked_model

CHUNK = 32  # searches whose gradients are one computation


@dataclass(frozen=True)
class SpecialTokens:
    """What of a public tokenizer's tokens frames a sentence, and which are words.

    Attributes:
        first: The token that each sentence begins with, or None.
        last: The token that each ends with, or None.
        padding: The token that shorter ones are filled up with, or None.
        words_from: The first token that is a word: those below are never read out.

    Raises:
        ValueError: A token below 0.
    """

    first: int | None = None
    last: int | None = None
    padding: int | None = None
    words_from: int = 0

    def __post_init__(self) -> None:
        for name, token in vars(self).items():
            if token is not None and token < 0:
                raise ValueError(f"{name} must be a token, at least 0, or None; got {token}")

    def refuse_outside(self, count: int) -> None:
        """Refuse what is none of so many tokens.

        Raises:
            PluginError: A special token is none of them, or no word is left.
        """
        if self.words_from >= count:
            raise PluginError(f"words_from = {self.words_from} leaves no word of {count} tokens")
        for token in (self.first, self.last, self.padding):
            if token is not None and token >= count:
                raise PluginError(f"special token {token} is none of {count}")

    def template(self, observation: Observation, batch_size: int) -> Tensor:
        """Return the tokens that are known of each sentence, and -1 where a word stands.  # [B, S]

        How long a sentence is, is read from the gradient of the positions' embedding, which is 0 where a
        sentence is filled up; several are taken to be as long as the longest.
        """
        length = self._length(observation)
        row = torch.full((observation.input_shape[0],), -1)
        if self.padding is not None:
            row[length:] = self.padding
        if self.last is not None:
            row[length - 1] = self.last
        if self.first is not None:
            row[0] = self.first
        return row.expand(batch_size, -1).clone()

    def _length(self, observation: Observation) -> int:
        (length,) = observation.input_shape
        name = None if self.padding is None else position_table(observation)
        if name is None:
            return length
        rows = observation.layout.views(observation.update)[name][:length].norm(dim=1)
        seen = (rows > 1e-6 * rows.max()).nonzero()
        return int(seen.max()) + 1 if len(seen) else length


def special_of(attack: object) -> SpecialTokens:
    """Return the special tokens that an attack's options of these names say."""
    return SpecialTokens(**{name: getattr(attack, name) for name in SpecialTokens.__dataclass_fields__})


class Given(nn.Module):
    """In the place of an embedding: the vectors that it is given, whatever the tokens are."""

    vectors: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(0))

    def forward(self, _: Tensor) -> Tensor:
        return self.vectors


def stand_in(model: nn.Module, count: int, template: Tensor) -> int:
    """Return a token to stand where a vector is given: none that the model may take for what fills up.

    Args:
        model: Layers that hide what fills up have a ``padding``.
        count: How many tokens there are.
        template: The tokens that are known.
    """
    fills = [getattr(module, "padding", None) for module in model.modules()]
    avoided = {*(token for token in fills if isinstance(token, int)), *template.flatten().tolist()}
    return next((token for token in reversed(range(count)) if token not in avoided), count - 1)


@dataclass(frozen=True, eq=False)
class Embedded:
    """A client's step as a function of vectors in the place of its tokens' embeddings.

    Attributes:
        table: The tokens' embeddings.  # [V, d]
        unit: The root mean square of the words' entries, in which vectors are measured.
        template: The tokens that are known, and -1 where a word stands.  # [B, S]
        words_from: The first token that is a word.
        layout: What of the gradient is compared: all but the tokens' embedding and what is rounding alone.
        counted: Which places hold no padding, bool.  # [B, S]
        counts: Where that stands in the whole vector, bool.  # [P]
        gradients: From vectors [R, B, S, d] in the embedding's own units and labels, classes [B, ...] or
            probabilities [R, B, ..., C], to gradients; where dropout is searched, also from a mask
            [R, B, ...] for each call of a dropout layer.  # [R, P']
        calls: These calls; none where nothing is dropped.
    """

    table: Tensor
    unit: float
    template: Tensor
    words_from: int
    layout: Layout
    counted: Tensor
    counts: Tensor
    gradients: Callable[..., Tensor]
    calls: tuple[Call, ...] = ()

    @property
    def usual_length(self) -> float:
        """The mean length of the words' embeddings, in ``unit``s, above 0."""
        return float(self.table[self.words_from :].norm(dim=1).mean()) / self.unit or 1.0

    def pin(self, x: Tensor) -> None:
        """Put what is known into vectors [R, B, S, d] in ``unit``s, in place."""
        known = self.template >= 0
        with torch.no_grad():
            x[:, known] = self.table[self.template[known]] / self.unit

    def tokens(self, x: Tensor) -> Tensor:
        """Return the words nearest by cosine to vectors [..., B, S, d].  # [..., B, S]"""
        words = functional.normalize(self.table[self.words_from :], dim=1)
        near = (functional.normalize(x, dim=-1) @ words.T).argmax(dim=-1) + self.words_from
        return torch.where(self.template >= 0, self.template, near)

    def likely(self, x: Tensor, temperature: float) -> Tensor:
        """Return a softmax of the cosines of vectors [..., d] and all embeddings.  # [..., V]"""
        near = functional.normalize(x, dim=-1) @ functional.normalize(self.table, dim=1).T
        return (near / temperature).softmax(dim=-1)

    def vectors(self, tokens: Tensor) -> Tensor:
        """Return the embeddings of tokens [..., S] in ``unit``s.  # [..., S, d]"""
        return self.table[tokens] / self.unit


def embedded(observation: Observation, special: SpecialTokens, dropping: bool = False) -> Embedded:
    """Return the step that was observed as a function of vectors, and with ``dropping`` of dropout's masks.

    Raises:
        PluginError: The model has no embedding of its tokens, or special ones are none of them.
    """
    name = token_table(observation)
    model = attacked_model(observation)
    table = model.get_submodule(name).get_parameter("weight").detach().clone()
    special.refuse_outside(len(table))
    template = special.template(observation, observation.knowledge.batch_size or 1)
    layout, counts = _compared(observation, f"{name}.weight")
    ids = template.where(template >= 0, stand_in(model, len(table), template))
    model.train(dropping)
    calls = tuple(Call(rate, tuple(shape[1:])) for rate, shape in seen_calls(model, ids)) if dropping else ()
    gradients = _gradients(model, name, layout, ids)
    unit = float(table[special.words_from :].square().mean().sqrt()) or 1.0
    counted = torch.ones_like(template, dtype=torch.bool)
    if special.padding is not None:
        counted = template != special.padding
    return Embedded(table, unit, template, special.words_from, layout, counted, counts, gradients, calls)


def _compared(observation: Observation, table: str) -> tuple[Layout, Tensor]:
    """Return the tensors whose gradients say something, and where they stand in the whole vector, bool [P].

    Not the table's; and not one that is rounding and nothing else, as of the biases of an attention's keys,
    which move no softmax: its direction is random, and a distance that takes layers alike would follow it.
    """
    slots, counts, start = list[Slot](), torch.zeros(len(observation.update), dtype=torch.bool), 0
    for slot in loud_tensors(observation):
        if slot.name != table:
            slots.append(Slot(slot.name, slot.shape, start))
            start += slot.size
            counts[slot.start : slot.start + slot.size] = True
    return Layout(tuple(slots)), counts


def _gradients(model: nn.Module, name: str, layout: Layout, ids: Tensor) -> Callable[..., Tensor]:
    """Return the gradients of the mean loss over all positions, of a model whose embedding is replaced.

    Of one in training mode dropout is a product with given masks; all else is as in evaluation.
    """
    model, (parent, _, leaf) = copy.deepcopy(model), name.rpartition(".")
    layers = dropouts(model)
    model.eval()
    setattr(model.get_submodule(parent), leaf, Given())
    named = dict(model.named_parameters(remove_duplicate=False))
    values = {slot.name: named[slot.name].detach() for slot in layout.parameters}

    def loss(values: dict[str, Tensor], x: Tensor, y: Tensor, masks: tuple[Tensor, ...]) -> Tensor:
        with masked(model, masks, layers):
            logits = functional_call(model, {**values, f"{name}.vectors": x}, (ids,))
        labels = y.flatten() if y.dtype == torch.int64 else y.flatten(0, -2)
        return functional.cross_entropy(logits.flatten(0, -2), labels)

    def one(x: Tensor, y: Tensor, masks: tuple[Tensor, ...]) -> Tensor:
        found = grad(loss)(values, x, y, masks)
        return torch.cat([found[slot.name].flatten() for slot in layout.parameters])  # [P']

    def gradients(x: Tensor, y: Tensor, masks: tuple[Tensor, ...] = ()) -> Tensor:
        soft = y.dtype != torch.int64
        with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
            if len(x) == 1:
                return one(x[0], y[0] if soft else y, tuple(mask[0] for mask in masks))[None]
            return vmap(one, in_dims=(0, 0 if soft else None, 0), chunk_size=CHUNK)(x, y, masks)

    return gradients


def refuse_unembedded(observation: Observation, special: SpecialTokens) -> None:
    """Refuse a model whose vectors cannot be searched.

    Raises:
        PluginError: It has no embedding of its tokens, or cannot be differentiated twice.
    """
    made = embedded(observation, special)
    x = made.vectors(made.template.clamp(min=0))[None].requires_grad_()
    y = torch.zeros(len(made.template), *observation.label_shape, dtype=torch.int64)
    try:
        with torch.enable_grad():
            torch.autograd.grad(made.gradients(x, y).square().sum(), x)
    except Exception as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise PluginError(
            "gradient matching needs a model that can be differentiated twice, by parameters and then by "
            f"the vectors of its tokens, and this one cannot: {why}"
        ) from error
