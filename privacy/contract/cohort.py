"""No client and no coordinate is left out: checks that raise ``PluginError`` when one is.

A mechanism may be right for a few clients and wrong for one: in a row that is never looked at, in a large
cohort, in a round after the first, in a tensor that it forgets. So cohorts of one client to 301 are tried, in
three rounds one after the other, with rows that are long in a single coordinate, each coordinate once.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ...core.contracts import Clipping, ExamplePrivacy, Privacy, Release
from ...core.declarations import Mechanisms, clipped_at, declared
from ...core.registry import require
from ...core.seeds import Streams, generator
from ...core.updates import Updates
from ..clippings.parts import row_norms
from .example import protects_examples
from .trials import EXPECTED, event_of, server_sees, some_updates, trust

_P, _ROUNDS = 301, 3
_SIZES = (1, 2, 7, 40, _P)
_DRAWS, _BLOCKS = 64_000, 64
_BLOCK_BAND = 0.15  # of the std of 1000 draws, at 6.5 standard deviations: 6.5 / sqrt(2 * 1000)
_ALIKE = 6.5 / _DRAWS**0.5  # correlation of independent draws, likewise


def _cohorts(clip_norm: float, round_: int) -> Iterator[Updates]:
    """Return cohorts of clients that are all too long, with ids and numbers of examples of every size."""
    for size in _SIZES:
        drawn = torch.from_numpy(generator(size, "cohort contract", round_).standard_normal((size, _P)))
        spread = (drawn / drawn.norm(dim=1, keepdim=True)).float()
        single = torch.eye(_P)[torch.arange(size) * (_P // size)]
        lengths = clip_norm * torch.tensor([1.01, 3.0, 1e3, 1e6])[torch.arange(size) % 4]  # [K]
        ids = torch.arange(size) * 7 + round_
        for rows in (spread, single):
            yield Updates(rows * lengths[:, None], ids, 1 + torch.arange(size) % 5, expected_size=EXPECTED)


def _streams(round_: int) -> Streams:
    return lambda client_id: generator(1, "cohort contract noise", round_, client_id)


def no_client_is_let_in_unclipped(mechanism: Privacy) -> None:
    """Under central trust no row of any cohort is longer than the C of its round."""
    if (declared(mechanism, Mechanisms.clip_norm) or 0.0) <= 0 or trust(mechanism) != "central":
        return
    for number in range(2 * len(_SIZES)):
        state = mechanism.init()
        for t in range(_ROUNDS):
            c = declared(mechanism, Mechanisms.clip_norm) if t == 0 else clipped_at(mechanism, state)
            updates = list(_cohorts(float(c or 0.0), t))[number]
            clipped, state = mechanism.clip(updates, state)
            norms, bound = row_norms(clipped.vectors), float(clipped_at(mechanism, state) or 0.0)
            row = int(norms.argmax())
            require(
                float(norms[row]) <= bound * (1 + 1e-6),
                f"clip lets row {row} of {len(updates)} through C = {bound} in round {t}, with {norms[row]}",
            )
            _, state = mechanism.noise(torch.zeros(_P), EXPECTED, state, generator(3, "noise", t))


def no_client_sends_unclipped(mechanism: Privacy) -> None:
    """With the same noise, no message of any cohort and round is further than C from a zero update's."""
    event, clip_norm = event_of(mechanism), declared(mechanism, Mechanisms.clip_norm) or 0.0
    if not isinstance(event, Release) or event.once or declared(mechanism, Mechanisms.server_clips_alone):
        return
    if protects_examples(mechanism):
        return
    for t in range(_ROUNDS):
        for updates in _cohorts(clip_norm, t):
            sent = mechanism.privatize(updates, _streams(t)).vectors.double()
            zeros = updates.with_vectors(torch.zeros_like(updates.vectors))
            moved = row_norms(sent - mechanism.privatize(zeros, _streams(t)).vectors.double())
            row = int(moved.argmax())
            require(
                float(moved[row]) <= clip_norm * (1 + 1e-5 * (1 + event.noise_multiplier)),
                f"privatize moves row {row} of {len(updates)} by {float(moved[row])} in round {t}, "
                f"clip_norm is {clip_norm}",
            )


