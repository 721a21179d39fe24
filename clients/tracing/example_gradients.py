"""Every example's own gradient of one parameter, most often as factors that are never multiplied out.

A dense layer's gradient for one example is the product of what came back to its output and what went into it;
a convolution's is a sum of such products over the positions of its window. Two things are asked of it: its
squared norm, and the sum over the examples, each times a weight. Both follow from the factors.

A norm that is too small lets an example through the bound. Those of at most 1024 numbers are summed in
float32, where rounding takes at most 4e-6 of them, longer ones in pieces. Norms by Gram matrices are made
longer by what rounding may have taken, less than 1 %. Where squares leave the range of float32, or a sum
over positions nearly cancels, that example's gradient alone is written down, multiplied in float64, and it is
this row that is measured and added.

Source: Goodfellow. Efficient Per-Example Gradient Computations. 2015. arXiv:1510.01799 (norms of dense
layers). Rochette, Manoel, Tramel. Efficient Per-Example Gradient Computations in Convolutional Neural
Networks. 2019. arXiv:1912.06015 (unfolding). Bu, Wang, Zha, Karypis. Differentially Private Optimization on
Large Foundation Models at Small Cost. ICML 2023. arXiv:2210.00038 (one pass back, and Gram matrices where
they are smaller than the gradient).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Protocol

import torch
from torch import Tensor

_SHORT, _PIECE = 1024, 256  # numbers whose squares float32 sums; 8 at a time, so 128 and 32 roundings
_LEAST, _MOST = 1e-12, 1e15  # norms between which float32 loses no square and overflows nowhere
_CANCELLED = 400.0  # squared: what positions sum to without cancellation, over what is left
_LARGEST = torch.finfo(torch.float32).max
Places = tuple[Tensor, Tensor]
"""Some examples: their clients, and their places in the batch.  # [N] both"""


class ExampleGradient(Protocol):
    """The gradients of one parameter, of K clients with B examples each."""

    def squares(self, there: Tensor | None = None) -> Tensor:
        """Return the squared L2 norms, float64 [K, B]; NaN where an example has to be written down.

        Where ``there`` [K, B] is false there is no example, and its gradient is known to be zero.
        """

    def measured(self, places: Places) -> tuple["ExampleGradient", Tensor]:
        """Return the gradients, those at ``places`` written down, and their squared norms, float64 [N]."""

    def add_to(self, home: Tensor, weights: Tensor) -> None:
        """Add the examples' gradients, each times its weight [K, B], to ``home`` [K, ...]."""

    def without(self, left_out: Tensor) -> "ExampleGradient":
        """Return the same with the gradients where ``left_out`` [K, B] is true set to zero."""


def _zeroed(values: Tensor, left_out: Tensor) -> Tensor:
    return values.masked_fill(left_out.view(*left_out.shape, *[1] * (values.ndim - 2)), 0.0)


def _lengths(values: Tensor) -> Tensor:
    """Return the L2 norms over the last dimension, right where they are not ``_out_of_range``."""
    norm, size = torch.linalg.vector_norm, values.shape[-1]
    if size <= _SHORT:
        found: Tensor = norm(values, dim=-1)
        return found
    whole = size - size % _PIECE
    pieces = values[..., :whole].view(*values.shape[:-1], -1, _PIECE)
    parts = norm(pieces, dim=-1).double(), norm(values[..., whole:], dim=-1).double()
    return torch.hypot(norm(parts[0], dim=-1), parts[1]).float()


def _out_of_range(lengths: Tensor) -> Tensor:
    """Return where squares may have left the range of float32."""
    return ~((lengths >= _LEAST) & (lengths <= _MOST))


def _squared(rows: Tensor) -> Tensor:
    """Return the squared norms of rows, in float64."""
    norms: Tensor = torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float64)
    return norms.square_()


def _nan_unless_zero(back: Tensor, into: Tensor) -> Tensor:
    """Return 0 for examples of whose factors [N, S] one is all zero, and NaN for the others."""
    return torch.where(_squared(back) * _squared(into) == 0, 0.0, nan).double()


