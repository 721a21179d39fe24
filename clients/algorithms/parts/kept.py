"""The tensors of some modules, by the names that the model gives them."""

from collections.abc import Sequence

from torch import nn

from ....core.layout import floating_buffers


def tensors_of(model: nn.Module, modules: Sequence[nn.Module], parameters: bool = True) -> tuple[str, ...]:
    """Return the names of what modules hold themselves: trainable parameters, and floating buffers.

    Args:
        model: The model that they are part of.
        modules: Of it.
        parameters: Whether parameters count, or buffers alone.
    """
    theirs = {path for path, module in model.named_modules() if any(module is one for one in modules)}
    trainable = [name for name, p in model.named_parameters() if p.requires_grad and parameters]
    names = [*trainable, *(name for name, _ in floating_buffers(model))]
    return tuple(name for name in names if name.rpartition(".")[0] in theirs)
