"""Stochastic sign: one bit a coordinate, drawn so that the mean of what is decoded is the update.

Source: Safaryan, Richtarik. Stochastic Sign Descent Methods: New Algorithms and Better Theory. ICML 2021.
arXiv:1905.12938 (scaled there by the L2 norm, here by each tensor's largest size).
"""

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
import torch

from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record, one_a_tensor


@dataclass(frozen=True, eq=False)
class SignMismatch:
    """Minus the mean logarithm of the probability of each sign, 1/2 + sign u / (2 s)."""

    signs: torch.Tensor  # -1 or 1; 0 where a tensor is 0  # [P]
    sizes: list[int]  # of each tensor
    scale_free: ClassVar[bool] = True

    def __call__(self, updates):
        parts = [part for part in (self.signs * updates).split(self.sizes, -1) if part.shape[-1]]
        ratios = [p / p.abs().amax(dim=-1, keepdim=True).clamp(min=1e-30) for p in parts]
        return -(0.5 + 0.4995 * torch.cat(ratios, dim=-1)).log().mean(dim=-1)


@dataclass(frozen=True)
class SignOdds:
    """Send each tensor's largest size s, and each coordinate as s or -s."""

    codec_id: ClassVar[int] = 200
    unbiased: ClassVar[bool] = True

    def init(self):
        return None

    def encode(self, updates, layout, state, streams):
        rows = zip(updates.vectors.numpy(), updates.client_ids.tolist(), strict=True)
        return [self._records(row, layout, streams(client)) for row, client in rows], state

    def _records(self, row, layout, stream):
        records = []
        for i, slot in enumerate(layout.parameters):
            part = row[slot.start : slot.start + slot.size]
            s = np.abs(part).max(initial=np.float32(0))
            negative = stream.random(slot.size) >= 0.5 + (part / (2 * s) if 0 < s < np.inf else 0)
            records.append(Record(i, 2, slot.size, s.tobytes() + np.packbits(negative).tobytes()))
        return records

    def decode(self, records, layout, context):
        parts = []
        for slot, record in zip(layout.parameters, records, strict=True):
            if record.tag != 2 or len(record.body) != self.max_body(slot.shape):
                raise FrameError(f"tensor {record.tensor_id}: another tag or length")
            s = np.frombuffer(record.body[:4], "<f4")[0]
            bits = np.unpackbits(np.frombuffer(record.body[4:], "u1"))
            if not np.isfinite(s) or np.signbit(s) or bits[slot.size :].any():
                raise FrameError(f"tensor {record.tensor_id}: scale {s}, or padding that is not zero")
            parts.append(np.where(bits[: slot.size], -s, s))
        return torch.from_numpy(np.concatenate(parts))

    def mismatch(self, records, layout, context):
        return SignMismatch(self.decode(records, layout, context).sign(), [r.numel for r in records])

    def records(self, layout):
        return one_a_tensor(layout)

    def max_body(self, shape):
        return 4 + -(-prod(shape) // 8)

    def ideal_bits(self, records, layout):
        return sum(record.numel + 32 for record in records)
