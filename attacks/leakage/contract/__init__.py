"""What every leakage and inference attack owes; ``gauntlet check-plugin`` runs the same functions.

Checks work on a tiny observation made here: one SGD step of a small smooth network on one random 8 x 8 image;
for an attack that reads a malicious server's secret, of what that server makes of the network; for one that
rebuilds tokens alone, of a small reader on one sequence of 5 of 10 tokens. Whether an attack rebuilds what it
says it works on is tried on fixed cases, one of each kind (``cases``).
"""

from collections.abc import Callable, Sequence
from contextlib import chdir
from dataclasses import replace
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from ....core.contracts import InferenceAttack, LeakageAttack
from ....core.declarations import LeakageAttacks, declared
from ....core.errors import GauntletError
from ....core.leakage_knowledge import ITEMS, LeakageKnowledge, Level
from ....core.observation import Observation, Reconstruction, Truth
from ....core.registry import require
from ....core.seeds import generator
from ..parts.outputs import checked_reconstruction, checked_scores
from ..parts.requirements import least_levels, name_of, refuse_unmet, rounds_of, takes_labels, told
from .cases import cases_of, with_options
from .specimens import CLASSES, NETWORKS, example, mirrored, reads_tokens, refuses, server_of, undoes


def _rounds(attack: object) -> int:
    """Return how many rounds an attack is tried on: two where it takes several, or as many as it needs."""
    least, most = rounds_of(attack)
    return max(least, min(most, 2))


def _example(attack: object, number: int = 0) -> tuple[list[Observation], Truth]:
    """Return the example that an attack is tried on: under the malicious server that it names, if it does.

    It is a step of the first of ``NETWORKS`` that the attack does not refuse.
    """
    rounds, server, tokens = _rounds(attack), server_of(attack), reads_tokens(attack)
    for network in NETWORKS:
        found = example(number, rounds, server, tokens, network)
        found = mirrored(*found) if undoes(attack) else found
        if not refuses(attack, found[0][0]):
            return found
    return example(number, rounds, server, tokens)


def _victim(attack: object, number: int = 0) -> list[Observation]:
    """Return an example, whose labels are told to an attack that needs them only."""
    observations = _example(attack, number)[0]
    return observations if "labels" in least_levels(attack) else _with_labels(observations, None)


def _with_labels(observations: list[Observation], labels: tuple[int, ...] | None) -> list[Observation]:
    return [replace(o, knowledge=replace(o.knowledge, labels=labels)) for o in observations]


def _with_updates(observations: list[Observation], change: Callable[[Tensor], Tensor]) -> list[Observation]:
    return [replace(o, update=change(o.update)) for o in observations]


def _run(attack: LeakageAttack, observations: Sequence[Observation]) -> Reconstruction:
    return attack.reconstruct(observations, generator(0, "leakage_contract_attack"))


def _same(a: Reconstruction, b: Reconstruction) -> bool:
    same_cost = a.cost == b.cost or (np.isnan(a.cost) and np.isnan(b.cost))
    same_x = a.x.shape == b.x.shape and torch.equal(a.x.nan_to_num(), b.x.nan_to_num())
    return bool(same_cost and same_x and torch.equal(a.y, b.y) and a.stopped == b.stopped)


def a_reconstruction_has_the_shape_of_the_batch(attack: LeakageAttack) -> None:
    """x is [B, *input_shape] of floats, y is [B] of class numbers."""
    observations = _victim(attack)
    checked_reconstruction(_run(attack, observations), observations, name_of(attack))


def a_reconstruction_is_finite_or_says_nan(attack: LeakageAttack) -> None:
    """Also where the client sent nothing at all, or nonsense."""
    changes: dict[str, Callable[[Tensor], Tensor]] = {
        "an honest update": lambda update: update,
        "an update of zeros": torch.zeros_like,
        "a huge update": lambda update: torch.full_like(update, 1e30),
    }
    for what, change in changes.items():
        found = _run(attack, _with_updates(_victim(attack), change))
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
    observations = _victim(attack)
    for observation in observations:
        observation.model.train()
        for parameter in observation.model.parameters():
            parameter.requires_grad_(False)
    before = [{n: p.clone() for n, p in o.model.state_dict().items()} for o in observations]
    updates = [o.update.clone() for o in observations]
    _run(attack, observations)
    for observation, parameters, update in zip(observations, before, updates, strict=True):
        require(torch.equal(update, observation.update), "the observed update was changed")
        _left_alone(observation.model, parameters)


