"""What clients, and the server on examples of its own, train with: a kernel, and how it runs them."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ...clients.data.blank import input_dtype
from ...clients.exchange.levels import ALL_LABELS, EveryLabel, HeldLabels, levels_of
from ...clients.models.kept import kept_names
from ...clients.placement.compiling import compile_stacks
from ...clients.placement.device import device_for
from ...clients.placement.stackable import Choice, begun_on, choose
from ...clients.scoring.candidates import CandidateModels
from ...clients.scoring.scorer import ScoredExamples, Scorer
from ...clients.training.kept_kernel import KeptKernel
from ...clients.training.kernel import BlockKernel
from ...clients.training.leveled_kernel import LeveledKernel
from ...clients.training.seen_model import SeenModels
from ...core.declarations import Algorithms, ClientData, Defenses, UpdateAttacks, declared
from ...core.layout import Layout
from ...core.updates import OwnExamples
from ...privacy import PRIVACY
from ..defending.certificates import Certifier
from ..defending.root import Root
from ..scoring.moving_goals import MovingGoals, moving
from ..spec import noise_seed
from .loading import make_model, make_task
from .parts import Parts, watched
from .refusals.kept import of_their_own
from .refusals.training import in_steps, own_way

if TYPE_CHECKING:
    from ...clients.data.base import FederatedData
    from ...core.contracts import Privacy
    from ..plan import Plan
    from ..spec import RunSpec
    from ..state import ServerState

TrainingKernel = BlockKernel | KeptKernel | LeveledKernel


def make_choice(
    parts: Parts, data: FederatedData, model: nn.Module, begun: Mapping[str, Any] | None = None
) -> Choice:
    """Return where and how clients train: on which device, and how many of them stacked.

    Args:
        parts: The run's plug-ins.
        data: The clients' data.
        model: Their model, on the CPU.
        begun: ``Choice.stored`` of the run's beginning, in the place of what this machine offers.

    Raises:
        ResultsError: ``begun`` is not what a run stores.
        ScenarioError: ``vectorize = "on"``, ``compile = "on"`` or ``device = "cuda"`` where that cannot be.
    """
    spec, works = parts.spec, parts.brings(Algorithms.work)
    cpu_alone = own_way(parts) if works else in_steps(parts) if parts.in_steps else None
    device = device_for(begun_on(begun) or spec.device, cpu_alone)
    choice = Choice(1, f"one client at a time: {own_way(parts)}")
    if kept_names(model):
        choice = Choice(1, f"one client at a time: {of_their_own(parts)}", device)
    elif not works:
        batch_size = parts.algorithm.schedule(spec.training).batch_size
        dtype = input_dtype(declared(data, ClientData.num_tokens))
        choice = choose(spec.vectorize, model, data.input_shape, batch_size, device, dtype).like(begun)
    if parts.in_steps:
        return choice
    setting = spec.compile if begun is None else "on" if begun["compiled"] else "off"
    stacks = spec.rounds * ceil(parts.sampling.expected_size / choice.height)
    return compile_stacks(setting, choice, model, stacks)


def kernel_of(
    parts: Parts, data: FederatedData, model: nn.Module, choice: Choice | None, privacy: Privacy
) -> TrainingKernel:
    """Return what trains clients, those of each level with its own model where there are levels.

    Args:
        parts: The run's plug-ins.
        data: Whose examples.
        model: A model of its own.
        choice: In which way; None: in that of ``make_choice``.
        privacy: The mechanism, behind a guard.
    """
    choice = choice or make_choice(parts, data, model)
    if kept_names(model):
        return kept_kernel(parts, data, model, choice, privacy)
    levels = levels_of(parts.algorithm, model, data, parts.spec.seed, make_task(parts.spec, data))
    if levels is None:
        return block_kernel(parts, data, model, choice, privacy)

    def of_level(number: int) -> BlockKernel:
        part, labels = levels.parts[number], levels.labels
        own = ALL_LABELS if labels is None else labels.of(part.present)
        return block_kernel(parts, data, part.model, choice, privacy, own)

    return LeveledKernel(levels, of_level)


def kept_kernel(
    parts: Parts, data: FederatedData, model: nn.Module, choice: Choice, privacy: Privacy
) -> KeptKernel:
    """Return what trains clients that each keep a part of the model; see ``kernel_of``.

    What a mechanism does inside of local steps it does to the whole of a client's model.
    """
    inside = privacy if parts.in_steps else PRIVACY.build("none", {})

    def of_whole(whole: nn.Module) -> BlockKernel:
        return block_kernel(parts, data, whole, choice, inside)

    return KeptKernel(model, of_whole, privacy, noise_seed(parts.spec))


def block_kernel(
    parts: Parts,
    data: FederatedData,
    model: nn.Module,
    choice: Choice,
    privacy: Privacy,
    labels: EveryLabel | HeldLabels = ALL_LABELS,
) -> BlockKernel:
    """Return what trains clients that all have one model; see ``kernel_of`` and ``BlockKernel``."""
    spec, (poisons, attacks) = parts.spec, parts.roles
    return BlockKernel(
        data,
        model,
        parts.algorithm,
        spec.training,
        privacy,
        poisons,
        spec.seed,
        height=choice.height,
        counts=declared(parts.defense, Defenses.counts),
        steers=tuple(role for role in attacks if declared(role.attack, UpdateAttacks.steer)),
        device=choice.device,
        compiled=choice.compiled,
        noise_seed=spec.noise_seed,
        labels=labels,
        defense=parts.client_defense,
        task=make_task(spec, data),
    )


def make_kernel(spec: RunSpec, data: FederatedData, choice: Choice | None = None) -> TrainingKernel:
    """Return what a worker trains with, from a spec that was prepared elsewhere."""
    parts = Parts(spec, given=True)
    model = make_model(spec, data, parts.server)
    mechanism = parts.privacy(parts.mechanism, parts.exchange(Layout.of(model)).up.num_parameters)
    return kernel_of(parts, data, model, choice, watched(PRIVACY, mechanism, spec.privacy.name))


def make_scorer(spec: RunSpec, device: str, data: FederatedData, examples: ScoredExamples) -> Scorer:
    """Return what asks this run's models about ``examples``, on a device."""
    return Scorer(make_model(spec, data), examples, device, spec.model.name)