def _multiplied(back: Tensor, into: Tensor) -> Tensor:
    """Return the products of factors [N, C, T] and [N, T, D], made in float64.  # [N, S]"""
    pairs = zip(back.double(), into.double(), strict=True)
    return torch.stack([(b @ i).flatten().float() for b, i in pairs])


def _add_weighted(home: Tensor, rows: Tensor, weights: Tensor) -> None:
    """Add the weighted sums of ``rows`` [K, B, S] to ``home`` [K, ...] of S elements a client."""
    flat = home.view(len(home), 1, rows.shape[-1])
    flat.baddbmm_(weights.unsqueeze(1), rows)


@dataclass(frozen=True)
class Written:
    """Gradients that are written down: of biases, of normalising layers, of whatever has no factors.

    Attributes:
        rows: One row an example.  # [K, B, S]
    """

    rows: Tensor

    def squares(self, there: Tensor | None = None) -> Tensor:
        lengths = _lengths(self.rows)
        found, odd = lengths.square().double(), _out_of_range(lengths)
        odd = odd if there is None else odd & there
        if bool(odd.any()):
            found[odd] = _squared(self.rows[odd])
        return found

    def measured(self, places: Places) -> tuple["Written", Tensor]:
        return self, _squared(self.rows[places])

    def add_to(self, home: Tensor, weights: Tensor) -> None:
        _add_weighted(home, self.rows, weights)

    def without(self, left_out: Tensor) -> "Written":
        return Written(_zeroed(self.rows, left_out))


@dataclass(frozen=True)
class Outer:
    """Gradients ``back x into`` of a dense layer's weight.

    Attributes:
        back: What came back to the layer's output.  # [K, B, C]
        into: What went into it.  # [K, B, D]
    """

    back: Tensor
    into: Tensor

    def squares(self, there: Tensor | None = None) -> Tensor:
        back, into = _lengths(self.back), _lengths(self.into)
        both = back * into
        found = both.square().double()
        odd = _out_of_range(back) | _out_of_range(into) | _out_of_range(both)
        odd = odd if there is None else odd & there
        if bool(odd.any()):
            found[odd] = _nan_unless_zero(self.back[odd], self.into[odd])
        return found

    def measured(self, places: Places) -> tuple["Partly", Tensor]:
        return _partly(self, places, self.back[places].unsqueeze(2), self.into[places].unsqueeze(1))

    def add_to(self, home: Tensor, weights: Tensor) -> None:
        home.baddbmm_((self.back * weights.unsqueeze(2)).transpose(1, 2), self.into)

    def without(self, left_out: Tensor) -> "Outer":
        return Outer(_zeroed(self.back, left_out), _zeroed(self.into, left_out))


@dataclass(frozen=True)
class Positions:
    """Gradients ``sum_t back_t x into_t`` over so many positions that two T x T matrices are the smaller way.

    Attributes:
        back: What came back.  # [K, B, C, T]
        into: What went in.  # [K, B, T, D]
    """

    back: Tensor
    into: Tensor

    def squares(self, there: Tensor | None = None) -> Tensor:
        grams = self.back.transpose(2, 3) @ self.back, self.into @ self.into.transpose(2, 3)  # [K, B, T, T]
        lengths = [g.diagonal(dim1=2, dim2=3).double().clamp_(min=0.0).sqrt_() for g in grams]  # [K, B, T]
        most = [_out_of_range(length.amax(dim=2)) for length in lengths]
        apart = (lengths[0] * lengths[1]).sum(dim=2).square_()  # as if all positions had one direction
        found = grams[0].mul_(grams[1]).sum(dim=(2, 3), dtype=torch.float64)
        odd = most[0] | most[1] | _out_of_range(apart.sqrt()) | ~(apart <= _CANCELLED * found)
        found.add_(apart, alpha=self._rounding)
        odd = odd if there is None else odd & there
        if bool(odd.any()):
            found[odd] = _nan_unless_zero(self.back[odd].flatten(1), self.into[odd].flatten(1))
        return found

    @property
    def _rounding(self) -> float:
        """How much rounding may take off the square, of what all positions in one direction would have."""
        sums = self.back.shape[2] + self.into.shape[3]
        return max(8, sums / 16) * 2.0**-24  # twice the worst found; a dot product of n could lose n * 2^-24

    def measured(self, places: Places) -> tuple["Partly", Tensor]:
        return _partly(self, places, self.back[places], self.into[places])

    def add_to(self, home: Tensor, weights: Tensor) -> None:
        back = (self.back * weights[..., None, None]).transpose(1, 2).flatten(2)  # [K, C, B * T]
        into = self.into.flatten(1, 2)  # [K, B * T, D]
        home.view(len(home), back.shape[1], into.shape[2]).baddbmm_(back, into)

    def without(self, left_out: Tensor) -> "Positions":
        return Positions(_zeroed(self.back, left_out), _zeroed(self.into, left_out))


