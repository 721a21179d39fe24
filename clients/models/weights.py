"""A model's weights in a safetensors file, by the names that the user's own module gives them."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ...core.errors import ScenarioError, unknown
from .normalized import Normalized


def inner(model: nn.Module) -> nn.Module:
    """Return the user's module: what a normalising first layer was put before, or the model itself."""
    return model.net if isinstance(model, Normalized) else model


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of the parameters and buffers, by the names of ``state_dict`` of the user's module."""
    return {name: value.detach().clone().contiguous() for name, value in inner(model).state_dict().items()}


def frozen(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters that are not trained, and so never travel."""
    return {n: value.detach() for n, value in model.named_parameters() if not value.requires_grad}


def begin_with(model: nn.Module, path: str) -> None:
    """Set a model's parameters and buffers to those of a file.

    Args:
        model: On the CPU; changed in place.
        path: A ``.safetensors`` file with a tensor of the same shape for every parameter and buffer of the
            user's module, and no other; it may lack all those that modules name as ``file_may_lack``. Modules
            with ``fit_file`` are told the shapes of their own, and may change theirs. A relative path counts
            from the working folder.

    Raises:
        ScenarioError: No such file, or it does not fit the model, or holds values that are not finite.
    """
    found = _read(path)
    _fit(inner(model), found)
    own = inner(model).state_dict()
    added = _added(inner(model))
    if added.isdisjoint(found):
        own = {name: value for name, value in own.items() if name not in added}
    for name in found:
        if name not in own:
            raise ScenarioError(f"model.init: {path}: {unknown('tensor', name, own)}")
    for name, value in own.items():
        if name not in found:
            raise ScenarioError(f"model.init: {path} has no tensor {name!r}, which the model has")
        if found[name].shape != value.shape:
            raise ScenarioError(
                f"model.init: {path}: {name} is {list(found[name].shape)}, the model has {list(value.shape)}"
            )
        if not found[name].to(value.dtype).isfinite().all():
            raise ScenarioError(f"model.init: {path}: {name} holds values that are not finite")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(found[name])


def _added(module: nn.Module) -> set[str]:
    """Return the tensors that were added to a module's own, of which a file of those knows nothing."""
    parts = module.named_modules()
    return {f"{path}.{leaf}".lstrip(".") for path, m in parts for leaf in getattr(m, "file_may_lack", ())}


def _fit(module: nn.Module, found: Mapping[str, Tensor]) -> None:
    """Tell modules that want it what a file holds of theirs."""
    for path, part in list(module.named_modules()):
        start = f"{path}." if path else ""
        if fit := getattr(part, "fit_file", None):
            fit({n.removeprefix(start): v.shape for n, v in found.items() if n.startswith(start)})


def _read(path: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    place = Path(path).expanduser()
    if not place.is_file():
        raise ScenarioError(f"model.init: there is no file {path} (working folder {Path.cwd()})")
    try:
        return load_file(place)
    except (SafetensorError, OSError, ValueError) as error:
        line = str(error).splitlines()[0]
        raise ScenarioError(f"model.init: {path} is no safetensors file: {line}") from error
