"""What an epsilon owes to the orders at which Renyi divergence was looked at, and to the conversion.

Source: the published epsilons of Arcolezi, Couchot, Renaud, Al Bouna, Xiao (Neural Computing and
Applications 34, 2022, arXiv:2205.00436), traced to TF-Privacy's former grid of orders and the conversion of
Mironov. Renyi Differential Privacy. CSF 2017, Proposition 3, arXiv:1702.07476. The newer conversion: Canonne,
Kamath, Steinke. NeurIPS 2020, Proposition 12, arXiv:2004.00010

Both are upper bounds at any order, so the smallest over a grid is one too. But where the best order is the
last of the grid, the number says how far the grid goes, and little about the mechanism: under the old
conversion no noise brings it below ln(1 / delta) / (last order - 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log, log1p

from .curves import gaussian_epsilon

OLD_GRID: tuple[float, ...] = (
    1.25,
    1.5,
    1.75,
    2.0,
    2.25,
    2.5,
    3.0,
    3.5,
    4.0,
    4.5,
    *range(5, 64),
    128,
    256,
    512,
)
"""The orders of TF-Privacy before its move to dp-accounting, as in its tutorials."""


@dataclass(frozen=True)
class OnGrid:
    """An epsilon as the best order of a grid gives it.

    Attributes:
        epsilon: At least 0.
        order: The order that gives it.
        warning: One line where that is the grid's first or last order; None where it lies between.
    """

    epsilon: float
    order: float
    warning: str | None


def old_conversion(divergences: Sequence[float], orders: Sequence[float], delta: float) -> OnGrid:
    """Return the least of ``divergence + ln(1 / delta) / (order - 1)``."""
    bounds = [d + log(1 / delta) / (a - 1) for d, a in zip(divergences, orders, strict=True)]
    return _least(bounds, orders)


def new_conversion(divergences: Sequence[float], orders: Sequence[float], delta: float) -> OnGrid:
    """Return the least of ``divergence + ln((a - 1) / a) - (ln(delta) + ln(a)) / (a - 1)``, a the order."""
    bounds = [
        d + log1p(-1 / a) - (log(delta) + log(a)) / (a - 1) for d, a in zip(divergences, orders, strict=True)
    ]
    return _least(bounds, orders)


def _least(bounds: Sequence[float], orders: Sequence[float]) -> OnGrid:
    place = min(range(len(bounds)), key=lambda i: bounds[i] if bounds[i] == bounds[i] else inf)
    end = {0: "first", len(orders) - 1: "last"}.get(place)
    return OnGrid(
        epsilon=max(bounds[place], 0.0),
        order=float(orders[place]),
        warning=end and f"the best order is the {end} of the grid, {orders[place]:g}: take more orders",
    )


def poisson_divergences(
    noise_multiplier: float, sample_rate: float, steps: int, orders: Sequence[float] = OLD_GRID
) -> list[float]:
    """Return the Renyi divergences of Poisson-sampled Gaussian steps, added up.

    Args:
        noise_multiplier: z, above 0.
        sample_rate: q, above 0 and at most 1: what sampling must really have been for this to hold.
        steps: How many.
        orders: At which orders, above 1.
    """
    import dp_accounting
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant(orders)
    gaussian = dp_accounting.GaussianDpEvent(noise_multiplier)
    accountant.compose(dp_accounting.PoissonSampledDpEvent(sample_rate, gaussian), steps)
    return [float(value) for value in accountant.rdp]


def fixed_batches_epsilon(
    noise_multiplier: float, epochs: int, delta: float, examples_a_microbatch: int = 1
) -> float:
    """Return what one example costs where every pass cuts the examples into the same batches: exact.

    Nothing is sampled, so nothing is amplified: an example is in one step of each epoch.

    Args:
        noise_multiplier: z, noise over the clip norm of a microbatch, above 0.
        epochs: Passes over the data, at least 1.
        delta: Between 0 and 1.
        examples_a_microbatch: Above 1, another example changes a clipped mean that stays in the batch: the
            sum moves by up to twice the clip norm instead of once.
    """
    if examples_a_microbatch < 1 or epochs < 1:
        raise ValueError(
            f"epochs and examples_a_microbatch must be at least 1, got {epochs} and {examples_a_microbatch}"
        )
    moved = 1 if examples_a_microbatch == 1 else 2
    return gaussian_epsilon(epochs * (moved / noise_multiplier) ** 2, delta)
