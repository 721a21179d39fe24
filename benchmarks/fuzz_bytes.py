"""Checkpoints and frames: bytes that were damaged, or written by somebody who knows the format."""

import json
import zlib
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from fuzz_cases import RICH, SMALL, Case, Stream, as_json, changed, damaged, pick

from gauntlet.clients.codecs import CODECS
from gauntlet.clients.codecs.parts.wire import decode_frame, encode_cohort
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.frames import Envelope, public_spec
from gauntlet.core.layout import Layout
from gauntlet.core.options import options_of
from gauntlet.core.updates import Updates
from gauntlet.server.checkpoint import load_newest, save_checkpoint
from gauntlet.server.simulation import Simulation, prepare
from gauntlet.sims.run import check_state
from gauntlet.sims.scenario import make_scenario

STREAMS = CodecStreams(seed=0, round=2)


def checkpoint_base(scratch: Path) -> list[tuple[Path, bytes, Simulation]]:
    found = []
    for number, rich in enumerate(RICH[2:4]):
        ready = prepare(make_scenario({**SMALL, **rich}).run_spec())
        state = next(ready.steps(ready.serial_pool())).state
        path = save_checkpoint(scratch / str(number) / "checkpoints", state, "run")
        found.append((path, path.read_bytes(), ready))
    return found


def checkpoint(stream: Stream, bases: list[tuple[Path, bytes, Simulation]]) -> Case:
    path, whole, ready = pick(stream, bases)
    content, digested = whole, stream.random() < 0.5
    if digested:  # by somebody who can work out a digest, too
        content = _forged(stream, content)
    elif stream.random() < 0.6:
        content = damaged(stream, content)
    else:  # the head, as somebody would write it who knows the format
        size = int.from_bytes(content[:8], "little")
        head = json.loads(content[8 : 8 + size])
        if stream.random() < 0.5:
            name = pick(stream, [n for n in head if n != "__metadata__"])
            head[name]["dtype"] = pick(stream, ("BF16", "F16", "F8_E4M3", "I8", "U8", "BOOL", "F64", "X"))
        else:
            deep = "[" * 5000 + "]" * 5000
            head["__metadata__"]["gauntlet"] = pick(
                stream,
                (
                    deep,
                    "1",
                    "{}",
                    "null",
                    "9" * 5000,
                    as_json(changed(stream, {"schema": 1, "state": {}, "run": "run"})),
                ),
            )
        text = json.dumps(head).encode()
        content = len(text).to_bytes(8, "little") + text + content[8 + size :]
    path.write_bytes(content)

    def load() -> None:
        loaded, _ = load_newest(path.parent, "run", partial(check_state, ready))
        if loaded is None or content == whole:
            return
        if not digested:
            raise AssertionError("a checkpoint that was changed was accepted")
        for _ in ready.steps(ready.serial_pool(), loaded.state):
            break

    return load, f"{content[:400]!r}"


def _forged(stream: Stream, content: bytes) -> bytes:
    """Return a checkpoint whose state or numbers are others, with a digest that fits."""
    size = int.from_bytes(content[:8], "little")
    head, body = json.loads(content[8 : 8 + size]), bytearray(content[8 + size :])
    inner = json.loads(head["__metadata__"]["gauntlet"])
    if stream.random() < 0.7:
        state = changed(stream, {key: inner[key] for key in ("state", "beside")})
        inner |= state if isinstance(state, dict) else {}
    else:
        at = int(stream.integers(len(body)))
        body[at : at + 4] = stream.choice([0, 255, 127, 128, 1], 4).astype("u1").tobytes()[: len(body) - at]
    blank = "0" * 64
    head["__metadata__"]["gauntlet"] = json.loads(as_json(as_json({**inner, "digest": blank})))
    text = as_json(head).encode("utf-8", "replace")
    text += b" " * (-len(text) % 8)
    forged = len(text).to_bytes(8, "little") + text + bytes(body)
    digest = blake2b(forged, digest_size=32).hexdigest()
    return forged.replace(blank.encode(), digest.encode(), 1)


def frame_base(_: Path) -> list[tuple[Any, ...]]:
    torch.manual_seed(0)
    layout = Layout.of(torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Linear(7, 3)))
    updates = Updates(torch.randn(1, layout.num_parameters), torch.tensor([3]), torch.tensor([4]))
    found = []
    for name in CODECS.table:
        codec = CODECS.build(name, {})
        spec = public_spec(layout, name, options_of(codec))
        frames, _ = encode_cohort(codec, updates, layout, spec, codec.init(), STREAMS)
        found.append((codec, frames[0], Envelope(codec.codec_id, 2, 3, spec), layout))
    return found


def frame(stream: Stream, base: list[tuple[Any, ...]]) -> Case:
    codec, content, envelope, layout = pick(stream, base)
    content = damaged(stream, content)
    if stream.random() < 0.7:  # as somebody would send it who can count
        content = content[:-4] + zlib.crc32(content[:-4]).to_bytes(4, "little")

    def decode() -> None:
        vector = decode_frame(codec, content, envelope, layout, STREAMS.context(3))
        if vector.shape != (layout.num_parameters,) or vector.dtype != torch.float32:
            raise AssertionError("a vector of another shape was accepted")

    return decode, f"{content!r}"
