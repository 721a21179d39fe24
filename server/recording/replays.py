"""A recorded message as an attacker sees it: the model made again, the frame decoded; the truth apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...clients.codecs import CODECS
from ...clients.codecs.parts.wire import decode_frame, frame_spec, mismatch_of, support_of
from ...clients.exchange.exchange import UPDATE
from ...core.contracts import CodecContext
from ...core.declarations import Codecs, declared
from ...core.errors import DataError
from ...core.frames import Envelope, public_spec
from ...core.layout import Layout
from ...core.leakage_knowledge import LeakageKnowledge, Records
from ...core.observation import MessageKind, Observation, Truth
from ...core.options import public_options
from ...core.trees import State, unpack
from ..spec import PluginSpec
from .format import (
    BROADCAST,
    MASKS,
    OF_RECORDS,
    RECORDS,
    RELEASES,
    TRUTH,
    UNREADABLE,
    content_of,
    public_of,
    unreadable,
)
from .observed_part import observed_part
from .recipes import Recipe
from .undoing import undo_of
from .update_mismatch import UpdateMismatch

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.contracts import Mismatch
    from .observed_part import ObservedPart


@dataclass(frozen=True)
class _Recorded:
    """A recording as it was read; of its frame nothing is decoded yet."""

    frame: bytes
    recipe: Recipe
    codec: PluginSpec
    knowledge: LeakageKnowledge
    context: CodecContext
    kind: MessageKind
    contributors: int
    counted: float
    groups: list[str]
    scales: dict[str, float]
    trees: dict[str, State]
    tensors: dict[str, Tensor]
    part: dict[str, Any]
    defense: PluginSpec | None

    @classmethod
    def read(cls, place: Path) -> _Recorded:
        from safetensors.torch import load

        public, sent = public_of(place), load(content_of(place, BROADCAST))
        fixed = {k.removeprefix("fixed."): v for k, v in sent.items() if k.startswith("fixed.")}
        released = load(content_of(place, RELEASES)) if (place / RELEASES).is_file() else {}
        told, message = public["context"], public["message"]
        where = int(public["round"]), int(public["client_id"])
        tensors = {**sent, **released}
        return cls(
            content_of(place, "frame.bin"),
            Recipe.read(public["recipe"], fixed),
            PluginSpec(**public["codec"]),
            _knowledge(place, public["knowledge"]),
            CodecContext(int(told["public_seed"]), *where, unpack(told["shared"], sent), sent["params"]),
            message["kind"],
            int(message["contributors"]),
            float(message.get("counted", message["contributors"])),
            [str(group) for group in message["groups"]],
            {str(group): float(scale) for group, scale in message["scales"].items()},
            {name: unpack(public[name], tensors) for name in ("received", "planted", "releases")},
            sent,
            {"part": public["part"]} if "part" in public else {},
            PluginSpec(**public["undone_by"]) if "undone_by" in public else None,
        )


def load_observation(place: Path) -> Observation:
    """Return what an attacker may see of a recording; its truth stays unread.

    Raises:
        DataError: The recording cannot be read, or its model is another today.
        FrameError: The frame does not decode.
    """
    from safetensors import SafetensorError

    try:
        found = _Recorded.read(place)
        params, buffers = found.tensors["params"], found.tensors["buffers"]
    except (SafetensorError, *UNREADABLE) as error:
        raise unreadable(place, error) from error
    model, layout = found.recipe.make(params, buffers)
    try:
        part = observed_part(found.part, found.tensors, model, found.recipe.inputs.input_shape)
    except UNREADABLE as error:
        raise unreadable(place, error) from error
    decoded = _Decoded.of(found, layout, part)
    if part is not None:
        model, layout = part.model, Layout.of(part.model)
    inputs = found.recipe.inputs
    return Observation(
        round=found.context.round,
        client_id=found.context.client_id,
        model=model,
        layout=layout,
        frame=found.frame,
        update=decoded.update,
        input_shape=inputs.input_shape,
        num_classes=inputs.num_classes,
        value_range=inputs.value_range,
        knowledge=found.knowledge,
        kind=found.kind,
        contributors=found.contributors,
        counted=found.counted,
        support=decoded.support,
        received=found.trees["received"],
        releases={**found.trees["releases"], **decoded.besides},
        planted=found.trees["planted"],
        num_tokens=inputs.num_tokens,
        label_shape=inputs.label_shape,
        mismatch=decoded.mismatch,
        carries=decoded.carries,
        lossy=decoded.lossy,
        undo=undo_of(found.defense),
    )


@dataclass(frozen=True, eq=False)
class _Decoded:
    """What a frame says.

    Attributes:
        update: The update that it decodes to.  # [P]
        support: Which of its coordinates the frame names, bool.  # [P]
        besides: The other groups of the message, by name.
        mismatch: How badly other updates fit it; None where its codec does not say.
        carries: The share of what the message before left out that it carries besides.
        lossy: Whether its codec loses something.
    """

    update: Tensor
    support: Tensor
    besides: dict[str, Tensor]
    mismatch: Mismatch | None
    carries: float
    lossy: bool

    @classmethod
    def of(cls, found: _Recorded, layout: Layout, part: ObservedPart | None) -> _Decoded:
        codec = CODECS.build(found.codec.name, found.codec.options)
        up = layout.repeated(*found.groups) if found.groups else layout
        spec = public_spec(up, found.codec.name, public_options(codec))
        if part is not None:
            up, spec = part.frame_layout(layout), frame_spec(spec, part.sent)
        envelope = Envelope(codec.codec_id, found.context.round, found.context.client_id, spec)
        vector = decode_frame(codec, found.frame, envelope, up, found.context)
        support = support_of(codec, found.frame, envelope, up)
        mismatch = mismatch_of(codec, found.frame, envelope, up, found.context)
        how = declared(codec, Codecs.carries), not declared(codec, Codecs.lossless)
        if part is not None:
            mismatch = None if mismatch is None else part.mismatch(mismatch, vector)
            return cls(part.update(vector), part.update(support), {}, mismatch, *how)
        if not found.groups:
            return cls(vector, support, {}, mismatch, *how)
        vectors = {name: vector[where] * found.scales.get(name, 1) for name, where in up.groups.items()}
        where, scale = up.groups[UPDATE], found.scales.get(UPDATE, 1.0)
        if mismatch is not None:
            places = torch.arange(where.start, where.stop)
            mismatch = UpdateMismatch(mismatch, vector, places, places - where.start, scale)
        return cls(vectors.pop(UPDATE), support[where], vectors, mismatch, *how)


def truth_of(place: Path) -> Truth | None:
    """Return the true examples of a recording, for scoring only; None where there is no such file.

    Raises:
        DataError: The file cannot be read.
    """
    return load_truth(place) if (place / TRUTH).exists() else None


def load_truth(place: Path) -> Truth:
    """Return the true examples of a recording, for scoring only.

    Raises:
        DataError: The file cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(content_of(place, TRUTH))
        altered = (tensors["altered_x"], tensors["altered_y"]) if "altered_x" in tensors else None
        framing = tuple(tensors["framing"].tolist()) if "framing" in tensors else ()
        return Truth(tensors["x"], tensors["y"], tensors.get("members"), altered, framing)
    except (SafetensorError, *UNREADABLE) as error:
        raise DataError(f"{place} has no readable truth: {error}") from error


def _knowledge(place: Path, told: Mapping[str, Any]) -> LeakageKnowledge:
    """Return what the attacker is told, with dropout's masks and records where they were recorded."""
    from safetensors.torch import load

    values = {item: _tupled(value) for item, value in told.items()}
    if (place / MASKS).is_file():
        kept = load(content_of(place, MASKS))
        values["dropout_masks"] = tuple(kept[name] for name in sorted(kept))
    elif "dropout_masks" in values.get("levels", {}):  # there were some
        values.pop("dropout_masks", None)
    records = load(content_of(place, RECORDS)) if (place / RECORDS).is_file() else {}
    for item in OF_RECORDS:
        if f"{item}.x" in records:
            values[item] = Records(records[f"{item}.x"], records[f"{item}.y"])
    apart = ("dropout_masks", *OF_RECORDS)
    if "levels" in values:
        kept_levels = {k: v for k, v in values["levels"].items() if k not in apart or k in values}
        values["levels"] = kept_levels
    return LeakageKnowledge(**values)


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list) else value
