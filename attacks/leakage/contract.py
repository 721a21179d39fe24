"""What every leakage and inference attack owes; ``gauntlet check-plugin`` runs the same functions.

Checks work on a tiny observation made here: one SGD step of a small smooth network on one random 8 x 8 image.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core.contracts import InferenceAttack, LeakageAttack
from ...core.declarations import LeakageAttacks, declared
from ...core.errors import GauntletError
from ...core.layout import Layout
from ...core.observation import LeakageKnowledge, Observation, Reconstruction, Truth
from ...core.registry import require
from ...core.seeds import generator, seeded_torch
from .outputs import checked_reconstruction, checked_scores
from .requirements import name_of, named_by, refuse_unmet, takes_labels

SHAPE, CLASSES, LR = (1, 8, 8), 10, 0.5


def example(number: int = 0) -> tuple[Observation, Truth]:
    """Return one small observation and the truth behind it; equal numbers give equal ones."""
    stream = generator(0, "leakage_contract", number)
    with seeded_torch(stream):
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Sigmoid(), nn.Linear(32, CLASSES))
    x = torch.from_numpy(stream.random((1, *SHAPE))).float()
    y = torch.from_numpy(stream.integers(CLASSES, size=1))
    layout = Layout.of(model)
    gradients = torch.autograd.grad(functional.cross_entropy(model(x), y), list(model.parameters()))
    update = -LR * torch.cat([g.reshape(-1) for g in gradients])
    knowledge = LeakageKnowledge(1, (int(y),), 1, LR, "identity", "none", "sgd", 0.0, "cross_entropy")
    return Observation(0, number, model, layout, b"", update, SHAPE, CLASSES, (0.0, 1.0), knowledge), Truth(
        x, y
    )


def _victim(attack: object, number: int = 0) -> Observation:
    """Return an example whose labels are told to an attack that needs them only."""
    observation = example(number)[0]
    needed = "labels" in (*declared(attack, LeakageAttacks.requires), *declared(attack, LeakageAttacks.only))
    return observation if needed else _with_labels(observation, None)


def _with_labels(observation: Observation, labels: tuple[int, ...] | None) -> Observation:
    return replace(observation, knowledge=replace(observation.knowledge, labels=labels))


def _run(attack: LeakageAttack, observation: Observation) -> Reconstruction:
    return attack.reconstruct(observation, generator(0, "leakage_contract_attack"))


def _same(a: Reconstruction, b: Reconstruction) -> bool:
    same_cost = a.cost == b.cost or (np.isnan(a.cost) and np.isnan(b.cost))
    same_x = a.x.shape == b.x.shape and torch.equal(a.x.nan_to_num(), b.x.nan_to_num())
    return bool(same_cost and same_x and torch.equal(a.y, b.y) and a.stopped == b.stopped)


def a_reconstruction_has_the_shape_of_the_batch(attack: LeakageAttack) -> None:
    """x is [B, *input_shape] of floats, y is [B] of class numbers."""
    observation = _victim(attack)
    checked_reconstruction(_run(attack, observation), observation, name_of(attack))


def a_reconstruction_is_finite_or_says_nan(attack: LeakageAttack) -> None:
    """Also where the client sent nothing at all, or nonsense."""
    observation = _victim(attack)
    for what, update in (
        ("an honest update", observation.update),
        ("an update of zeros", torch.zeros_like(observation.update)),
        ("a huge update", torch.full_like(observation.update, 1e30)),
    ):
        found = _run(attack, replace(observation, update=update))
        finite = bool(found.x.isfinite().all())
        require(
            finite or found.stopped == "nan",
            f"{what} gave values that are not finite, stopped = {found.stopped!r}",
        )


def equal_generators_give_equal_reconstructions(attack: LeakageAttack) -> None:
    """Whatever torch's and numpy's global streams hold, which stay as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = _run(attack, _victim(attack))
        require(torch.equal(before, torch.get_rng_state()), "the attack drew from torch's global generator")
        torch.manual_seed(2)
        second = _run(attack, _victim(attack))
    require(_same(first, second), "equal observations and generators gave two different reconstructions")


def the_observation_is_left_as_it_was(attack: LeakageAttack) -> None:
    """Parameters, gradients, modes and hooks of the model, and the update."""
    observation = _victim(attack)
    observation.model.train()
    for parameter in observation.model.parameters():
        parameter.requires_grad_(False)
    before = {name: p.clone() for name, p in observation.model.named_parameters()}
    update = observation.update.clone()
    _run(attack, observation)
    require(torch.equal(update, observation.update), "the observed update was changed")
    for name, p in observation.model.named_parameters():
        require(torch.equal(before[name], p), f"the model's parameter {name} was changed")
        require(
            not p.requires_grad and p.grad is None, f"the model's parameter {name} was left with gradients on"
        )
    require(all(m.training for m in observation.model.modules()), "the model was left in another mode")
    hooks = [m for m in observation.model.modules() if m._forward_hooks or m._forward_pre_hooks]
    require(not hooks, "the model was left with a hook on it")


