"""How far a scenario's clients are from independent, in a few lines: sizes, labels, inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..clients.data.base import FederatedData

Array = np.ndarray[Any, Any]
MOST = 200  # clients whose inputs are looked at


def summary_lines(data: FederatedData, counts: Array) -> list[str]:
    """Return one line each on the clients' sizes, labels and inputs.

    Args:
        data: The clients' data.
        counts: How many labels of each class each client holds.  # [N, C]
    """
    sizes = np.array([data.num_examples(i) for i in range(data.num_clients)])
    held = (counts > 0).sum(axis=1)
    return [
        f"{data.num_clients} clients, {sizes.sum()} examples: {_spread(sizes)} each",
        f"labels: {_spread(held)} of {counts.shape[1]} classes at a client; distance of its mix from "
        f"everybody's {_spread(label_skew(counts))} (0: the same, 1: nothing in common)",
        *_inputs(data),
    ]


def label_skew(counts: Array) -> Array:
    """Return how far each client's mix of labels is from that of all clients together.  # [N]

    The total variation distance: half the sum of the shares' absolute differences, between 0 and 1.
    """
    total = counts.sum(axis=1, keepdims=True).clip(min=1)
    everybody = counts.sum(axis=0) / max(counts.sum(), 1)
    found: Array = 0.5 * np.abs(counts / total - everybody).sum(axis=1)
    return found


def _inputs(data: FederatedData) -> list[str]:
    """Return a line on the means and standard deviations of clients' inputs; none of tokens."""
    some = [data.client(i)[0] for i in range(min(data.num_clients, MOST))]
    if not all(x.is_floating_point() for x in some):
        return []
    means = np.array([float(x.mean()) for x in some])
    stds = np.array([float(x.std(correction=0)) for x in some])
    whose = "" if data.num_clients <= MOST else f" (of the first {MOST} clients)"
    return [f"inputs{whose}: mean {_spread(means)}, standard deviation {_spread(stds)}"]


def _spread(values: Array) -> str:
    how = ",.4g" if values.dtype.kind == "f" else ",.0f"
    least, middle, most = (format(v, how) for v in np.quantile(values, [0, 0.5, 1]).tolist())
    return f"{least} to {most} (median {middle})"
