"""What one client really sent, on the disk, so that leakage attacks can look at it later.

The attacker does not sit in the loop: a recording holds the broadcast, the exact frame, public configuration
and what its probe is told, and an attack runs on it afterwards, at the run's end or from disk. The
client's true examples lie in another file, which only the scorer opens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...clients.codecs import CODECS
from ...clients.exchange.exchange import PARAMS, Exchange
from ...clients.training.defending import wrap_of
from ...core.contracts import Codec, CodecStreams
from ...core.declarations import Codecs, declared
from ...core.disk import write_folder
from ...core.errors import DataError
from ...core.layout import Layout
from ...core.trees import State, pack
from ..assembly.loading import make_model, make_task
from .format import (
    BROADCAST,
    MASKS,
    OF_RECORDS,
    RECORDS,
    RELEASES,
    SCHEMA,
    TRUTH,
    UNREADABLE,
    public_of,
    sealed,
    unreadable,
)
from .observed_part import recorded_part
from .observed_sum import PLAIN
from .recipes import Recipe
from .undoing import undone_by

if TYPE_CHECKING:
    from torch import Tensor

    from ...clients.data.base import FederatedData
    from ...clients.exchange.levels import Levels
    from ...clients.exchange.messages import Broadcast
    from ...core.leakage_knowledge import LeakageKnowledge
    from ...core.observation import Truth
    from ..mail.outcome import Outcome
    from ..spec import RunSpec
    from .observed_sum import ObservedSum


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
    total: ObservedSum | None = None,
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
        total: What the server saw in the place of the client's message, under secure aggregation.

    Raises:
        DataError: The disk is full or not writable.
    """
    from safetensors.torch import save

    named = spec.codec if total is None else PLAIN
    down = outcome.down(client_id)
    codec: Codec = CODECS.build(named.name, named.options)
    plain = declared(codec, Codecs.verbatim)  # its frames are read without more
    model = make_model(spec, data)
    defense, server = spec.client_defense, spec.server if down.planted else None
    wrapped = None if wrap_of(defense.name, defense.options) is None else defense
    recipe = Recipe.of(spec.model, data, model, server, make_task(spec, data), wrapped)
    if total is None:
        frame = outcome.frame(client_id)
    else:
        layout = Layout.of(model) if exchange is None else exchange.up
        frame = total.frame(layout, down.broadcast.round, client_id)
    assert frame is not None, "a run that is watched sends single updates"
    told, sent = _packed(
        {
            "shared": None if plain else down.shared,
            "received": _received(down.broadcast, exchange),
            "planted": dict(down.planted),
        }
    )
    part, of_part = recorded_part(levels, outcome, client_id, spec.algorithm)
    besides, released = _packed({"releases": _releases(outcome, client_id, total)})
    public_seed = 0 if plain else CodecStreams(spec.seed, 0).public_seed
    public = {
        "schema": SCHEMA,
        "probe": dict(probe),
        "round": down.broadcast.round,
        "client_id": client_id,
        "recipe": recipe.plain(),
        "codec": asdict(named),
        "context": {"public_seed": public_seed, "shared": told.pop("shared")},
        "message": {**_what(total), **_groups(exchange)},
        **told,
        **besides,
        **part,
        **undone_by(defense, knowledge),
        "knowledge": told_plainly(knowledge),
    }
    sent |= of_part | {"params": down.broadcast.params, "buffers": down.broadcast.buffers}
    sent |= {f"fixed.{name}": value.contiguous() for name, value in recipe.fixed.items()}
    files = {
        "frame.bin": frame,
        BROADCAST: save(sent),
        TRUTH: save(_true(truth)),
        **({RELEASES: save(released)} if released else {}),
        **_masks(knowledge),
        **_records(knowledge),
    }
    _write(place, sealed(files, public))
    return place


def told_plainly(knowledge: LeakageKnowledge) -> dict[str, Any]:
    """Return what is told as JSON has it; dropout's masks and records stand in files of their own."""
    apart, kept = ("dropout_masks", *OF_RECORDS), knowledge.dropout_masks
    plain = asdict(replace(knowledge, **dict.fromkeys(apart), levels={}))
    told = {k: v for k, v in plain.items() if k not in apart}
    return {**told, "levels": dict(knowledge.levels), "dropout_masks": None if kept is None else []}


def _true(truth: Truth) -> dict[str, Tensor]:
    members = {} if truth.members is None else {"members": truth.members}
    altered = (
        {} if truth.altered is None else dict(zip(("altered_x", "altered_y"), truth.altered, strict=True))
    )
    framing = {"framing": truth.x.new_tensor(truth.framing)} if truth.framing else {}
    tensors = {"x": truth.x, "y": truth.y, **members, **altered, **framing}
    return {name: t.contiguous() for name, t in tensors.items()}


def _records(knowledge: LeakageKnowledge) -> dict[str, bytes]:
    """Return the file of the records that an attacker is told; none where it has none."""
    from safetensors.torch import save

    told = {name: getattr(knowledge, name) for name in OF_RECORDS if getattr(knowledge, name) is not None}
    parts = {f"{name}.{part}": getattr(kept, part) for name, kept in told.items() for part in ("x", "y")}
    return {RECORDS: save({name: part.contiguous() for name, part in parts.items()})} if parts else {}


def _masks(knowledge: LeakageKnowledge) -> dict[str, bytes]:
    """Return the file of what a client's dropout kept; none where that is nothing, or not known."""
    from safetensors.torch import save

    kept = knowledge.dropout_masks
    if not kept:
        return {}
    return {MASKS: save({f"{number:06d}": mask.contiguous() for number, mask in enumerate(kept)})}


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


def _what(total: ObservedSum | None) -> dict[str, Any]:
    """Return which kind of message it is."""
    if total is None:
        return {"kind": "update", "contributors": 1}
    return {"kind": "aggregate", "contributors": len(total.client_ids), "counted": total.weight}


def _releases(outcome: Outcome, client_id: int, total: ObservedSum | None) -> State:
    """Return what is known beside the frame: what a client sent, or sums of that."""
    if total is not None:
        summed = {"buffers": total.buffers} if len(total.buffers) else {}
        return {**({"num_examples": int(total.weight)} if total.by_examples else {}), **summed}
    sent = outcome.sent.rows(outcome.sent.client_ids == client_id)
    buffers = {"buffers": sent.buffers[0]} if sent.buffers.shape[1] else {}
    facts = {"facts": sent.facts[0]} if sent.facts.shape[1] else {}
    return {"num_examples": int(sent.num_examples[0]), **buffers, **facts}


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
        public = {**public_of(old), "probe": dict(probe), "knowledge": told_plainly(knowledge)}
        files = {name: (old / name).read_bytes() for name in ("frame.bin", BROADCAST, TRUTH)}
        files |= _masks(knowledge) | _records(knowledge)
    except UNREADABLE as error:
        raise unreadable(old, error) from error
    _write(place, sealed(files, public))
    return place


def _write(place: Path, files: Mapping[str, bytes]) -> None:
    try:
        write_folder(place, files)
    except OSError as error:
        raise DataError(f"{place} cannot be written: {error.strerror}") from error
