"""How fast codecs are with one thread, a million float32 a client, beside what else one might send.

CPU time, megabytes of float32 a second each way. Then 64 clients in one call against one, by turns.
"""

import zlib
from functools import partial

import numpy as np
import torch
from asked import words

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
    _together(material)


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


def _together(material: Material) -> None:
    """Print how fast 64 clients are in one call, over one alone: at least 1 is wanted, of each way."""
    rows = [drawn(NUMEL, "gauss", seed).vectors for seed in range(CLIENTS)]
    many = Material("", material.layout, torch.cat(rows))
    print(f"{CLIENTS} clients in one call over one, speed a client: encode / decode")
    for name in NAMES:
        ratios = []
        for _ in range(TURNS):
            alone, cohort = (codec_table(one, [name], seconds=0.0).iloc[0] for one in (material, many))
            ratios.append((cohort.encode_mb / alone.encode_mb, cohort.decode_mb / alone.decode_mb))
        encode, decode = np.median(ratios, axis=0)
        print(f"{name:10} {encode:5.2f} / {decode:5.2f}")


if __name__ == "__main__":
    main()