@dataclass(frozen=True)
class Partly:
    """Gradients of which some are written down.

    Attributes:
        inner: The others; those that are written down are zero in it.
        rows: One row an example.  # [N, S]
        places: Whose they are.
    """

    inner: ExampleGradient
    rows: Tensor
    places: Places

    def squares(self, there: Tensor | None = None) -> Tensor:
        found = self.inner.squares(there)
        found[self.places] = _squared(self.rows)
        return found

    def measured(self, places: Places) -> tuple["Partly", Tensor]:
        return self, self.squares()[places]

    def add_to(self, home: Tensor, weights: Tensor) -> None:
        self.inner.add_to(home, weights)
        rows = self.rows * weights[self.places].unsqueeze(1)
        home.view(len(home), rows.shape[1]).index_add_(0, self.places[0], rows)

    def without(self, left_out: Tensor) -> "Partly":
        rows = self.rows.masked_fill(left_out[self.places].unsqueeze(1), 0.0)
        return Partly(self.inner.without(left_out), rows, self.places)


def _partly(whole: Outer | Positions, places: Places, back: Tensor, into: Tensor) -> tuple[Partly, Tensor]:
    """Return gradients of which some, with factors [N, C, T] and [N, T, D], are written down."""
    rows = _multiplied(back, into)  # [N, S]
    written = torch.zeros(whole.back.shape[:2], dtype=torch.bool)
    written[places] = True
    return Partly(whole.without(written), rows, places), _squared(rows)


@dataclass(frozen=True)
class Turned:
    """Gradients of a convolution's weight whose channels stand last, where the parameter has them second.

    Attributes:
        inner: The gradients, of C rows of (window height, window width, channels).
        window: Those three sizes.
    """

    inner: ExampleGradient
    window: tuple[int, int, int]

    def squares(self, there: Tensor | None = None) -> Tensor:
        return self.inner.squares(there)

    def measured(self, places: Places) -> tuple["Turned", Tensor]:
        inner, squares = self.inner.measured(places)
        return Turned(inner, self.window), squares

    def add_to(self, home: Tensor, weights: Tensor) -> None:
        total = torch.zeros(*home.shape[:2], *self.window)  # [K, C, h, w, channels]
        self.inner.add_to(total, weights)
        home.add_(total.permute(0, 1, 4, 2, 3))

    def without(self, left_out: Tensor) -> "Turned":
        return Turned(self.inner.without(left_out), self.window)


def squares_of(
    gradients: Sequence[ExampleGradient], there: Tensor | None = None
) -> tuple[list[ExampleGradient], Tensor]:
    """Return the gradients and their squared norms, float64 [L, K, B]; those that are not finite become zero.

    An example whose gradient is longer than 1.8e19, the root of the largest float32, counts as not finite.
    ``there`` [K, B] is false where there is no example, and its gradient is known to be zero.
    """
    squares = torch.stack([g.squares(there) for g in gradients])  # [L, K, B]
    unsure = ~(squares.sum(dim=0) <= _LARGEST)  # [K, B]
    if not bool(unsure.any()):
        return list(gradients), squares
    clients, examples = unsure.nonzero(as_tuple=True)
    exact = [g.measured((clients, examples)) for g in gradients]
    squares[:, clients, examples] = torch.stack([found for _, found in exact])
    finite = squares.sum(dim=0) <= _LARGEST  # [K, B]; false for NaN
    gradients = [g for g, _ in exact]
    if bool(finite.all()):
        return gradients, squares
    return [g.without(~finite) for g in gradients], squares.where(finite, 0.0)
