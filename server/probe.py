"""Write down what one client really sent, and give it to a leakage attack later.

The attacker does not sit in the loop: a recording holds the broadcast, the exact frame and public
configuration, and an attack runs on it afterwards, beside the training or from disk. The client's true
examples lie in another file, which only the scorer opens.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..clients.codecs import CODECS
from ..clients.codecs.wire import decode_frame, frame_spec
from ..clients.data.base import FederatedData
from ..clients.exchange import UPDATE, Exchange
from ..clients.levels import Levels
from ..clients.models import build_model
from ..core.contracts import Codec, CodecContext, CodecStreams, Groups, LocalRule, LocalTraining
from ..core.declarations import Codecs, declared
from ..core.disk import write_folder
from ..core.errors import DataError
from ..core.frames import Envelope, public_spec
from ..core.layout import Layout
from ..core.observation import LeakageKnowledge, Observation, Truth
from ..core.registry import options_of
from ..core.seeds import generator
from ..core.trees import pack, unpack
from .assembly.loading import make_model
from .first_step import starts_plain
from .observed_part import observed_part, recorded_part
from .outcome import Outcome
from .spec import PluginSpec, RunSpec

SCHEMA = 2
FILES = ("observation.json", "frame.bin", "broadcast.safetensors", "truth.safetensors")


@dataclass(frozen=True)
class Inputs:
    """The public facts about the inputs that a model is built for."""

    name: str
    input_shape: tuple[int, ...]
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    value_range: tuple[float, float]


def knowledge_of(
    spec: RunSpec,
    training: LocalTraining,
    truth: Truth,
    local_steps: int,
    labels_known: bool,
    rule: LocalRule | None = None,
    besides: Sequence[Groups] = (),
    received: Tensor | None = None,
) -> LeakageKnowledge:
    """Return what an honest-but-curious server knows: public configuration, and labels only if told.

    Momentum over several steps, weight decay, Adam, or an algorithm that changes the first direction make an
    update no multiple of the gradient: ``lr`` is then not told.

    Args:
        spec: The run.
        training: How the client trains.
        truth: What it trains on; nothing but the number of examples and, if told, the labels is looked at.
        local_steps: How many steps it takes.
        labels_known: Whether the labels are told.
        rule: The algorithm; by default one that leaves gradients as they are.
        besides: What a rule that exchanges more than parameters is given besides in its first step.
        received: What clients start from in round 0, to be compared with what they remember.  # [P]
    """
    plainly = rule is None or starts_plain(rule, besides, received)
    optimizer = training.optimizer if plainly else spec.algorithm.name
    steady = training.momentum == 0 or local_steps == 1
    plain = optimizer == "sgd" and training.weight_decay == 0 and steady
    return LeakageKnowledge(
        batch_size=len(truth.y),
        labels=tuple(sorted(truth.y.tolist())) if labels_known else None,
        local_steps=local_steps,
        lr=training.lr if plain else None,
        codec=str(spec.codec),
        privacy=str(spec.privacy),
        optimizer=optimizer,
        weight_decay=training.weight_decay,
        loss="cross_entropy" if training.loss == "auto" else training.loss,
    )


def save_observation(
    place: Path,
    spec: RunSpec,
    data: FederatedData,
    outcome: Outcome,
    client_id: int,
    knowledge: LeakageKnowledge,
    truth: Truth,
    probe: Mapping[str, Any],
    exchange: Exchange | None = None,
    levels: Levels | None = None,
) -> Path:
    """Write one client's message of a round into a new folder, the truth apart; return the folder.

    Args:
        place: The folder, of this probe alone. It appears whole or not at all.
        spec: The run.
        data: Its data.
        outcome: The round.
        client_id: Who is observed.
        knowledge: What the attacker is told.
        truth: What only the scorer sees.
        probe: Whose recording this is, as plain values.
        exchange: What clients send, where that is more than an update.
        levels: Which part of the model each client trains; None where that is all of it.

    Raises:
        DataError: The disk is full or not writable.
    """
    from safetensors.torch import save

    frame = outcome.frame(client_id)
    assert frame is not None, "a run that is watched sends single updates"
    down = outcome.down(client_id)
    inputs = Inputs(data.name, data.input_shape, data.num_classes, data.mean, data.std, data.value_range)
    public: dict[str, Any] = {
        "schema": SCHEMA,
        "probe": dict(probe),
        "round": down.broadcast.round,
        "client_id": client_id,
        "model": asdict(spec.model),
        "codec": asdict(spec.codec),
        "inputs": asdict(inputs),
        "knowledge": asdict(knowledge),
    }
    if exchange is not None and exchange.up != exchange.layout:
        public["message"] = {"groups": list(exchange.up.groups), "scales": dict(exchange.scales)}
    sent = {"params": down.broadcast.params, "buffers": down.broadcast.buffers}
    told, part = recorded_part(levels, outcome, client_id, spec.algorithm)
    public, sent = public | told, sent | part
    codec: Codec = CODECS.build(spec.codec.name, spec.codec.options)
    if not declared(codec, Codecs.verbatim):  # else a frame is read without more
        shared, tensors = pack(down.shared, "shared")
        public["context"] = {"public_seed": CodecStreams(spec.seed, 0).public_seed, "shared": shared}
        sent |= tensors
    files = {
        "observation.json": json.dumps(public, indent=1).encode(),
        "frame.bin": frame,
        "broadcast.safetensors": save(sent),
        "truth.safetensors": save({"x": truth.x.contiguous(), "y": truth.y.contiguous()}),
    }
    _write(place, files)
    return place


def adopt_observation(old: Path, place: Path, knowledge: LeakageKnowledge, probe: Mapping[str, Any]) -> Path:
    """Copy a recording of schema 1, which all probes of a client shared, into one of a probe's own.

    Raises:
        DataError: It cannot be read or written.
    """
    try:
        public = {**_public(old), "probe": dict(probe), "knowledge": asdict(knowledge)}
        files = {name: (old / name).read_bytes() for name in FILES if name != "observation.json"}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{old} is not a readable observation: {error}") from error
    _write(place, {"observation.json": json.dumps(public, indent=1).encode(), **files})
    return place


def _write(place: Path, files: Mapping[str, bytes]) -> None:
    try:
        write_folder(place, files)
    except OSError as error:
        raise DataError(f"{place} cannot be written: {error.strerror}") from error


def _public(place: Path) -> dict[str, Any]:
    """Return what an observation says beside its bytes, as schema 2 has it.

    Raises:
        ValueError: A schema that is not read here.
    """
    public: dict[str, Any] = json.loads((place / "observation.json").read_text(encoding="utf-8"))
    if public["schema"] not in (1, SCHEMA):
        raise ValueError(f"schema {public['schema']}, expected 1 or {SCHEMA}")
    return {"probe": {}, **public, "schema": SCHEMA}


def probe_of(place: Path) -> dict[str, Any]:
    """Return whose recording this is, as plain values; nothing of one that several probes shared (schema 1).

    Raises:
        DataError: The recording cannot be read.
    """
    try:
        return dict(_public(place)["probe"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{place} is not a readable observation: {error}") from error


def load_observation(place: Path) -> Observation:
    """Return what an attacker may see of a recording; its truth stays unread.

    Raises:
        DataError: The recording cannot be read.
        FrameError: The frame does not decode.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        public = _public(place)
        sent = load_file(place / "broadcast.safetensors")
        frame = (place / "frame.bin").read_bytes()
        inputs = _inputs(public["inputs"])
        model_spec, codec_spec = PluginSpec(**public["model"]), PluginSpec(**public["codec"])
        knowledge = LeakageKnowledge(**_tupled(public["knowledge"]))
        told = public.get("context", {"public_seed": 0, "shared": None})
        seed, shared = int(told["public_seed"]), unpack(told["shared"], sent)
        message = public.get("message", {"groups": [], "scales": {}})
        groups, scale = list(map(str, message["groups"])), float(message["scales"].get(UPDATE, 1))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{place} is not a readable observation: {error}") from error
    model = build_model(model_spec.name, model_spec.options, inputs, generator(0, "observation"))
    layout = Layout.of(model)
    _load(model, layout, sent["params"], sent["buffers"])
    codec = CODECS.build(codec_spec.name, codec_spec.options)
    sent_layout = layout.repeated(*groups) if groups else layout
    spec = public_spec(sent_layout, codec_spec.name, options_of(codec))
    try:
        part = observed_part(public, sent, model, inputs.input_shape)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{place} is not a readable observation: {error}") from error
    if part is not None:
        sent_layout, spec = part.frame_layout(layout), frame_spec(spec, part.sent)
    envelope = Envelope(codec.codec_id, public["round"], public["client_id"], spec)
    context = CodecContext(seed, envelope.round, envelope.client_id, shared)
    vector = decode_frame(codec, frame, envelope, sent_layout, context)
    update = vector[sent_layout.groups[UPDATE]] * scale if groups else vector
    if part is not None:
        model, layout, update = part.model, Layout.of(part.model), part.update(vector)
    return Observation(
        round=public["round"],
        client_id=public["client_id"],
        model=model,
        layout=layout,
        frame=frame,
        update=update,
        input_shape=inputs.input_shape,
        num_classes=inputs.num_classes,
        value_range=inputs.value_range,
        knowledge=knowledge,
    )