def every_coordinate_has_its_noise_and_every_round_its_own(mechanism: Privacy) -> None:
    """No block of coordinates has less noise than the others, and no two rounds or clients share any."""
    event = event_of(mechanism)
    if not isinstance(event, Release) or event.once or protects_examples(mechanism):
        return
    rounds = [_noise(mechanism, t) for t in _stateful(mechanism)]
    for t, noise in enumerate(rounds):
        blocks = noise.view(_BLOCKS, -1).square().mean(dim=1).sqrt() / noise.square().mean().sqrt()
        worst = int((blocks - 1).abs().argmax())
        require(
            bool((blocks[worst] - 1).abs() <= _BLOCK_BAND),
            f"coordinates of block {worst} of {_BLOCKS} have {float(blocks[worst]):.3g} of the noise of all",
        )
        if declared(mechanism, Mechanisms.mixings) is not None:
            continue
        for s, other in enumerate(rounds[:t]):
            alike = float((noise * other).mean() / (noise.std() * other.std()))
            require(abs(alike) < _ALIKE, f"rounds {s} and {t} share noise (correlation {alike:.3g})")


def _stateful(mechanism: Privacy) -> list[tuple[int, object]]:
    """Return rounds one after the other, each with the memory that the one before left."""
    state, found = mechanism.init(), list[tuple[int, object]]()
    for t in range(_ROUNDS):
        _, state = mechanism.clip(some_updates(), state)
        found.append((t, state))
        _, state = mechanism.noise(torch.zeros(_DRAWS), EXPECTED, state, generator(8, "noise", t))
    return found


def _noise(mechanism: Privacy, at: tuple[int, object]) -> Tensor:
    """Return the noise of one round on ``_DRAWS`` coordinates, of all that a release consists of."""
    round_, state = at
    if trust(mechanism) == "central":
        stream = generator(8, "noise", round_)
        return mechanism.noise(torch.zeros(_DRAWS), EXPECTED, state, stream)[0].double()
    ids = torch.arange(10)
    silent = Updates(torch.zeros(10, _DRAWS), ids, torch.ones_like(ids), expected_size=EXPECTED)
    if trust(mechanism) == "distributed":
        return server_sees(mechanism, silent, round_).vectors[0].double()
    return mechanism.privatize(silent, _streams(round_)).vectors[round_].double()


def no_example_of_a_large_batch_is_left_unclipped(mechanism: Privacy) -> None:
    """Wherever an example stands, in whatever batch and step, its share of the sum is at most C long."""
    if not protects_examples(mechanism):
        return
    examples: ExamplePrivacy = mechanism  # type: ignore[assignment]
    clip_norm = declared(mechanism, Mechanisms.clip_norm) or 0.0
    for step in range(_ROUNDS):
        for shape in ((1, 1), (1, 257), (9, 64)):
            drawn = torch.from_numpy(generator(step, "examples").uniform(0, 12, (3, *shape)))
            squares = (clip_norm * 1.5) ** 2 * 10**drawn
            weights = examples.weigh(squares.float(), (3, 200, 98)).double()
            longest = float((squares.float().double() * weights.square()).sum(dim=0).sqrt().max())
            require(
                longest <= clip_norm * (1 + 1e-6),
                f"weigh lets {longest} of one of {shape} examples through C = {clip_norm} in step {step}",
            )


def no_row_of_any_cohort_is_left_as_long_as_it_was(clipping: Clipping) -> None:
    """``shorten`` leaves nobody out: large cohorts, later calls, rows long in one coordinate only."""
    for t in range(_ROUNDS):
        for updates in _cohorts(0.7, t):
            norms = row_norms(clipping.shorten(updates, row_norms(updates.vectors), 0.7))
            row = int(norms.argmax())
            require(
                float(norms[row]) <= 0.7 * (1 + 1e-9),
                f"shorten leaves row {row} of {len(updates)} at {float(norms[row])}, C is 0.7 (call {t})",
            )


COHORT_CHECKS: tuple[Callable[[Privacy], None], ...] = (
    no_client_is_let_in_unclipped,
    no_client_sends_unclipped,
    every_coordinate_has_its_noise_and_every_round_its_own,
    no_example_of_a_large_batch_is_left_unclipped,
)
