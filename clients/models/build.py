"""Build the model that a scenario names, fitted to the data."""

import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from ...core.declarations import ClientData, Models, declared
from ...core.errors import GauntletError, PluginError, ScenarioError, said, shown
from ...core.live import is_live
from ...core.registry import configure
from ...core.seeds import seeded_torch
from ..data.blank import blank_inputs, input_dtype
from .normalized import Normalized

Wrap = Callable[[nn.Module], nn.Module]


class Inputs(Protocol):
    """What a model must know of the data: ``FederatedData`` has it all."""

    @property
    def name(self) -> str: ...
    @property
    def input_shape(self) -> tuple[int, ...]: ...
    @property
    def num_classes(self) -> int: ...  # 0 where ``targets`` are declared; may have ``num_tokens`` besides
    @property
    def mean(self) -> tuple[float, ...]: ...
    @property
    def std(self) -> tuple[float, ...]: ...


def build_model(
    name: str,
    options: Mapping[str, Any],
    data: Inputs,
    stream: np.random.Generator,
    outputs: tuple[int, ...] | None = None,
    wrap: Wrap | None = None,
) -> nn.Module:
    """Return the model with initial weights drawn from ``stream`` alone, in training mode.

    Args:
        name: A built-in, or ``package.module:Class`` with ``build``, or what ``factory_refusal`` lets pass:
            that takes ``options`` and, if it likes, ``input_shape``, ``num_classes`` and ``num_tokens``.
        options: The factory's options.
        data: What the model will see. If it has a mean, the model subtracts it first.
        stream: A stream of its own.
        outputs: The shape of what it puts out for one example, whose last number it is told as
            ``num_classes``; by default that of the task that the data are made for.
        wrap: What makes another model of it, drawing its new weights from the same stream.

    Raises:
        PluginError: No such model, or wrong options, or it made something else than a model.
        ScenarioError: The model does not fit the data.
    """
    from ..tasks.fitted import task_of
    from . import MODELS

    factory = MODELS.find(name)
    outputs = outputs or task_of(data).outputs
    with seeded_torch(stream):
        net = _made(factory, name, options, data, outputs)
        if not isinstance(net, nn.Module):
            raise PluginError(f"model '{name}' must be a torch.nn.Module, got {type(net).__name__}")
        net = net if wrap is None else wrap(net)
    model = Normalized(net, data.mean, data.std) if data.mean else net
    _check_fit(model, name, data, outputs)
    return model.train()


def settles(name: str, options: Mapping[str, Any]) -> Callable[..., None] | None:
    """Return what a model's factory does once first weights are there; None where it does nothing."""
    from . import MODELS

    factory = MODELS.find(name)
    made = callable(getattr(factory, "build", None)) and declared(factory, Models.settle) is not None
    if not made:
        return None
    return declared(configure(factory, name, options), Models.settle)


def factory_refusal(found: Any, name: str) -> str | None:
    """Return why something without ``build`` makes no models; None where it does.

    A class of modules does, and a module or any function of this very process. So does a Python function with
    a parameter ``input_shape`` or ``num_classes``; of a single file, any function that was written in Python.
    Other functions of installed packages do not: they would take whatever a scenario's options hand them (a
    file to unpickle, say).
    """
    if isinstance(found, type) and issubclass(found, nn.Module):
        return None
    if is_live(name) and isinstance(getattr(found, "thing", found), FunctionType | nn.Module):
        return None
    known = {"input_shape", "num_classes"}
    is_function = isinstance(found, FunctionType)
    if is_function and (
        name.rpartition(":")[0].endswith(".py") or known & inspect.signature(found).parameters.keys()
    ):
        return None
    return (
        "must be a class with build, a torch.nn.Module class, or a Python function with a parameter "
        f"{' or '.join(sorted(known))}, got a {'function without' if is_function else 'class with neither'}"
    )