def blank_observation(
    spec: RunSpec, data: FederatedData, round_: int, client_id: int, knowledge: LeakageKnowledge
) -> Observation:
    """Return what an attack can be checked with before the run: the first model, and an update of zeros."""
    model = make_model(spec, data)
    layout = Layout.of(model)
    return Observation(
        round=round_,
        client_id=client_id,
        model=model,
        layout=layout,
        frame=b"",
        update=torch.zeros(layout.num_parameters),
        input_shape=data.input_shape,
        num_classes=data.num_classes,
        value_range=data.value_range,
        knowledge=knowledge,
    )


def load_truth(place: Path) -> Truth:
    """Return the true examples of a recording, for scoring only.

    Raises:
        DataError: The file cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(place / "truth.safetensors")
        return Truth(tensors["x"], tensors["y"])
    except (OSError, SafetensorError, KeyError) as error:
        raise DataError(f"{place} has no readable truth: {error}") from error


def _tupled(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def _inputs(values: Mapping[str, Any]) -> Inputs:
    return Inputs(**_tupled(values))


def _load(model: torch.nn.Module, layout: Layout, params: torch.Tensor, buffers: torch.Tensor) -> None:
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for name, value in {**layout.views(params), **layout.buffer_views(buffers)}.items():
            own[name].copy_(value)
