"""How to make an observed model again without the scenario: what it is built of, and what is never sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ...clients.models import build_model
from ...clients.tasks.fitted import task_of
from ...clients.training.defending import wrap_of
from ...core.errors import DataError
from ...core.layout import Layout
from ...core.seeds import generator
from ..assembly.rebuilding import rebuilt
from ..spec import PluginSpec

if TYPE_CHECKING:
    from ...clients.data.base import FederatedData
    from ...clients.tasks.fitted import FittedTask


@dataclass(frozen=True)
class Inputs:
    """The public facts about the inputs that a model is built for."""

    name: str
    input_shape: tuple[int, ...]
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    value_range: tuple[float, float]
    num_tokens: int = 0
    label_shape: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()  # () in recordings of earlier versions: a logit a class


@dataclass(frozen=True)
class Recipe:
    """A model that can be made again.

    Attributes:
        model: The plug-in and its options.
        server: The malicious server that rebuilt it; None where there was none.
        inputs: What it is fitted to.
        tensors: Name and shape of each trainable parameter, in order; None where a recording does not say.
        wrapped: The client defense that makes another model of it; None where none does.
        fixed: What is neither sent nor received, as the run has it: frozen parameters, other buffers.
    """

    model: PluginSpec
    inputs: Inputs
    tensors: tuple[tuple[str, tuple[int, ...]], ...] | None = None
    fixed: Mapping[str, Tensor] = field(default_factory=dict)
    server: PluginSpec | None = None
    wrapped: PluginSpec | None = None

    @classmethod
    def of(
        cls,
        plugin: PluginSpec,
        data: FederatedData,
        model: nn.Module,
        server: PluginSpec | None = None,
        task: FittedTask | None = None,
        wrapped: PluginSpec | None = None,
    ) -> Recipe:
        """Return the recipe of a run's model, as it was when the run began.

        Args:
            plugin: The model.
            data: What it is fitted to.
            model: The model itself.
            server: Who rebuilt it, if anybody did.
            task: What it learns; by default what the data are made for.
            wrapped: The client defense that made another one of it, before the server did.
        """
        task = task or task_of(data)
        layout = Layout.of(model)
        moving = {slot.name for slot in (*layout.parameters, *layout.buffers)}
        facts, outputs = task.facts, task.outputs
        common = data.name, data.input_shape, data.num_classes, data.mean, data.std, data.value_range
        plain = () if outputs == (facts.num_classes,) else outputs
        inputs = Inputs(*common, facts.num_tokens, facts.label_shape, plain)
        fixed = {name: value.detach() for name, value in _tensors(model).items() if name not in moving}
        return cls(plugin, inputs, _named(layout), fixed, server, wrapped)

    def plain(self) -> dict[str, Any]:
        """Return all but the fixed tensors as JSON has it."""
        known = {f.name: f.default for f in fields(Inputs)}
        inputs = {name: value for name, value in asdict(self.inputs).items() if value != known[name]}
        plain = {"model": asdict(self.model), "inputs": inputs, "tensors": self.tensors}
        others = {"server": self.server, "wrapped": self.wrapped}
        return {**plain, **{name: asdict(spec) for name, spec in others.items() if spec is not None}}

    @classmethod
    def read(cls, values: Mapping[str, Any], fixed: Mapping[str, Tensor]) -> Recipe:
        """Return the recipe that ``plain`` wrote.

        Raises:
            KeyError, TypeError, ValueError: It did not.
        """
        inputs: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values["inputs"].items()
        }
        tensors = values["tensors"]
        named = None if tensors is None else tuple((str(n), tuple(map(int, shape))) for n, shape in tensors)
        others = {n: PluginSpec(**values[n]) for n in ("server", "wrapped") if n in values}
        return cls(PluginSpec(**values["model"]), Inputs(**inputs), named, fixed, **others)

    def make(self, params: Tensor, buffers: Tensor) -> tuple[nn.Module, Layout]:
        """Return the model with these parameters [P] and buffers [Q], and its layout.

        Raises:
            DataError: What the plug-in's code makes today is another model than the one that was recorded.
        """
        stream, outputs = generator(0, "observation"), self.inputs.outputs or (self.inputs.num_classes,)
        wrapped = self.wrapped
        wrap = None if wrapped is None else wrap_of(wrapped.name, wrapped.options)
        model = build_model(self.model.name, self.model.options, self.inputs, stream, outputs, wrap=wrap)
        if self.server is not None:
            model, _ = rebuilt(self.server, model, self.inputs, generator(0, "observed server"), outputs)
        layout, own = Layout.of(model), _tensors(model)
        wanted = _named(layout) if self.tensors is None else self.tensors
        lengths = (layout.num_parameters, layout.num_buffers)
        if (
            wanted != _named(layout)
            or lengths != (len(params), len(buffers))
            or not own.keys() >= set(self.fixed)
        ):
            raise DataError(
                f"model '{self.model.name}' is another than the one that was recorded: it has "
                f"{lengths[0]} parameters ({_listed(_named(layout))}), the recording has {len(params)} "
                f"({_listed(wanted)})"
            )
        received = {**layout.views(params), **layout.buffer_views(buffers), **self.fixed}
        with torch.no_grad():
            for name, value in received.items():
                own[name].copy_(value)
        return model, layout


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _named(layout: Layout) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((slot.name, slot.shape) for slot in layout.parameters)


def _listed(tensors: tuple[tuple[str, tuple[int, ...]], ...], most: int = 4) -> str:
    words = [f"{name} {list(shape)}" for name, shape in tensors[:most]]
    return ", ".join([*words, *(["..."] if len(tensors) > most else [])])
