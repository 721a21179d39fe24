"""What one client really sent, on the disk, so that leakage attacks can look at it later.

The attacker does not sit in the loop: a recording holds the broadcast, the exact frame, public configuration
and what its probe is told, and an attack runs on it afterwards, beside the training or from disk. The
client's true examples lie in another file, which only the scorer opens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..clients.codecs import CODECS
from ..clients.codecs.wire import decode_frame, support_of
from ..clients.exchange import PARAMS, UPDATE, Exchange
from ..core.contracts import Codec, CodecContext, CodecStreams
from ..core.declarations import Codecs, declared
from ..core.disk import write_folder
from ..core.errors import DataError, said
from ..core.frames import Envelope, public_spec
from ..core.leakage_knowledge import LeakageKnowledge
from ..core.observation import MessageKind, Observation, Truth
from ..core.registry import options_of
from ..core.trees import State, pack, unpack
from .assembly.loading import make_model
from .recipes import Recipe
from .spec import PluginSpec

if TYPE_CHECKING:
    from torch import Tensor

    from ..clients.data.base import FederatedData
    from ..clients.messages import Broadcast
    from ..core.layout import Layout
    from .outcome import Outcome
    from .spec import RunSpec

SCHEMA = 3
BROADCAST, TRUTH, RELEASES = "broadcast.safetensors", "truth.safetensors", "releases.safetensors"
_NOTHING: Mapping[str, Any] = {"d": []}  # an empty table, packed
_UNREADABLE = (OSError, LookupError, TypeError, ValueError, AttributeError, RecursionError)


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

    Raises:
        DataError: The disk is full or not writable.
    """
    from safetensors.torch import save

    frame = outcome.frame(client_id)
    assert frame is not None, "a run that is watched sends single updates"
    down = outcome.down(client_id)
    codec: Codec = CODECS.build(spec.codec.name, spec.codec.options)
    plain = declared(codec, Codecs.verbatim)  # its frames are read without more
    recipe = Recipe.of(spec.model, data, make_model(spec, data))
    told, sent = _packed(
        {
            "shared": None if plain else down.shared,
            "received": _received(down.broadcast, exchange),
            "planted": {},
        }
    )
    besides, released = _packed({"releases": _releases(outcome, client_id)})
    public_seed = 0 if plain else CodecStreams(spec.seed, 0).public_seed
    public = {
        "schema": SCHEMA,
        "probe": dict(probe),
        "round": down.broadcast.round,
        "client_id": client_id,
        "recipe": recipe.plain(),
        "codec": asdict(spec.codec),
        "context": {"public_seed": public_seed, "shared": told.pop("shared")},
        "message": {"kind": "update", "contributors": 1, **_groups(exchange)},
        **told,
        **besides,
        "knowledge": asdict(knowledge),
    }
    sent |= {"params": down.broadcast.params, "buffers": down.broadcast.buffers}
    sent |= {f"fixed.{name}": value.contiguous() for name, value in recipe.fixed.items()}
    files = {
        "observation.json": json.dumps(public, indent=1).encode(),
        "frame.bin": frame,
        BROADCAST: save(sent),
        TRUTH: save({"x": truth.x.contiguous(), "y": truth.y.contiguous()}),
        **({RELEASES: save(released)} if released else {}),
    }
    _write(place, files)
    return place