def make_candidates(parts: Parts, data: FederatedData) -> CandidateModels | None:
    """Return what runs candidate models, on the server's own examples; None for a defense that runs none."""
    if not declared(parts.defense, Defenses.runs_models):
        return None
    own = declared(data, ClientData.root)
    return _candidate_models(parts, data, None if own is None else OwnExamples(*own.client(data.num_clients)))


def _candidate_models(
    parts: Parts, data: FederatedData, examples: OwnExamples | None = None
) -> CandidateModels:
    spec = parts.spec
    loss = make_task(spec, data).form(spec.training.loss).mean
    shape, dtype = declared(data, ClientData.input_shape), input_dtype(declared(data, ClientData.num_tokens))
    blank = None if shape is None else torch.zeros(1, *shape, dtype=dtype)
    stacked = spec.vectorize != "off"
    return CandidateModels(make_model(spec, data), spec.model.name, loss, examples, stacked, blank)


def make_certifier(parts: Parts, plan: Plan, data: FederatedData, first: ServerState) -> Certifier | None:
    """Return who asks the defense about models that are evaluated; None for one that certifies nothing.

    Raises:
        PluginError: It cannot certify the first model.
    """
    if declared(parts.defense, Defenses.evaluate) is None:
        return None
    task = make_task(parts.spec, data)
    certifier = Certifier(plan, _candidate_models(parts, data), *data.test(), task)
    certifier.check(first)
    return certifier


def make_moving_goals(parts: Parts, plan: Plan, data: FederatedData) -> MovingGoals | None:
    """Return what asks the attacks that see the model what they want of it; None where there are none."""
    if not (attacks := moving((*plan.poisons, *plan.attacks))):
        return None
    seen, models = SeenModels(make_model(parts.spec, data)), _candidate_models(parts, data)
    return MovingGoals(attacks, seen, models, *data.test())


def make_root(parts: Parts, data: FederatedData) -> Root | None:
    """Return what trains on the server's own examples, or None where it keeps none.

    The kernel is a client's own: model, algorithm and training options; the whole model, where clients have
    parts of it. The server neither attacks nor hides its update from itself, and it trains on the CPU.
    """
    own: FederatedData | None = declared(data, ClientData.root)
    if own is None:
        return None
    alone = parts.alone()
    privacy = watched(PRIVACY, alone.mechanism, alone.spec.privacy.name)
    model = make_model(alone.spec, data, parts.server)
    choice = make_choice(alone, own, model)
    train = kept_kernel if kept_names(model) else block_kernel
    return Root(train(alone, own, model, choice, privacy), parts.spec.num_clients)