def _made(
    factory: Callable[..., Any],
    name: str,
    options: Mapping[str, Any],
    data: Inputs,
    outputs: tuple[int, ...],
) -> Any:
    if not callable(getattr(factory, "build", None)):
        wanted = _wanted(factory, data.input_shape, outputs[-1], tokens_of(data))
        return configure(factory, name, {**wanted, **options})
    member = configure(factory, name, options)
    try:
        return member.build(data.input_shape, outputs[-1], **told_tokens(member.build, tokens_of(data)))
    except (GauntletError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise _misfit(name, data, outputs, said(error, named=False)) from error


def net_of(
    choice: str | Mapping[str, Any], input_shape: tuple[int, ...], num_classes: int, num_tokens: int = 0
) -> nn.Module:
    """Return the model that an option of another factory names, with weights drawn from torch's generator.

    Args:
        choice: A model's name, or a table of ``name`` and its options.
        input_shape: The shape of one example.
        num_classes: What it puts out for one.
        num_tokens: V, below which all tokens are; 0 where inputs are floats.

    Raises:
        PluginError: No such model, or wrong options, or it made something else than a model.
    """
    from . import MODELS

    table = {"name": choice} if isinstance(choice, str) else choice
    name, options = table.get("name"), {key: value for key, value in table.items() if key != "name"}
    if not isinstance(name, str):
        raise PluginError(f"a model needs a name, one of {', '.join(MODELS.names())}; got {shown(choice)}")
    factory: Callable[..., Any] = MODELS.find(name)
    if callable(getattr(factory, "build", None)):
        member = configure(factory, name, options)
        net = member.build(input_shape, num_classes, **told_tokens(member.build, num_tokens))
    else:
        net = configure(factory, name, {**_wanted(factory, input_shape, num_classes, num_tokens), **options})
    if not isinstance(net, nn.Module):
        raise PluginError(f"model '{name}' must be a torch.nn.Module, got {type(net).__name__}")
    return net


def _wanted(
    factory: Callable[..., Any], input_shape: tuple[int, ...], num_classes: int, num_tokens: int
) -> dict[str, Any]:
    """Return those of ``input_shape``, ``num_classes`` and ``num_tokens`` that a plain function takes."""
    parameters = _parameters(factory)
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    offered = {"input_shape": input_shape, "num_classes": num_classes}
    found = {key: value for key, value in offered.items() if anything or key in parameters}
    return found | told_tokens(factory, num_tokens)


def tokens_of(data: Inputs) -> int:
    """Return V, below which all tokens are; 0 where inputs are floats."""
    return declared(data, ClientData.num_tokens)


def told_tokens(makes: Callable[..., Any], num_tokens: int) -> dict[str, int]:
    """Return ``num_tokens`` for what has a parameter of that name, and nothing for anything else."""
    return {"num_tokens": num_tokens} if "num_tokens" in _parameters(makes) else {}


def _parameters(makes: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(makes).parameters
    except (TypeError, ValueError):  # something built in, which says nothing about itself
        return {}


def _check_fit(model: nn.Module, name: str, data: Inputs, outputs: tuple[int, ...]) -> None:
    """Raise ``ScenarioError`` unless two examples give finite outputs of the wanted shape."""
    if not any(p.requires_grad for p in model.parameters()):
        raise ScenarioError(f"model '{name}' has no trainable parameters")
    if why := misfit_of(model, data, outputs):
        raise _misfit(name, data, outputs, why)


def misfit_of(model: nn.Module, data: Inputs, outputs: tuple[int, ...]) -> str | None:
    """Return why a model, left in evaluation mode, does not fit the data; None where it does."""
    if not any(p.requires_grad for p in model.parameters()):
        return "it has no trainable parameters"
    model.eval()
    try:
        with torch.no_grad():
            dtype = input_dtype(tokens_of(data))
            logits = model(blank_inputs(2, data.input_shape, dtype))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return said(error, named=False)
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != (2, *outputs):
        came = list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        return f"2 examples gave {came}, must be {[2, *outputs]}"
    return None if bool(logits.isfinite().all()) else "2 examples gave logits that are not finite"


def _misfit(name: str, data: Inputs, outputs: tuple[int, ...], what: str) -> ScenarioError:
    shape, kind = list(data.input_shape), "classes" if outputs == (data.num_classes,) else "outputs"
    tokens = tokens_of(data)
    of_tokens = f" of {tokens} tokens" if tokens else ""
    size = outputs[0] if len(outputs) == 1 else list(outputs)
    return ScenarioError(
        f"model '{name}' does not fit {data.name}: inputs {shape}{of_tokens}, {size} {kind}: {what}"
    )
