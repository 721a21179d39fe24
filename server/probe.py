"""Write down what one client really sent, and give it to a leakage attack later.

The attacker does not sit in the loop: a recording holds the broadcast, the exact frame and public
configuration, and an attack runs on it afterwards, beside the training or from disk. The client's true
examples lie in another file, which only the scorer opens.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..clients.codecs import CODECS
from ..clients.codecs.wire import decode_frame
from ..clients.data.base import FederatedData
from ..clients.models import build_model
from ..core.contracts import LocalTraining
from ..core.errors import DataError
from ..core.frames import Envelope, public_spec
from ..core.layout import Layout
from ..core.observation import Knowledge, Observation, Truth
from ..core.registry import options_of
from ..core.seeds import generator
from .outcome import Outcome
from .spec import PluginSpec, RunSpec

SCHEMA = 1


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
    spec: RunSpec, training: LocalTraining, truth: Truth, local_steps: int, labels_known: bool
) -> Knowledge:
    """Return what an honest-but-curious server knows: public configuration, and labels only if told.

    Momentum and weight decay make an update of one step no plain gradient: ``lr`` is then not told.
    """
    plain = training.weight_decay == 0 and (training.momentum == 0 or local_steps == 1)
    return Knowledge(
        batch_size=len(truth.y),
        labels=tuple(sorted(truth.y.tolist())) if labels_known else None,
        local_steps=local_steps,
        lr=training.lr if plain else None,
        codec=str(spec.codec),
        privacy=str(spec.privacy),
    )


def save_observation(
    folder: Path,
    spec: RunSpec,
    data: FederatedData,
    outcome: Outcome,
    client_id: int,
    knowledge: Knowledge,
    truth: Truth,
) -> Path:
    """Write one client's message of a round, and apart from it the truth; return its folder.

    Raises:
        DataError: The disk is full or not writable.
    """
    from safetensors.torch import save

    frame = outcome.frame(client_id)
    assert frame is not None, "a run that is watched sends single updates"
    place = folder / f"round-{outcome.round:06d}-client-{client_id:06d}"
    inputs = Inputs(data.name, data.input_shape, data.num_classes, data.mean, data.std, data.value_range)
    public = {
        "schema": SCHEMA,
        "round": outcome.round,
        "client_id": client_id,
        "model": asdict(spec.model),
        "codec": asdict(spec.codec),
        "inputs": asdict(inputs),
        "knowledge": asdict(knowledge),
    }
    sent = {"params": outcome.broadcast.params, "buffers": outcome.broadcast.buffers}
    files = {
        "observation.json": json.dumps(public, indent=1).encode(),
        "frame.bin": frame,
        "broadcast.safetensors": save(sent),
        "truth.safetensors": save({"x": truth.x.contiguous(), "y": truth.y.contiguous()}),
    }
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (place / name).write_bytes(content)
    except OSError as error:
        raise DataError(f"{place} cannot be written: {error.strerror}") from error
    return place


def load_observation(place: Path) -> Observation:
    """Return what an attacker may see of a recording; its truth stays unread.

    Raises:
        DataError: The recording cannot be read.
        FrameError: The frame does not decode.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        public = json.loads((place / "observation.json").read_text())
        if public["schema"] != SCHEMA:
            raise ValueError(f"schema {public['schema']}, expected {SCHEMA}")
        sent = load_file(place / "broadcast.safetensors")
        frame = (place / "frame.bin").read_bytes()
        inputs = _inputs(public["inputs"])
        model_spec, codec_spec = PluginSpec(**public["model"]), PluginSpec(**public["codec"])
        knowledge = Knowledge(**_tupled(public["knowledge"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{place} is not a readable observation: {error}") from error
    model = build_model(model_spec.name, model_spec.options, inputs, generator(0, "observation"))
    layout = Layout.of(model)
    _load(model, layout, sent["params"], sent["buffers"])
    codec = CODECS.build(codec_spec.name, codec_spec.options)
    spec = public_spec(layout, codec_spec.name, options_of(codec))
    envelope = Envelope(codec.codec_id, public["round"], public["client_id"], spec)
    return Observation(
        round=public["round"],
        client_id=public["client_id"],
        model=model,
        layout=layout,
        frame=frame,
        update=decode_frame(codec, frame, envelope, layout),
        input_shape=inputs.input_shape,
        num_classes=inputs.num_classes,
        value_range=inputs.value_range,
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
