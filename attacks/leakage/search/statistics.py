"""What batch norms see of dummy examples, and what they saw of a client's.

Source: Yin, Mallya, Vahdat, Alvarez, Kautz, Molchanov. See through Gradients: Image Batch Recovery via
GradInversion. CVPR 2021, Section 3.2. arXiv:2104.07586. That the statistics of a client's own batch follow
from the buffers that it sends is ours.
"""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn
from torch.func import vmap

from ....core.errors import PluginError
from ....core.observation import Observation
from .gradients import attacked_model

Origin = Literal["auto", "sent", "running"]
Statistics = dict[str, tuple[Tensor, Tensor]]
"""Of each batch norm, by its path, the mean and the unbiased variance of each channel [C] of its inputs."""


def norms_of(model: nn.Module) -> dict[str, nn.modules.batchnorm._BatchNorm]:
    """Return the batch norms that keep running statistics, by their path."""
    kinds = nn.modules.batchnorm._BatchNorm
    found = {name: m for name, m in model.named_modules() if isinstance(m, kinds)}
    return {name: m for name, m in found.items() if m.running_mean is not None}


def refuse_unknown_statistics(observation: Observation, origin: Origin) -> None:
    """Refuse a model or a message without the statistics that are asked for.

    Raises:
        PluginError: No layer keeps statistics; or the client sent none, or none that tell its batch's.
    """
    norms = norms_of(observation.model)
    if not norms:
        raise PluginError(
            "it compares statistics of batch norms, and the model has none that keeps them; use "
            "inverting_gradients"
        )
    if origin != "sent":
        return
    if "buffers" not in observation.releases:
        raise PluginError("statistics = 'sent' needs buffers that the client sent; use 'running'")
    if any(norm.momentum in (None, 0.0) for norm in norms.values()):
        raise PluginError("statistics = 'sent' needs batch norms with a momentum above 0; use 'running'")


def expected_statistics(observation: Observation, origin: Origin) -> Statistics:
    """Return what the client's batch is expected to give.

    ``"running"``: the statistics that the public model has; ``"sent"``: those of the client's batch itself,
    (after - (1 - momentum) before) / momentum of the buffers before and after its only step; ``"auto"``:
    these where the client sent buffers that tell them.
    """
    norms = norms_of(observation.model)
    before = {name: (_held(n.running_mean), _held(n.running_var)) for name, n in norms.items()}
    sent = observation.releases.get("buffers")
    told = isinstance(sent, Tensor) and not any(n.momentum in (None, 0.0) for n in norms.values())
    if origin == "running" or not told:
        return before
    assert isinstance(sent, Tensor)
    after = observation.layout.buffer_views(sent)

    def batch(name: str, leaf: str, old: Tensor) -> Tensor:
        path = f"{name}.{leaf}" if name else leaf
        return old + (after[path] - old) / (norms[name].momentum or 1.0)

    return {
        name: (batch(name, "running_mean", mean), batch(name, "running_var", var))
        for name, (mean, var) in before.items()
    }


def _held(buffer: Tensor | None) -> Tensor:
    assert buffer is not None, "norms_of takes those that keep statistics"
    return buffer.detach().clone()


def statistics_misfit(observation: Observation, expected: Statistics) -> Callable[[Tensor], Tensor]:
    """Return what says of examples x [R, B, ...] how far their statistics are from those expected.

    It is the sum over batch norms of ||mean - expected|| + ||variance - expected||, not squared.  # [R]
    """
    model, seen = attacked_model(observation), dict[str, Tensor]()
    for name, module in model.named_modules():
        if name in expected:
            module.register_forward_pre_hook(_noter(seen, name))

    def misfit(x: Tensor) -> Tensor:
        model(x)  # [B, ...]
        total = x.new_zeros(())
        for name, (mean, var) in expected.items():
            values = seen[name].transpose(0, 1).flatten(1)  # [C, n]
            total = total + (values.mean(dim=1) - mean).norm() + (values.var(dim=1) - var).norm()
        return total

    return vmap(misfit)


def _noter(seen: dict[str, Tensor], name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen[name] = inputs[0]

    return note
