"""What a leakage attacker sees of a client that trains a part of the model, and sends that alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ...clients.algorithms import ALGORITHMS
from ...clients.models.narrowed import Scaler
from ...core.layout import Layout
from ...core.presence import reduced
from .update_mismatch import UpdateMismatch

if TYPE_CHECKING:
    from ...clients.exchange.levels import Levels
    from ...core.contracts import Mismatch
    from ..mail.outcome import Outcome
    from ..spec import PluginSpec

PRESENT, HELD = "part.present", "part.held"


class CountedLabels(nn.Module):
    """A model whose logits of some labels are 0.

    Attributes:
        net: The model.
        held: Which labels count, float32.  # [C]
    """

    held: Tensor

    def __init__(self, net: nn.Module, held: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("held", held, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) * self.held  # type: ignore[no-any-return]


def recorded_part(
    levels: Levels | None, outcome: Outcome, client_id: int, algorithm: PluginSpec
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what a recording holds of a client's level: plain values and tensors; nothing of a whole model.

    The server assigned it, and knows which labels clients hold where those decide what they send.
    """
    if levels is None:
        return {}, {}
    level, presence = levels.level(client_id, outcome.round), outcome.sent.presence
    there = levels.parts[level].present
    if presence is not None:
        (row,) = (outcome.sent.client_ids == client_id).nonzero().flatten().tolist()
        there = presence.levels[presence.level[row]]
    tensors = {PRESENT: there.to(torch.uint8)}
    if levels.labels is not None:
        tensors[HELD] = levels.labels.held(client_id).to(torch.uint8)
    return {"part": {"algorithm": asdict(algorithm), "level": level}}, tensors


@dataclass(frozen=True)
class ObservedPart:
    """The part of the model that an observed client trains.

    Attributes:
        model: Its model with the parameters that were broadcast; what it does in training alone it does
            always, as far as this package's own parts do such things.
        present: Which of the whole model's parameters it has, bool.  # [P]
        sent: Which of them the client sends, bool.  # [P]
    """

    model: nn.Module
    present: Tensor
    sent: Tensor

    def frame_layout(self, whole: Layout) -> Layout:
        """Return how the client's frame lies, where ``whole`` is how the whole model does."""
        return reduced(whole, self.sent)

    def update(self, vector: Tensor) -> Tensor:
        """Return the part's update from what the frame decodes to; 0 in what is not sent."""
        found = vector.new_zeros(len(self.sent))
        found[self.sent] = vector
        return found[self.present]

    def mismatch(self, message: Mismatch, vector: Tensor) -> UpdateMismatch:
        """Return how badly the part's updates fit; ``vector`` is what was sent of it."""
        sources = (self.present.cumsum(dim=0) - 1)[self.sent]
        return UpdateMismatch(message, vector, torch.arange(len(vector)), sources)


def observed_part(
    public: Mapping[str, Any], tensors: Mapping[str, Tensor], whole: nn.Module, input_shape: tuple[int, ...]
) -> ObservedPart | None:
    """Return the part that a recording is of, given the whole model as broadcast; None where it is of that.

    Raises:
        KeyError, TypeError, ValueError, IndexError: What was recorded is no such part.
        PluginError: The algorithm cannot be built.
    """
    if "part" not in public:
        return None
    named, level = public["part"]["algorithm"], int(public["part"]["level"])
    part = ALGORITHMS.build(named["name"], named["options"]).levels(whole, input_shape)[level]  # type: ignore[union-attr]
    layout, own = Layout.of(whole), dict(part.model.named_parameters())
    params = layout.flatten(dict(whole.named_parameters()))
    sent = tensors[PRESENT].bool()
    if sent.shape != part.present.shape or bool((sent & ~part.present).any()):
        raise ValueError("what is present is no part of the level's model")
    with torch.no_grad():
        for name, value in Layout.of(part.model).views(params[part.present]).items():
            own[name].copy_(value)
    for module in part.model.modules():
        if isinstance(module, Scaler):
            module.always = True
    held = tensors.get(HELD)
    model = part.model if held is None else CountedLabels(part.model, held.float())
    return ObservedPart(model, part.present, sent)