def _left_alone(model: nn.Module, before: dict[str, Tensor]) -> None:
    for name, value in model.state_dict().items():
        require(torch.equal(before[name], value), f"the model's {name} was changed")
    for name, p in model.named_parameters():
        require(
            not p.requires_grad and p.grad is None, f"the model's parameter {name} was left with gradients on"
        )
    require(all(m.training for m in model.modules()), "the model was left in another mode")
    hooks = [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks]
    require(not hooks, "the model was left with a hook on it")


def knowledge_that_is_not_declared_changes_nothing(attack: LeakageAttack) -> None:
    """An attack that looks at a label must say so in ``requires`` or ``uses``."""
    observations = _example(attack)[0]
    everything = _run(attack, observations)
    try:
        declared_only = _run(attack, [told(attack, o) for o in observations])
    except GauntletError:
        raise
    except Exception as error:
        message = f"with nothing but its declared knowledge it raised {type(error).__name__}: {error}"
        require(False, message)
    require(
        _same(everything, declared_only),
        "knowledge that it does not declare in 'requires' or 'uses' changed the reconstruction",
    )


def labels_that_are_told_are_taken(attack: LeakageAttack) -> None:
    """An attack that declares ``labels`` returns those that it is told, even wrong ones."""
    if not takes_labels(attack):
        return
    observations = _example(attack)[0]
    if observations[0].knowledge.labels is None:
        return  # labels of sequences are never told
    (label,) = observations[0].knowledge.labels
    for known in (label, (label + 1) % CLASSES):
        found = _run(attack, _with_labels(observations, (known,)))
        require(found.y.tolist() == [known], f"it was told label {known}, and returned {found.y.tolist()}")


def the_truth_behind_the_message_changes_nothing(attack: LeakageAttack) -> None:
    """Examples, and the update before it was rounded on its way, lie in the working folder: once as they
    are, once as garbage. What an attack makes is the same to the last bit.
    """
    observations, truth = _example(attack)
    sent = _with_updates(observations, lambda update: update.half().float())
    garbage = Truth(1 - truth.x, (truth.y + 1) % CLASSES)
    raw = torch.stack([o.update for o in observations])
    with TemporaryDirectory() as folder, chdir(folder):
        _lay_out(truth, raw)
        first = _run(attack, sent)
        _lay_out(garbage, torch.full_like(raw, 7.5))
        second = _run(attack, sent)
    require(_same(first, second), "it looked at the client's examples, or at what was not sent")


def _lay_out(truth: Truth, raw: Tensor) -> None:
    """Write into the working folder what an attacker must not see, under the names of a recording."""
    from safetensors.torch import save_file

    save_file({"x": truth.x, "y": truth.y}, "truth.safetensors")
    save_file({"update": raw}, "update.safetensors")


def the_check_accepts_an_easy_victim(attack: LeakageAttack | InferenceAttack) -> None:
    """``check`` is asked before the run, with an update of zeros, and changes nothing."""
    observation = _victim(attack)[0]
    before = observation.layout.flatten(dict(observation.model.named_parameters())).clone()
    refuse_unmet(attack, replace(observation, update=torch.zeros_like(observation.update)))
    after = observation.layout.flatten(dict(observation.model.named_parameters()))
    require(torch.equal(before, after), "check changed the model's parameters")


def knowledge_that_is_missing_is_refused_by_name(attack: LeakageAttack | InferenceAttack) -> None:
    """``requires`` names items of ``LeakageKnowledge``; the refusal lists all that are not known."""
    observation = replace(_example(attack)[0][0], knowledge=LeakageKnowledge())
    required = declared(attack, LeakageAttacks.requires)
    message = ""
    try:
        refuse_unmet(attack, observation)
    except GauntletError as error:
        message = str(error)
    wrong = [name for name in required if name not in ITEMS]
    require(
        not wrong,
        f"requires names what is no knowledge: {', '.join(wrong)}; allowed: {', '.join(sorted(ITEMS))}",
    )
    needed = [name for name, level in required.items() if level != Level.UNKNOWN]
    unsaid = [name for name in needed if name not in message.partition("missing here:")[2]]
    require(not unsaid, f"the refusal does not name {', '.join(unsaid)}: {message or 'nothing was refused'}")


