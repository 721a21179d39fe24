"""What clients, and the server on examples of its own, train with: a kernel, and how it runs them."""

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Any

from torch import nn

from ..clients.compiling import compile_stacks
from ..clients.data.base import FederatedData
from ..clients.device import device_for
from ..clients.kernel import BlockKernel
from ..clients.vectorize import Choice, begun_on, choose
from ..core.declarations import Algorithms, ClientData, Defenses, UpdateAttacks, declared, works_in_steps
from ..core.errors import ScenarioError
from ..core.layout import Layout
from ..defenses import DEFENSES
from ..privacy import PRIVACY
from .ingredients import made, make_model, make_privacy, make_roles, make_rule, make_sampling, watched
from .procedures import own_half
from .root import Root
from .spec import PluginSpec, RunSpec


def make_choice(
    spec: RunSpec, data: FederatedData, model: nn.Module, begun: Mapping[str, Any] | None = None
) -> Choice:
    """Return where and how clients train: on which device, and how many of them stacked.

    Args:
        spec: The run.
        data: The clients' data.
        model: Their model, on the CPU.
        begun: ``Choice.stored`` of the run's beginning, in the place of what this machine offers.

    Raises:
        ResultsError: ``begun`` is not what a run stores.
        ScenarioError: ``vectorize = "on"``, ``compile = "on"`` or ``device = "cuda"`` where that cannot be.
    """
    own_way = own_half(spec, Algorithms.work) is not None
    why = f"algorithm '{spec.algorithm.name}' runs a client in a way of its own"
    in_steps = works_in_steps(PRIVACY.find(spec.privacy.name))
    cpu_alone = f"privacy '{spec.privacy.name}' works inside of local steps on the CPU" if in_steps else None
    device = device_for(begun_on(begun) or spec.device, why if own_way else cpu_alone)
    if own_way and spec.vectorize == "on":
        raise ScenarioError(f"vectorize = on cannot be: {why}; use auto or off")
    choice = Choice(1, f"one client at a time: {why}")
    if not own_way:
        batch_size = make_rule(spec).schedule(spec.training).batch_size
        choice = choose(spec.vectorize, model, data.input_shape, batch_size, device).like(begun)
    setting = spec.compile if begun is None else "on" if begun["compiled"] else "off"
    if in_steps and setting == "on":
        raise ScenarioError(f"compile = on cannot be: {cpu_alone}, uncompiled; use auto or off")
    stacks = spec.rounds * ceil(make_sampling(spec)[1].expected_size / choice.height)
    return choice if in_steps else compile_stacks(setting, choice, model, stacks)


def make_kernel(spec: RunSpec, data: FederatedData, choice: Choice | None = None) -> BlockKernel:
    """Return what a worker trains with, in the way of ``choice``: by default that of ``make_choice``."""
    poisons, attacks = make_roles(spec)
    steers = tuple(role for role in attacks if declared(role.attack, UpdateAttacks.steer))
    rule = make_rule(spec)
    model = make_model(spec, data)
    mechanism = make_privacy(spec, Layout.of(model).num_parameters)
    privacy = watched(PRIVACY, mechanism, spec.privacy.name)
    choice = choice or make_choice(spec, data, model)
    counts = declared(made(DEFENSES, spec.defense), Defenses.counts)
    if steers and declared(rule, Algorithms.work) is not None:
        raise ScenarioError(
            f"attack '{steers[0].kind}' twists the gradients of local SGD, and algorithm "
            f"'{spec.algorithm.name}' works in a way of its own"
        )
    return BlockKernel(
        data,
        model,
        rule,
        spec.training,
        privacy,
        poisons,
        spec.seed,
        height=choice.height,
        counts=counts,
        steers=steers,
        device=choice.device,
        compiled=choice.compiled,
        noise_seed=spec.noise_seed,
    )


def make_root(spec: RunSpec, data: FederatedData) -> Root | None:
    """Return what trains on the server's own examples, or None where it keeps none.

    The kernel is a client's own: model, algorithm and training options. The server neither attacks nor
    hides its update from itself, and it trains on the CPU.

    Raises:
        ScenarioError: Data made elsewhere hold no examples for the server.
    """
    own: FederatedData | None = declared(data, ClientData.root)
    if own is None:
        if spec.root_examples:
            raise ScenarioError(f"root_examples is {spec.root_examples}, but the given data hold none")
        return None
    alone = replace(spec, privacy=PluginSpec("none"), roles=(), device="cpu", compile="off")
    return Root(make_kernel(alone, own), spec.num_clients)
