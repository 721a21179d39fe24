"""How fast codecs are with one thread, a million float32 a client, beside what else one might send.

CPU time, megabytes of float32 a second each way. Then 64 clients in one call against one, by turns.
"""

import zlib
from functools import partial

import numpy as np
import torch
from asked import words

from gauntlet.clients.codecs import CODECS
from gauntlet.clients.codecs.parts.wire import decode_cohort, encode_cohort
from gauntlet.core.contracts import Codec, CodecStreams
from gauntlet.core.layout import Layout
from gauntlet.core.updates import Updates
from gauntlet.sims.codec_table import Material, codec_table, drawn, timed

NAMES = ("fp16", "sign", "terngrad", "qsgd", "topk")
NUMEL, CLIENTS, TURNS = 1_000_000, 64, 3


def main() -> None:
    words(__doc__)
    torch.set_num_threads(1)
    material = drawn(NUMEL, "gauss")
    print(f"{NUMEL:,} values a client, MB/s of float32: encode / decode")
    for row in codec_table(material, NAMES, seconds=1.0).itertuples(index=False):
        print(
            f"{row.codec:10} {row.pack:8} {row.encode_mb:7.0f} / {row.decode_mb:7.0f}  {row.bits:7.3f} bits"
        )
    _others(material.vectors[0].numpy())
    _low_rank(material)
    _together()


def _others(values: np.ndarray) -> None:
    """Print what needs no codec: halves behind zlib, and zstandard where it is installed."""
    halves = torch.from_numpy(values).half().numpy().tobytes()
    ways = {"torch fp16 + zlib 6": (zlib.compress, zlib.decompress, halves)}
    try:
        import zstandard
    except ImportError:
        print("zstandard is not installed: no row for it")
    else:
        squeeze, open_ = zstandard.ZstdCompressor(level=1), zstandard.ZstdDecompressor()
        ways["float32 + zstd 1"] = (squeeze.compress, open_.decompress, values.tobytes())
    for name, (pack, unpack, data) in ways.items():
        body, encoding = timed(partial(pack, data), 1.0)
        _, decoding = timed(partial(unpack, body), 1.0)
        size, bits = values.nbytes / 1e6, 8 * len(body) / len(values)
        print(f"{name:19} {size / encoding:7.0f} / {size / decoding:7.0f}  {bits:7.3f} bits")


def _low_rank(material: Material) -> None:
    """Print PowerSGD of rank 2, there and back: ours, and its authors' where their code is installed."""
    ours = codec_table(material, ("powersgd",), seconds=1.0).iloc[0]
    speed = 1 / (1 / ours.encode_mb + 1 / ours.decode_mb)
    print(f"powersgd, ours      {speed:7.0f} there and back  {ours.bits:7.3f} bits  NMSE {ours.nmse:.5f}")
    try:
        from powersgd import Config, PowerSGD
    except ImportError:
        print("epfml/powersgd is not installed (the registry's package of its name is empty): no row for it")
        return
    matrix = material.vectors[0].reshape(1000, 1000)
    config = Config(rank=2, num_iters_per_step=2, start_compressing_after_num_steps=0)
    theirs = PowerSGD([matrix], config)
    (made,), spent = timed(lambda: theirs.aggregate([matrix.clone()]), 1.0)
    lost = float((made - matrix).square().sum() / matrix.square().sum())
    size, bits = 4 * NUMEL / 1e6, 32 * 2 * (1000 + 1000) / NUMEL
    print(f"epfml/powersgd      {size / spent:7.0f} there and back  {bits:7.3f} bits  NMSE {lost:.5f}")


def _together() -> None:
    """Print how fast 64 clients are in one call, a client, over ways without it: at least 1 is wanted.

    Encoding over one client alone. Decoding over 64 calls and their results as one matrix, which is what a
    server works on; and over 64 calls of which each leaves its 4 MB of memory, warm, to the next.
    """
    rows = torch.cat([drawn(NUMEL, "gauss", seed).vectors for seed in range(CLIENTS)])
    ids, streams, layout = torch.arange(CLIENTS), CodecStreams(0, 0), drawn(NUMEL, "gauss").layout
    updates = Updates(rows, ids, torch.ones_like(ids))
    print(f"{CLIENTS} clients in one call, by client: encode over alone; decode over 64 calls, alone")
    for name in NAMES:
        ratios = [_ratios(CODECS.build(name, {}), updates, layout, streams) for _ in range(TURNS)]
        encode, calls, warm = np.median(ratios, axis=0)
        print(f"{name:10} {encode:5.2f}; {calls:5.2f}, {warm:5.2f}")


def _ratios(codec: Codec, updates: Updates, layout: Layout, streams: CodecStreams) -> tuple[float, ...]:
    """Return a codec's row of ``_together``, measured once."""

    def encoded(some: Updates) -> list[bytes]:
        return encode_cohort(codec, some, layout, 0, codec.init(), streams)[0]

    def decoded(clients: range) -> torch.Tensor:
        part = frames[clients.start : clients.stop]
        return decode_cohort(codec, part, clients, layout, 0, streams)[0]

    frames, together = timed(lambda: encoded(updates), 0.0)
    _, alone = timed(lambda: encoded(updates.rows(torch.tensor([0]))), 0.0)
    _, calls = timed(lambda: torch.cat([decoded(range(i, i + 1)) for i in range(CLIENTS)]), 0.0)
    _, warm = timed(lambda: [decoded(range(i, i + 1)).numel() for i in range(CLIENTS)], 0.0)
    _, whole = timed(lambda: decoded(range(CLIENTS)), 0.0)
    return CLIENTS * alone / together, calls / whole, warm / whole


if __name__ == "__main__":
    main()