def _told_only(attack: object, observation: Observation) -> Observation:
    """Return the observation without the knowledge that an attack does not declare."""
    looked_at = named_by(attack)
    undeclared: dict[str, Any] = {f.name: None for f in fields(LeakageKnowledge) if f.name not in looked_at}
    return replace(observation, knowledge=replace(observation.knowledge, **undeclared))


def knowledge_that_is_not_declared_changes_nothing(attack: LeakageAttack) -> None:
    """An attack that looks at a label must say so in ``requires`` or ``uses``."""
    observation = example()[0]
    told = _run(attack, observation)
    try:
        untold = _run(attack, _told_only(attack, observation))
    except GauntletError:
        raise
    except Exception as error:
        message = f"with nothing but its declared knowledge it raised {type(error).__name__}: {error}"
        require(False, message)
    require(
        _same(told, untold),
        "knowledge that it does not declare in 'requires' or 'uses' changed the reconstruction",
    )


def labels_that_are_told_are_taken(attack: LeakageAttack) -> None:
    """An attack that declares ``labels`` returns those that it is told, even wrong ones."""
    observation = example()[0]
    if not takes_labels(attack):
        return
    (label,) = observation.knowledge.labels or ()
    other = (label + 1) % CLASSES
    for told in (label, other):
        found = _run(attack, _with_labels(observation, (told,)))
        require(found.y.tolist() == [told], f"it was told label {told}, and returned {found.y.tolist()}")


def the_check_accepts_an_easy_victim(attack: LeakageAttack | InferenceAttack) -> None:
    """``check`` is asked before the run, with an update of zeros, and changes nothing."""
    observation = _victim(attack)
    before = observation.layout.flatten(dict(observation.model.named_parameters())).clone()
    refuse_unmet(attack, replace(observation, update=torch.zeros_like(observation.update)))
    after = observation.layout.flatten(dict(observation.model.named_parameters()))
    require(torch.equal(before, after), "check changed the model's parameters")


def knowledge_that_is_missing_is_refused_by_name(attack: LeakageAttack | InferenceAttack) -> None:
    """``requires`` names fields of ``LeakageKnowledge``; the refusal lists all that are None."""
    observation = replace(example()[0], knowledge=LeakageKnowledge())
    required: Sequence[str] = declared(attack, LeakageAttacks.requires)
    message = ""
    try:
        refuse_unmet(attack, observation)
    except GauntletError as error:
        message = str(error)
    known = {f.name for f in fields(LeakageKnowledge)}
    wrong = [name for name in required if name not in known]
    require(
        not wrong,
        f"requires names what is no knowledge: {', '.join(wrong)}; allowed: {', '.join(sorted(known))}",
    )
    unsaid = [name for name in required if name not in message.partition("missing here:")[2]]
    require(not unsaid, f"the refusal does not name {', '.join(unsaid)}: {message or 'nothing was refused'}")


def the_self_check_beats_a_constant_image(attack: LeakageAttack) -> None:
    """On three easy victims, the median error is below that of an image that knows the true mean."""
    ratios = []
    for number in range(3):
        truth = example(number)[1]
        found = _run(attack, _victim(attack, number)).x.nan_to_num(nan=0.0).clamp(0, 1)
        ratios.append(float((found - truth.x).square().mean() / truth.x.var(correction=0)))
    middle = sorted(ratios)[1]
    require(
        middle < 1,
        f"its error on the self-check is {middle:.3g} times that of a constant image, allowed below 1",
    )


CHECKS: tuple[Callable[[LeakageAttack], None], ...] = (
    a_reconstruction_has_the_shape_of_the_batch,
    a_reconstruction_is_finite_or_says_nan,
    equal_generators_give_equal_reconstructions,
    the_observation_is_left_as_it_was,
    knowledge_that_is_not_declared_changes_nothing,
    labels_that_are_told_are_taken,
    the_check_accepts_an_easy_victim,
    knowledge_that_is_missing_is_refused_by_name,
    the_self_check_beats_a_constant_image,
)


def scores_stand_in_one_row_an_observation(attack: InferenceAttack) -> None:
    """Finite floats [N, ...], and each row depends on its own observation alone."""
    first, second = _victim(attack, 0), _victim(attack, 1)
    both = checked_scores(attack.infer([first, second]), 2, name_of(attack))
    swapped: Tensor = attack.infer([second, first])
    require(torch.equal(both.flip(0), swapped), "the rows did not follow the order of the observations")


def undeclared_knowledge_changes_no_score(attack: InferenceAttack) -> None:
    """An attack that looks at a label must say so in ``requires`` or ``uses``."""
    observation = example()[0]
    told = attack.infer([observation])
    untold = attack.infer([_told_only(attack, observation)])
    require(torch.equal(told, untold), "knowledge that it does not declare changed the scores")


INFERENCE_ATTACK_CHECKS: tuple[Callable[[InferenceAttack], None], ...] = (
    scores_stand_in_one_row_an_observation,
    undeclared_knowledge_changes_no_score,
    the_check_accepts_an_easy_victim,
    knowledge_that_is_missing_is_refused_by_name,
)
