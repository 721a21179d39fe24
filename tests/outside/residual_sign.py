"""Scaled sign with a residual: one bit a coordinate, and what it loses goes along with the next message.

Source: Karimireddy, Rebjock, Stich, Jaggi. Error Feedback Fixes SignSGD and other Gradient Compression
Schemes. ICML 2019, Algorithm 1. arXiv:1901.09847
"""

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
import torch

from gauntlet.core.client_rows import rows_of, with_rows, without
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record, one_a_tensor

SIGNS = 0x02  # tag: every element as one bit, 1 = negative


@dataclass(frozen=True)
class ResidualSign:
    """Send each tensor's signs and its mean size, of p = u + decay * e.

    Attributes:
        decay: What a residual e is multiplied by before it is added to the update u, between 0 and 1.
    """

    codec_id: ClassVar[int] = 2
    decay: float = 1.0

    def init(self):
        return {"residuals": {}, "sent": {}}  # by client id: e (p until it is counted), and what was sent

    def encode(self, updates, layout, state, streams):
        ids = updates.client_ids.tolist()
        before = rows_of(state["residuals"], ids, torch.zeros(layout.num_parameters))
        wanted = updates.vectors + self.decay * before
        records = [self._records(row.numpy(), layout) for row in wanted]
        good = wanted.isfinite().all(dim=1).nonzero().flatten().tolist()
        sent = [self.decode(records[k], layout, streams.context(ids[k])) for k in good]
        known = [ids[k] for k in good]
        return records, {
            "residuals": with_rows(state["residuals"], known, wanted[good]),
            "sent": with_rows(without(state["sent"], ids), known, torch.stack(sent) if sent else wanted[:0]),
        }

    def _records(self, row, layout):
        records = []
        for i, slot in enumerate(layout.parameters):
            part = row[slot.start : slot.start + slot.size]
            scale = np.float32(np.abs(part, dtype="<f8").sum() / max(slot.size, 1))
            records.append(Record(i, SIGNS, slot.size, scale.tobytes() + np.packbits(part < 0).tobytes()))
        return records

    def settle(self, state, counted_ids):
        counted = [i for i in counted_ids if i in state["sent"]]
        left = {i: state["residuals"][i] - state["sent"][i] for i in counted}
        return {"residuals": {**state["residuals"], **left}, "sent": without(state["sent"], counted)}

    def decode(self, records, layout, context):
        parts = []
        for slot, record in zip(layout.parameters, records, strict=True):
            if record.tag != SIGNS or len(record.body) != self.max_body(slot.shape):
                raise FrameError(f"tensor {record.tensor_id}: another tag or length")
            scale = np.frombuffer(record.body[:4], "<f4")[0]
            bits = np.unpackbits(np.frombuffer(record.body[4:], "u1"))
            if not np.isfinite(scale) or np.signbit(scale) or bits[slot.size :].any():
                raise FrameError(f"tensor {record.tensor_id}: scale {scale}, or padding that is not zero")
            parts.append(np.where(bits[: slot.size], -scale, scale))
        return torch.from_numpy(np.concatenate(parts))

    def records(self, layout):
        return one_a_tensor(layout)

    def max_body(self, shape):
        return 4 + -(-prod(shape) // 8)

    def ideal_bits(self, records, layout):
        return sum(record.numel + 32 for record in records)
