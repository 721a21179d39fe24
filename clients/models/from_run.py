"""A model that goes on from the weights of a finished run: what fine-tuning starts from."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...core.errors import DataError
from ...core.layout import Layout
from ...core.registry import configure


@dataclass(frozen=True)
class FromRun:
    """Build another model, with the weights that a run's newest checkpoint holds.

    The run's model must have as many parameters and floating buffers, and the same data shapes; names are
    not compared. Only the weights that a run begins with are read, on every machine that trains: give a
    folder that all of them see. What the folder holds is no part of a run's fingerprint.

    Attributes:
        model: The model inside, by name or as a table of ``name`` and its options.
        run: The result folder of the run, or empty: fresh weights.
    """

    model: str | dict[str, Any] = "mlp"
    run: str = ""

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """Return the model.

        Raises:
            PluginError: The model inside has no ``build``, or does not take its options.
            DataError: The folder holds no checkpoint, or one of another model.
        """
        from . import MODELS

        options = {"name": self.model} if isinstance(self.model, str) else dict(self.model)
        name = str(options.pop("name", "mlp"))
        net: nn.Module = configure(MODELS.find(name), name, options).build(input_shape, num_classes)
        if self.run:
            _load(net, *_weights(Path(self.run)), self.run)
        return net


def _load(net: nn.Module, params: Tensor, buffers: Tensor, run: str) -> None:
    """Write a run's weights into a model."""
    layout = Layout.of(net)
    came, wanted = (len(params), len(buffers)), (layout.num_parameters, layout.num_buffers)
    if came != wanted:
        raise DataError(
            f"model from_run: {run} ended with {came[0]} parameters and {came[1]} buffers, and the model has "
            f"{wanted[0]} and {wanted[1]}"
        )
    there = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    with torch.no_grad():
        for name, value in {**layout.views(params), **layout.buffer_views(buffers)}.items():
            there[name].copy_(value)


def _weights(run: Path) -> tuple[Tensor, Tensor]:
    """Return the parameters [P] and buffers [Q] of a run's newest checkpoint.

    Raises:
        DataError: There is none that can be read.
    """
    from safetensors import SafetensorError, safe_open

    found = sorted((run / "checkpoints").glob("round-*.safetensors"))
    if not found:
        raise DataError(f"model from_run: {run} holds no checkpoint; give the folder of a finished run")
    try:
        with safe_open(found[-1], "pt") as file:
            state = dict(json.loads(file.metadata()["gauntlet"])["state"]["d"])
            params, buffers = (file.get_tensor(state[name]["t"]) for name in ("params", "buffers"))
    except (OSError, SafetensorError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"model from_run: {found[-1]} cannot be read: {error}") from error
    if any(
        t.dtype != torch.float32 or t.ndim != 1 or not bool(t.isfinite().all()) for t in (params, buffers)
    ):
        raise DataError(f"model from_run: {found[-1]} holds no finite weights in float32")
    return params, buffers
