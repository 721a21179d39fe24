"""What leakage and inference attacks return, checked before anybody scores or stores it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from numbers import Real

import torch
from torch import Tensor

from ....core.errors import PluginError, shown
from ....core.observation import Observation, Progress, Reconstruction
from ....core.registry import require

ARTEFACTS = ("images", "rows", "tokens")
STOPPED = (
    "converged",
    "plateau",
    "max_iterations",
    "time_budget",
    "nan",
    "closed_form",
    "not_certified",
    "not_identifiable",
)
MOST_STEPS = 32
"""Of a search's steps, those that are kept: the first, the last, and others evenly between them."""


def checked_reconstruction(found: object, observations: Sequence[Observation], who: str) -> Reconstruction:
    """Return a reconstruction as it is stored: on the CPU, without gradients.

    x is float32, or int64 where inputs are tokens; y is int64.

    Args:
        found: What the attack returned.
        observations: What it attacked.
        who: What the attack is called in messages.

    Raises:
        PluginError: No ``Reconstruction``, or tensors of another shape or kind than the observed batch's; not
            finite without saying so; or figures that are no numbers; or no such progress.
    """
    if not isinstance(found, Reconstruction):
        raise PluginError(f"{who} must return a Reconstruction, got {_kind(found)}")
    observation = observations[-1]
    batch = observation.knowledge.batch_size
    x = _dense(found.x, f"{who}: x")
    y = _dense(found.y, f"{who}: y")
    batch = (len(x) if x.ndim else 1) if batch is None else batch
    shape = (batch, *observation.input_shape)
    require(tuple(x.shape) == shape, f"{who}: x must be {list(shape)}, got {list(x.shape)}")
    _refuse_other_content(x, y, observation, who)
    x = x.long() if observation.num_tokens else x.float()
    require(
        found.stopped in STOPPED,
        f"{who}: stopped must be one of {', '.join(STOPPED)}; got {shown(found.stopped)}",
    )
    require(
        found.artefact in (None, *ARTEFACTS),
        f"{who}: artefact must be one of {', '.join(ARTEFACTS)}, or None; got {shown(found.artefact)}",
    )
    tokens = found.artefact in (None, "tokens") if observation.num_tokens else found.artefact != "tokens"
    require(tokens, f"{who}: artefact '{found.artefact}' does not go with what was rebuilt")
    finite = bool(x.isfinite().all()) or found.stopped == "nan"
    require(finite, f"{who}: x holds values that are not finite, and stopped = {found.stopped!r}, not 'nan'")
    _refuse_other_figures(found, who)
    progress = _checked_progress(found.progress, x, f"{who}: progress")
    return replace(found, x=x, y=y.long(), cost=float(found.cost), progress=progress)


def _checked_progress(progress: object, x: Tensor, what: str) -> Progress | None:
    """Return at most 32 of a search's steps as they are stored; None where there were none.

    Raises:
        PluginError: No ``Progress``, inputs of another shape or kind than ``x`` [B, ...], or figures that are
            no numbers, or do not grow where they count.
    """
    if progress is None:
        return None
    if not isinstance(progress, Progress):
        raise PluginError(f"{what} must be a Progress or None, got {_kind(progress)}")
    figures = {name: getattr(progress, name) for name in ("cost", "closures", "seconds")}
    for name, values in figures.items():
        listed = isinstance(values, Sequence) and not isinstance(values, str)
        numbers = listed and all(map(_is_number, values))
        require(numbers, f"{what}: {name} must be a sequence of numbers, got {_kind(values)}")
    steps, count = _dense(progress.x, f"{what}: x", moved=False), len(figures["cost"])
    require(
        {len(values) for values in figures.values()} == {count}, f"{what}: it needs one of each figure a step"
    )
    shape = [count, *x.shape]
    require(list(steps.shape) == shape, f"{what}: x must be {shape}, got {list(steps.shape)}")
    alike = steps.is_floating_point() == x.is_floating_point() and not steps.is_complex()
    require(alike, f"{what}: x must hold what the reconstruction does, {x.dtype}, got {steps.dtype}")
    for name in ("closures", "seconds"):
        values = [0.0, *map(float, figures[name])]
        grows = all(math.isfinite(b) and b >= a for a, b in pairwise(values))
        require(grows, f"{what}: {name} must be finite, at least 0 and never fall")
    if not count:
        return None
    kept = sorted({round(i * (count - 1) / (MOST_STEPS - 1)) for i in range(MOST_STEPS)})
    chosen = {name: tuple(float(values[i]) for i in kept) for name, values in figures.items()}
    closures = tuple(int(value) for value in chosen.pop("closures"))
    return Progress(steps[torch.tensor(kept)].cpu().to(x.dtype), closures=closures, **chosen)


