"""A run's ingredients as plain values: what a worker is sent, a manifest holds and a hash covers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..core.live import Carried, carried

if TYPE_CHECKING:
    from ..core.contracts import Device, LocalTraining, Switch

Options = Mapping[str, Any]


@dataclass(frozen=True)
class PluginSpec:
    """A plug-in by name, with its options. Live objects that they name travel along to other processes."""

    name: str
    options: Options = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self.name, self.options, carried([self.name, self.options]))

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{k}={v}" for k, v in self.options.items())])


def _arrived(name: str, options: Options, _: Carried | None) -> PluginSpec:
    return PluginSpec(name, options)


@dataclass(frozen=True)
class RoleSpec:
    """An attack, who runs it and when.

    Attributes:
        plugin: The attack.
        clients: The malicious clients; or
        count: how many to draw from those that are still honest; or
        sampled: which share of every round's cohort to draw anew.
        start_round, stop_round, every, on_rounds, off_rounds: See ``core.roles.Role``.
        update: An attack on updates that follows, where ``plugin`` is one on data.
    """

    plugin: PluginSpec
    clients: tuple[int, ...] | None = None
    count: int = 0
    start_round: int = 0
    stop_round: int | None = None
    every: int = 1
    on_rounds: int = 0
    off_rounds: int = 0
    sampled: float | None = None
    update: PluginSpec | None = None


@dataclass(frozen=True)
class RunSpec:
    """Everything that decides a run's results; equal specs give equal bits.

    Attributes:
        seed: The run's seed.
        task: What is learnt; None: what the data are made for.
        rounds: Rounds to run, at least 1.
        num_clients: N, the population.
        training: How clients run SGD.
        evaluate_every: Rounds between evaluations on the test set; the last round is always evaluated.
        root_examples: Training examples that the server keeps for itself, at least 0.
        held_out: The share of its examples that each client keeps for its own scores, in [0, 1).
        vectorize: Whether clients are stacked; the two ways agree to rounding, not to the last bit.
        device: Where clients train; CUDA agrees with the CPU to rounding.
        compile: Whether the step of a stack is compiled; agrees to rounding with one that is not.
        link: The figures of clients' virtual links, see ``mail.link.Link``; None: their bytes take no time.
        rows: Whether single updates are wanted in any case: by a probe, or by whoever reads outcomes.
        max_epsilon: The run stops before a round that would cost more in all; None: no limit.
        max_delta: The largest delta that is accepted; beyond 0.1 it must be said. Decides no result.
        noise_seed: What the noise of privacy follows from; None: from ``seed``.
        init: A safetensors file with the model's first weights; None: drawn from the seed.
        Others: The plug-ins of each family.
    """

    seed: int
    rounds: int
    num_clients: int
    data: PluginSpec
    partition: PluginSpec
    model: PluginSpec
    training: LocalTraining
    algorithm: PluginSpec = PluginSpec("fedavg")
    task: PluginSpec | None = None
    sampler: PluginSpec = PluginSpec("full")
    codec: PluginSpec = PluginSpec("identity")
    codec_down: PluginSpec = PluginSpec("identity")
    network: PluginSpec = PluginSpec("ideal")
    link: Options | None = None
    schedule: PluginSpec = PluginSpec("synchronous")
    server: PluginSpec = PluginSpec("honest")
    privacy: PluginSpec = PluginSpec("none")
    client_defense: PluginSpec = PluginSpec("none")
    audit: PluginSpec = PluginSpec("none")
    defense: PluginSpec = PluginSpec("mean")
    server_optimizer: PluginSpec = PluginSpec("sgd")
    pre_aggregations: tuple[PluginSpec, ...] = ()
    roles: tuple[RoleSpec, ...] = ()
    evaluate_every: int = 1
    vectorize: Switch = "auto"
    device: Device = "auto"
    compile: Switch = "auto"
    rows: bool = False
    root_examples: int = 0
    held_out: float = 0.0
    max_epsilon: float | None = None
    max_delta: float = 0.1
    noise_seed: int | None = None
    init: str | None = None


def noise_seed(spec: RunSpec) -> int:
    """Return the seed of every stream of noise that protects somebody."""
    return spec.seed if spec.noise_seed is None else spec.noise_seed


def noise_warning(spec: RunSpec) -> str | None:
    """Return in one line what noise from the system gives up; None where noise follows from the seed."""
    if spec.noise_seed is None:
        return None
    return (
        "the noise of privacy is drawn from the operating system and kept nowhere (noise_seed = 'system'): "
        "no other run has the same bits, nor has this one once it is resumed"
    )
