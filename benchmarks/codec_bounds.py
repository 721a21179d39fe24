"""Bits a value of the entropy coders, over those of an ideal one, on values of three laws.

A million values of each law (numpy's generator, seed 0) as one tensor, through TernGrad (clip 2.5 and none)
and QSGD (15 levels, buckets of 512) with each way to pack: bits a value of whole frames, and of bodies over
``ideal_bits`` of the codes. Prints a line a codec and packing.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from asked import words

from gauntlet.clients.codecs import CODECS
from gauntlet.clients.codecs.parts.wire import encode_cohort
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.frames import payload_bytes
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.updates import Updates

NUMEL = 1_000_000
LAYOUT, STREAMS = Layout((Slot("values", (NUMEL,), 0),)), CodecStreams(0, 0)
TERNARY, LEVELS = ("base3", "rice", "huffman", "auto"), ("fixed", "huffman", "auto", "rans")
CASES: list[tuple[str, dict[str, Any]]] = [
    *(("terngrad", {"clip": clip, "pack": pack}) for clip in (2.5, 0.0) for pack in TERNARY),
    *(("qsgd", {"pack": pack}) for pack in LEVELS),
]


def drawn() -> dict[str, Updates]:
    """Return one update of a million values of each law.  # [1, NUMEL]"""

    def stream() -> np.random.Generator:
        return np.random.default_rng(0)

    laws: dict[str, Callable[[], Any]] = {
        "gauss": lambda: stream().standard_normal(NUMEL),
        "laplace": lambda: stream().laplace(size=NUMEL),
        "uniform": lambda: stream().uniform(-1, 1, NUMEL),
    }
    one = torch.tensor([0])
    return {
        law: Updates(torch.from_numpy(draw()[None].astype(np.float32)), one, one + 1)
        for law, draw in laws.items()
    }


def figures(name: str, options: dict[str, Any], updates: Updates) -> str:
    """Return the bits a value of a whole frame, and its bodies over the ideal bits."""
    codec = CODECS.build(name, options)
    (frame,), _ = encode_cohort(codec, updates, LAYOUT, 0, codec.init(), STREAMS)
    messages, _ = codec.encode(updates, LAYOUT, codec.init(), STREAMS)
    bound = 8 * payload_bytes(frame) / codec.ideal_bits(messages[0], LAYOUT)
    return f"{8 * len(frame) / NUMEL:.3f} | {bound:.3f}"


def main() -> None:
    words(__doc__)
    torch.set_num_threads(1)
    values = drawn()
    print("| codec | pack | " + " | ".join(f"{law}: bits | x bound" for law in values) + " |")
    print("|" + "---|" * (2 + 2 * len(values)))
    for name, options in CASES:
        clip = f" (clip {options['clip']:g})" if "clip" in options else ""
        cells = " | ".join(figures(name, options, updates) for updates in values.values())
        print(f"| {name}{clip} | {options['pack']} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
