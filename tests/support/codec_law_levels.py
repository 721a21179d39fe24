"""The law of a codec whose levels stand in a table, as ``codec_laws`` states those of others."""

from math import prod

import numpy as np

NF4_LEVELS = (
    -1, -0.6961928, -0.52507305, -0.39491749, -0.28444138, -0.18477343, -0.09105004, 0,
    0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1,
)  # fmt: skip
"""The published table (QLoRA, appendix E)."""


def nf4(round_, x):
    """The nearest of sixteen levels times the block's scale: its largest size, or up to a 255th of the
    largest of 256 blocks more."""
    size, table = round_.codec.block, np.array(NF4_LEVELS)
    for _, _, own, d in round_.tensors(x):
        blocks = [own[n : n + size] for n in range(0, len(own), size)]
        for group in range(0, len(blocks), 256):
            most = max((np.abs(b).max() for b in blocks[group : group + 256]), default=0)
            for n, block in enumerate(blocks[group : group + 256], group):
                scale = np.ceil(255 * np.abs(block).max() / most - 1e-3) / 255 * most if most else 0
                best = np.abs(block[:, None] - table * scale).min(axis=1)
                came = np.abs(block - d[n * size : n * size + len(block)])
                assert np.abs(came - best).max() <= 1e-5 * scale + 1e-37


def zero_rows(round_, x):
    """A row of zeros costs one bit; where all that is left is one number, it is sent once."""
    assert np.array_equal(round_.decoded, x)
    for records, own in zip(round_.records, x, strict=True):
        for record, slot in zip(records, round_.layout.parameters, strict=True):
            bits = own[slot.start : slot.start + slot.size].astype(np.float32).view(np.uint32)
            rows = bits.reshape(slot.shape[0] if slot.shape else 1, prod(slot.shape[1:]))
            left = rows[rows.any(axis=1)]
            numbers = 1 if len(np.unique(left)) == 1 else left.size
            assert len(record.body) == -(-len(rows) // 8) + 4 * numbers