def _packed(trees: Mapping[str, State]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return each tree as JSON has it, and the tensors that they name."""
    packed = {name: pack(tree, name) for name, tree in trees.items()}
    tensors = {name: tensor for _, found in packed.values() for name, tensor in found.items()}
    return {name: value for name, (value, _) in packed.items()}, tensors


def _received(broadcast: Broadcast, exchange: Exchange | None) -> State:
    """Return what clients received besides the parameters, by group."""
    if exchange is None or exchange.down == exchange.layout:
        return {}
    names = (name for name in exchange.down.groups if name != PARAMS)
    return dict(zip(names, broadcast.extra, strict=True))


def _releases(outcome: Outcome, client_id: int) -> State:
    """Return what a client sent beside its frame."""
    sent = outcome.sent.rows(outcome.sent.client_ids == client_id)
    buffers = {"buffers": sent.buffers[0]} if sent.buffers.shape[1] else {}
    return {"num_examples": int(sent.num_examples[0]), **buffers}


def _groups(exchange: Exchange | None) -> dict[str, Any]:
    if exchange is None or exchange.up == exchange.layout:
        return {"groups": [], "scales": {}}
    return {"groups": list(exchange.up.groups), "scales": dict(exchange.scales)}


def adopt_observation(old: Path, place: Path, knowledge: LeakageKnowledge, probe: Mapping[str, Any]) -> Path:
    """Copy a recording of schema 1, which all probes of a client shared, into one of a probe's own.

    Raises:
        DataError: It cannot be read or written.
    """
    try:
        public = {**_public(old), "probe": dict(probe), "knowledge": asdict(knowledge)}
        files = {name: (old / name).read_bytes() for name in ("frame.bin", BROADCAST, TRUTH)}
    except _UNREADABLE as error:
        raise _unreadable(old, error) from error
    _write(place, {"observation.json": json.dumps(public, indent=1).encode(), **files})
    return place


def _write(place: Path, files: Mapping[str, bytes]) -> None:
    try:
        write_folder(place, files)
    except OSError as error:
        raise DataError(f"{place} cannot be written: {error.strerror}") from error


def _public(place: Path) -> dict[str, Any]:
    """Return what an observation says beside its bytes, as this version has it.

    Schema 1 was shared by all probes of a client, and schema 2 had no recipe, no kinds and no releases.

    Raises:
        ValueError: A schema that is not read here.
    """
    public: dict[str, Any] = json.loads((place / "observation.json").read_text(encoding="utf-8"))
    if public["schema"] not in (1, 2, SCHEMA):
        raise ValueError(f"schema {public['schema']}, expected 1 to {SCHEMA}")
    if public["schema"] == SCHEMA:
        return public
    recipe = {"model": public["model"], "inputs": public["inputs"], "tensors": None}
    groups = public.get("message", {"groups": [], "scales": {}})
    later = {
        "context": {"public_seed": 0, "shared": None},
        **dict.fromkeys(("received", "planted", "releases"), _NOTHING),
    }
    message = {"kind": "update", "contributors": 1, **groups}
    return {"probe": {}, **later, **public, "schema": SCHEMA, "recipe": recipe, "message": message}


def probe_of(place: Path) -> dict[str, Any]:
    """Return whose recording this is, as plain values; nothing of one that several probes shared (schema 1).

    Raises:
        DataError: The recording cannot be read.
    """
    try:
        return dict(_public(place)["probe"])
    except _UNREADABLE as error:
        raise _unreadable(place, error) from error


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
    groups: list[str]
    scales: dict[str, float]
    trees: dict[str, State]
    params: Tensor
    buffers: Tensor

    @classmethod
    def read(cls, place: Path) -> _Recorded:
        from safetensors.torch import load_file

        public, sent = _public(place), load_file(place / BROADCAST)
        fixed = {k.removeprefix("fixed."): v for k, v in sent.items() if k.startswith("fixed.")}
        released = load_file(place / RELEASES) if (place / RELEASES).is_file() else {}
        told, message = public["context"], public["message"]
        where = int(public["round"]), int(public["client_id"])
        tensors = {**sent, **released}
        return cls(
            (place / "frame.bin").read_bytes(),
            Recipe.read(public["recipe"], fixed),
            PluginSpec(**public["codec"]),
            LeakageKnowledge(**_tupled(public["knowledge"])),
            CodecContext(int(told["public_seed"]), *where, unpack(told["shared"], sent)),
            message["kind"],
            int(message["contributors"]),
            [str(group) for group in message["groups"]],
            {str(group): float(scale) for group, scale in message["scales"].items()},
            {name: unpack(public[name], tensors) for name in ("received", "planted", "releases")},
            sent["params"],
            sent["buffers"],
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
    except (SafetensorError, *_UNREADABLE) as error:
        raise _unreadable(place, error) from error
    model, layout = found.recipe.make(found.params, found.buffers)
    up = layout.repeated(*found.groups) if found.groups else layout
    vector, support = _decoded(found, up)
    parts = up.groups if found.groups else {UPDATE: slice(None)}
    vectors = {name: vector[part] * found.scales.get(name, 1) for name, part in parts.items()}
    inputs = found.recipe.inputs
    return Observation(
        round=found.context.round,
        client_id=found.context.client_id,
        model=model,
        layout=layout,
        frame=found.frame,
        update=vectors.pop(UPDATE),
        input_shape=inputs.input_shape,
        num_classes=inputs.num_classes,
        value_range=inputs.value_range,
        knowledge=found.knowledge,
        kind=found.kind,
        contributors=found.contributors,
        support=support[parts[UPDATE]],
        received=found.trees["received"],
        releases={**found.trees["releases"], **vectors},
        planted=found.trees["planted"],
    )


def _decoded(found: _Recorded, up: Layout) -> tuple[Tensor, Tensor]:
    """Return what the frame decodes to, and which coordinates it names.  # [M], [M]"""
    codec = CODECS.build(found.codec.name, found.codec.options)
    spec = public_spec(up, found.codec.name, options_of(codec))
    envelope = Envelope(codec.codec_id, found.context.round, found.context.client_id, spec)
    vector = decode_frame(codec, found.frame, envelope, up, found.context)
    return vector, support_of(codec, found.frame, envelope, up)


def load_truth(place: Path) -> Truth:
    """Return the true examples of a recording, for scoring only.

    Raises:
        DataError: The file cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(place / TRUTH)
        return Truth(tensors["x"], tensors["y"])
    except (OSError, SafetensorError, KeyError) as error:
        raise DataError(f"{place} has no readable truth: {error}") from error


def _unreadable(place: Path, error: Exception) -> DataError:
    return DataError(f"{place} is not a readable observation: {said(error)}")


def _tupled(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
