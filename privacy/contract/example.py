"""What a mechanism for single examples owes, as checks that raise ``PluginError`` when it is broken."""

from collections.abc import Callable
from math import isclose
from typing import Any, cast

import torch
from torch import Tensor

from ...core.contracts import ExamplePrivacy, Privacy, Release
from ...core.declarations import Mechanisms, declared, works_in_steps
from ...core.registry import require

_SIZES = (3, 200, 98)  # elements of three tensors
_LENGTHS = (0.0, 1e-12, 1e-6, 1e-3, 0.1, 0.216, 0.7, 1.0, 30.0, 1e6, 1e18)


def protects_examples(mechanism: Privacy) -> bool:
    """Return whether the mechanism works inside of local steps."""
    return works_in_steps(mechanism)


def _examples(mechanism: Privacy) -> ExamplePrivacy | None:
    return cast(ExamplePrivacy, mechanism) if protects_examples(mechanism) else None


def _squares() -> Tensor:
    """Return the squared norms of three tensors of 4 x 11 gradients, short and long, even and uneven."""
    shares = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 1, 1], [1e-6, 1, 1e-3]], dtype=torch.float64)
    shares = shares / shares.sum(dim=1, keepdim=True)
    lengths = torch.tensor(_LENGTHS, dtype=torch.float64)
    return (shares.T[:, :, None] * lengths.square()).float()  # [L, 4, 11]


def no_example_moves_a_step_by_more_than_the_clip_norm(mechanism: Privacy) -> None:
    """Whatever an example's gradient was, its share of the sum is finite and at most C long."""
    examples = _examples(mechanism)
    if examples is None:
        return
    squares, clip_norm = _squares(), declared(mechanism, Mechanisms.clip_norm) or 0.0
    weights = examples.weigh(squares, _SIZES).double()
    require(bool((weights.isfinite() & (weights >= 0)).all()), "weigh gives weights that are not finite")
    longest = float((squares.double() * weights.square()).sum(dim=0).sqrt().max())
    require(longest <= clip_norm * (1 + 1e-6), f"weigh lets {longest} of one example through C = {clip_norm}")


def an_example_is_weighed_by_itself(mechanism: Privacy) -> None:
    """An example's weight is the same beside any others: otherwise it moves more than its own share."""
    examples = _examples(mechanism)
    if examples is None:
        return
    squares = _squares()
    together = examples.weigh(squares, _SIZES)
    for n in range(squares.shape[2]):
        alone = examples.weigh(squares[:, :1, n : n + 1].clone(), _SIZES)
        require(
            torch.equal(alone[:, 0, 0], together[:, 0, n]), "weigh gives an example other weights in company"
        )


def a_steps_noise_is_what_the_event_claims(mechanism: Privacy) -> None:
    """One local step is charged for the noise that is added to it, over C, and as a local step."""
    examples = _examples(mechanism)
    if examples is None:
        return
    event: Any = mechanism.event(None, 10.0, mechanism.init())
    clip_norm = declared(mechanism, Mechanisms.clip_norm) or 0.0
    if not isinstance(event, Release):
        require(examples.step_noise_std == 0, "a step is noised, yet event claims nothing")
        return
    claimed, found = event.noise_multiplier * clip_norm, examples.step_noise_std
    require(
        isclose(claimed, found, rel_tol=1e-9), f"event claims noise of {claimed} in a step, found {found}"
    )
    require(event.local_steps, "event must say that it is one local step: local_steps = True")


EXAMPLE_CHECKS: tuple[Callable[[Privacy], None], ...] = (
    no_example_moves_a_step_by_more_than_the_clip_norm,
    an_example_is_weighed_by_itself,
    a_steps_noise_is_what_the_event_claims,
)