def the_self_check_beats_a_constant_image(attack: LeakageAttack) -> None:
    """On three easy victims, the median error is below that of an image that knows the true mean.

    Of tokens: fewer of them are wrong than if the most frequent one stood everywhere.
    """
    ratios = []
    for number in range(3):
        x = _example(attack, number)[1].x
        found = _run(attack, _victim(attack, number)).x
        if x.is_floating_point():
            error, constant = (found.nan_to_num(nan=0.0).clamp(0, 1) - x).square().mean(), x.var(correction=0)
        else:
            error, constant = (found != x).float().mean(), (x != x.flatten().mode().values).float().mean()
        ratios.append(float(error / constant))
    middle = sorted(ratios)[1]
    require(
        middle < 1,
        f"its error on the self-check is {middle:.3g} times that of a constant image, allowed below 1",
    )


def the_fixed_case_of_its_kind_is_rebuilt(attack: LeakageAttack) -> None:
    """A picture, a row, a sequence of tokens, a sum over clients, a coded frame: what it says it works on.

    In one of three tries, at least 20 dB of PSNR, 60 where it says that it is exact; of tokens 90 % right.
    """
    for case in cases_of(attack):
        tried, best, least, what = with_options(attack, case.options), -np.inf, 0.0, ""
        for number in range(3):
            made = tried.reconstruct(case.observations, generator(0, "leakage_contract_attack", number))
            found = checked_reconstruction(made, case.observations, name_of(attack))
            reached, least, what = case.judge(found)
            best = max(best, reached)
            if best >= least:
                break
        message = (
            f"of the fixed case '{case.kind}' it rebuilds {best:.3g} {what}, expected at least {least:g}"
        )
        require(best >= least, message)


CHECKS: tuple[Callable[[LeakageAttack], None], ...] = (
    a_reconstruction_has_the_shape_of_the_batch,
    a_reconstruction_is_finite_or_says_nan,
    equal_generators_give_equal_reconstructions,
    the_observation_is_left_as_it_was,
    knowledge_that_is_not_declared_changes_nothing,
    labels_that_are_told_are_taken,
    the_truth_behind_the_message_changes_nothing,
    the_check_accepts_an_easy_victim,
    knowledge_that_is_missing_is_refused_by_name,
    the_self_check_beats_a_constant_image,
    the_fixed_case_of_its_kind_is_rebuilt,
)


def scores_stand_in_one_row_an_observation(attack: InferenceAttack) -> None:
    """Finite floats [N, ...], and each row depends on its own observation alone."""
    first, second = _victim(attack, 0)[0], _victim(attack, 1)[0]
    both = checked_scores(attack.infer([first, second]), 2, name_of(attack))
    swapped: Tensor = attack.infer([second, first])
    require(torch.equal(both.flip(0), swapped), "the rows did not follow the order of the observations")


def undeclared_knowledge_changes_no_score(attack: InferenceAttack) -> None:
    """An attack that looks at a label must say so in ``requires`` or ``uses``."""
    observation = _example(attack)[0][0]
    everything = attack.infer([observation])
    declared_only = attack.infer([told(attack, observation)])
    require(torch.equal(everything, declared_only), "knowledge that it does not declare changed the scores")


def the_truth_behind_the_message_changes_no_score(attack: InferenceAttack) -> None:
    """As ``the_truth_behind_the_message_changes_nothing``, for scores."""
    (observation, *_), truth = _example(attack)
    sent = replace(observation, update=observation.update.half().float())
    with TemporaryDirectory() as folder, chdir(folder):
        _lay_out(truth, observation.update)
        first = attack.infer([sent])
        _lay_out(Truth(1 - truth.x, (truth.y + 1) % CLASSES), torch.full_like(observation.update, 7.5))
        second = attack.infer([sent])
    require(torch.equal(first, second), "it looked at the client's examples, or at what was not sent")


INFERENCE_ATTACK_CHECKS: tuple[Callable[[InferenceAttack], None], ...] = (
    scores_stand_in_one_row_an_observation,
    undeclared_knowledge_changes_no_score,
    the_truth_behind_the_message_changes_no_score,
    the_check_accepts_an_easy_victim,
    knowledge_that_is_missing_is_refused_by_name,
)
