"""Checkpoints and frames: bytes that were damaged, or written by somebody who knows the format."""

import json
import zlib
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
from gauntlet.server.checkpoint import load_checkpoint, save_checkpoint
from gauntlet.server.simulation import prepare
from gauntlet.sims.scenario import make_scenario

STREAMS = CodecStreams(seed=0, round=2)


def checkpoint_base(scratch: Path) -> tuple[Path, bytes]:
    state = prepare(make_scenario({**SMALL, **RICH[3]}).run_spec()).first
    path = save_checkpoint(scratch / "checkpoints", state, "run")
    return path, path.read_bytes()


def checkpoint(stream: Stream, base: tuple[Path, bytes]) -> Case:
    path, content = base
    if stream.random() < 0.6:
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
        loaded = load_checkpoint(path.parent, "run")
        if content != base[1] and loaded is not None:
            raise AssertionError("a checkpoint that was changed was accepted")

    return load, f"{content[:400]!r}"


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