def _refuse_other_content(x: Tensor, y: Tensor, observation: Observation, who: str) -> None:
    """Raise ``PluginError`` unless inputs [B, ...] and labels [B, ...] are of the observed batch's kind."""
    shape = (len(x), *observation.label_shape)
    require(tuple(y.shape) == shape, f"{who}: y must be {list(shape)}, got {list(y.shape)}")
    _refuse_outside(y, observation.num_classes, f"{who}: y must hold class numbers")
    if observation.num_tokens:
        _refuse_outside(x, observation.num_tokens, f"{who}: x must hold tokens")
    else:
        require(x.is_floating_point(), f"{who}: x must hold floats, got {x.dtype}")


def _refuse_outside(values: Tensor, end: int, what: str) -> None:
    """Raise ``PluginError`` unless all values are whole numbers from 0 to below ``end``."""
    whole = values.dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
    require(
        whole and bool(((values >= 0) & (values < end)).all()),
        f"{what} from 0 to {end - 1}, got {values.dtype} {values.tolist()!s:.60}",
    )


def checked_scores(found: object, count: int, who: str) -> Tensor:
    """Return an inference attack's scores, on the CPU, without gradients.  # [N, H]

    Raises:
        PluginError: No tensor of finite floats with one row for each of ``count`` observations.
    """
    scores = _dense(found, f"{who}: scores")
    shaped = scores.ndim == 2 and len(scores) == count and scores.shape[1] > 0
    require(shaped, f"{who}: scores must be [{count}, hypotheses], got {list(scores.shape)}")
    require(scores.is_floating_point(), f"{who}: scores must hold floats, got {scores.dtype}")
    require(bool(scores.isfinite().all()), f"{who}: scores must be finite")
    return scores


def _refuse_other_figures(found: Reconstruction, who: str) -> None:
    require(
        _is_number(found.cost), f"{who}: cost must be a number that a float holds, got {_kind(found.cost)}"
    )
    listed = isinstance(found.trace, Sequence) and not isinstance(found.trace, str)
    numbers = listed and all(map(_is_number, found.trace))
    require(numbers, f"{who}: trace must be a sequence of numbers, got {_kind(found.trace)}")
    named = isinstance(found.details, Mapping) and all(isinstance(key, str) for key in found.details)
    require(
        named and all(map(_is_number, found.details.values())),
        f"{who}: details must map names to numbers, got {shown(found.details)}",
    )


def _is_number(value: object) -> bool:
    """Return whether a value is real, and no whole number beyond what a float holds."""
    try:
        return isinstance(value, Real) and isinstance(float(value), float)
    except OverflowError:
        return False


def _dense(value: object, what: str, moved: bool = True) -> Tensor:
    """Return a tensor that holds values, without gradients; where ``moved``, on the CPU."""
    if not isinstance(value, Tensor):
        raise PluginError(f"{what} must be a torch tensor, got {_kind(value)}")
    require(value.layout == torch.strided, f"{what} must be a dense tensor, got {value.layout}")
    require(value.device.type != "meta", f"{what} must hold values, got a tensor on the meta device")
    return value.detach().cpu() if moved else value.detach()


def _kind(value: object) -> str:
    """Return what came, in a few words: ``"None"``, ``"a numpy.ndarray"``."""
    if value is None:
        return "None"
    kind = type(value)
    return f"a {kind.__name__}" if kind.__module__ == "builtins" else f"a {kind.__module__}.{kind.__name__}"
