"""What every local rule owes."""

from collections.abc import Callable

import torch

from ...core.contracts import LocalRule, LocalTraining, declared
from ...core.registry import require


def _vectors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    stream = torch.Generator().manual_seed(0)
    gradient, params, received = torch.randn(3, 2, 5, generator=stream)
    return gradient, params, received


def the_direction_has_the_gradients_shape_and_type(rule: LocalRule) -> None:
    gradient, params, received = _vectors()
    out = rule.correct(gradient, params, received)
    require(
        out.shape == gradient.shape and out.dtype == gradient.dtype,
        f"correct must return {tuple(gradient.shape)} {gradient.dtype}, got {tuple(out.shape)} {out.dtype}",
    )


def clients_can_be_stacked(rule: LocalRule) -> None:
    gradient, params, received = _vectors()
    together = rule.correct(gradient, params, received)
    alone = torch.stack([rule.correct(*row) for row in zip(gradient, params, received, strict=True)])
    require(torch.equal(together, alone), "correct must treat stacked clients [K, P] as each one alone [P]")


def a_plain_rule_changes_nothing(rule: LocalRule) -> None:
    if declared(rule, "plain", False):
        gradient, params, received = _vectors()
        same = torch.equal(rule.correct(gradient, params, received), gradient)
        require(same, "a rule that declares plain must return the gradient as it is")


def the_inputs_are_left_as_they_were(rule: LocalRule) -> None:
    vectors = _vectors()
    before = [v.clone() for v in vectors]
    rule.correct(*vectors)
    same = all(torch.equal(a, b) for a, b in zip(vectors, before, strict=True))
    require(same, "correct must not change its arguments in place")


def the_schedule_is_a_local_training(rule: LocalRule) -> None:
    out = rule.schedule(LocalTraining())
    require(isinstance(out, LocalTraining), f"schedule must return a LocalTraining, got {type(out).__name__}")


CHECKS: tuple[Callable[[LocalRule], None], ...] = (
    the_direction_has_the_gradients_shape_and_type,
    clients_can_be_stacked,
    a_plain_rule_changes_nothing,
    the_inputs_are_left_as_they_were,
    the_schedule_is_a_local_training,
)
