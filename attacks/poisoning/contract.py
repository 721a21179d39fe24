"""What every attack on data and every attack on updates owes, as checks that raise ``PluginError``.

The same functions test the built-ins and whatever comes from outside. An attack gets exactly the view
that it declares, so one that looks further fails here as it would in a run.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import (
    DataAttack,
    Goal,
    LocalTraining,
    SeenModel,
    UpdateAttack,
    UpdateKnowledge,
    Verdict,
    View,
)
from ...core.declarations import DataAttacks, UpdateAttacks, declared
from ...core.errors import PluginError
from ...core.guards import guard
from ...core.options import options_of
from ...core.registry import require
from ...core.replies import REPLIES
from ...core.seeds import generator
from ...core.trees import State, equal, pack, unpack
from ...core.updates import Updates
from .parts.dense_model import DenseModel

SIZE = 7  # P of the cohorts below
COHORT = 11
MALICIOUS = 3


def _guarded(plugin: Any) -> Any:
    plain = getattr(plugin, "__wrapped__", plugin)
    return guard(plain, type(plain).__name__, watched=False)


# ---- data attacks ---------------------------------------------------------------------------------------


def _classes(attack: DataAttack) -> int:
    """Return C of the task below: ten, or as the attack is configured."""
    return int(options_of(attack).get("num_classes", 10))


def _examples(attack: DataAttack, count: int = 40) -> tuple[Tensor, Tensor]:
    """Return grey images [n, 1, 28, 28] in [0, 1] and labels [n] that go round all classes."""
    pixels = generator(0, "contract").random((count, 1, 28, 28), dtype=np.float32)
    return torch.from_numpy(pixels), torch.arange(count) % _classes(attack)


def _poison(attack: DataAttack, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    poisoned: tuple[Tensor, Tensor] = _guarded(attack).poison(x, y, generator(0, "poison"), *_shown(attack))
    return poisoned


def _shown(attack: DataAttack) -> tuple[SeenModel, ...]:
    """Return a dense layer, as the engine would hand this attack a model; nothing if it asks for none."""
    if not declared(attack, DataAttacks.sees_model):
        return ()
    return (DenseModel.drawn(28 * 28, _classes(attack)),)


def poisoned_examples_are_still_examples(attack: DataAttack) -> None:
    """As many as there were or fewer, of the same shapes and types, pixels in [0, 1], labels of the task."""
    for count in (40, 1):
        x, y = _examples(attack, count)
        new_x, new_y = _poison(attack, x, y)
        require(1 <= len(new_x) <= count, f"1 to {count} examples may be left, got {len(new_x)}")
        require(new_x.shape[1:] == x.shape[1:], f"x must stay {tuple(x.shape)}, got {tuple(new_x.shape)}")
        require(new_y.shape == new_x.shape[:1], f"y must stay [{len(new_x)}], got {tuple(new_y.shape)}")
        require(new_x.dtype == x.dtype, f"x must stay {x.dtype}, got {new_x.dtype}")
        require(new_y.dtype == y.dtype, f"y must stay {y.dtype}, got {new_y.dtype}")
        inside = bool(((new_x >= 0) & (new_x <= 1)).all())
        require(inside, "pixels must stay in [0, 1]")
        labels = set(new_y.tolist())
        require(
            labels <= set(range(_classes(attack))),
            f"labels must stay below {_classes(attack)}, got {sorted(labels)}",
        )


def a_data_attack_does_something(attack: DataAttack) -> None:
    """Some example of a batch with every label is changed."""
    x, y = _examples(attack)
    new_x, new_y = _poison(attack, x.clone(), y.clone())
    changed = not (torch.equal(new_x, x) and torch.equal(new_y, y))
    require(changed, "nothing changed in a batch that holds every label")


def a_data_attack_leaves_its_inputs_as_they_were(attack: DataAttack) -> None:
    """The client's own tensors are not written to."""
    x, y = _examples(attack)
    before_x, before_y = x.clone(), y.clone()
    _poison(attack, x, y)
    require(torch.equal(x, before_x), "x was changed in place")
    require(torch.equal(y, before_y), "y was changed in place")


def a_data_attack_draws_only_from_its_generator(attack: DataAttack) -> None:
    """Equal generators give equal examples."""
    first, second = (_poison(attack, *_examples(attack)) for _ in range(2))
    same = all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    require(same, "equal generators give different examples")


def a_goal_asks_for_other_labels(attack: DataAttack) -> None:
    """Where success is measured: on examples of the task, whose true label is not what is wanted."""
    goal = declared(_guarded(attack), DataAttacks.goal)
    if goal is None:
        return
    x, y = _examples(attack)
    before = x.clone()
    found = goal(x, y, *_shown(attack))
    require(isinstance(found, Goal), f"goal must return a Goal, got a {type(found).__name__}")
    require(torch.equal(x, before), "x was changed in place")
    require(found.x.shape[1:] == x.shape[1:], f"inputs must stay {tuple(x.shape[1:])}, got {found.x.shape}")
    same = len(found.x) == len(found.truth) == len(found.wanted)
    require(same and len(found.x) > 0, "a goal needs at least one example, each with truth and wanted label")
    require(bool((found.truth != found.wanted).all()), "a goal must not ask for the true label")
    REPLIES["data_attacks"]["goal"](found, x, y)


def every_part_is_an_attack(attack: DataAttack) -> None:
    """Where the attack is split over its clients: each part is an attack, however many they are."""
    part = declared(_guarded(attack), DataAttacks.part)
    if part is None:
        return
    for count in (1, 3, 9):
        for index in range(count):
            mine = part(index, count)
            require(callable(getattr(mine, "poison", None)), f"part {index} of {count} has no method poison")
            poisoned_examples_are_still_examples(mine)
            a_data_attack_does_something(mine)


def a_retrained_update_is_one(attack: DataAttack) -> None:
    """Where the attack writes its client's update: finite, from its arguments and stream alone."""
    if declared(attack, DataAttacks.retrain) is None:
        return
    require(declared(attack, DataAttacks.sees_model), "one that retrains must declare sees_model")
    (model,), (x, y) = _shown(attack), _examples(attack)
    before, own = x.clone(), model.params.clone()
    told = model, LocalTraining(batch_size=10)
    first, second = (_guarded(attack).retrain(x, y, generator(0, "retrain"), *told) for _ in range(2))
    REPLIES["data_attacks"]["retrain"](first, x, y, None, model)
    require(bool(torch.isfinite(first).all()), "the update must be finite on a model of finite weights")
    require(torch.equal(first, second), "equal generators give different updates")
    require(bool(first.any()), "the update is 0")
    require(torch.equal(x, before) and torch.equal(model.params, own), "what it was handed was changed")


DATA_ATTACK_CHECKS: tuple[Callable[[DataAttack], None], ...] = (
    poisoned_examples_are_still_examples,
    a_data_attack_does_something,
    a_data_attack_leaves_its_inputs_as_they_were,
    a_data_attack_draws_only_from_its_generator,
    a_goal_asks_for_other_labels,
    every_part_is_an_attack,
    a_retrained_update_is_one,
)


# ---- update attacks -------------------------------------------------------------------------------------


def _knowledge(attack: UpdateAttack) -> UpdateKnowledge:
    knowledge = declared(attack, UpdateAttacks.knowledge)
    if knowledge is None:
        raise PluginError("knowledge must be a member of core.contracts.UpdateKnowledge, got None")
    return knowledge


def _scene(attack: UpdateAttack, round_: int, num_honest: int = COHORT - MALICIOUS) -> tuple[Updates, View]:
    """Return (the malicious rows, the view) that the engine would hand to this attack."""
    knowledge = _knowledge(attack)
    own_size = 1 if knowledge is UpdateKnowledge.OWN else MALICIOUS
    rows = 0.05 + 0.02 * generator(0, "contract", round_).standard_normal((own_size + num_honest, SIZE))
    vectors = torch.from_numpy(rows).to(torch.float32)
    size = len(vectors)
    everybody = Updates(vectors, torch.arange(size) * 4 + 3, torch.full((size,), 10))
    malicious = torch.arange(size) < own_size
    honest = everybody.rows(~malicious) if knowledge is UpdateKnowledge.OMNISCIENT else None
    params = (1 + round_) * torch.linspace(-1, 1, SIZE)
    ask = _plain_mean if declared(attack, UpdateAttacks.knows_defense) else None
    view = View(round_, params, size, honest, generator(0, "corrupt", round_), ask)
    return everybody.rows(malicious), view


def _plain_mean(updates: Updates) -> Verdict:
    return Verdict(updates.vectors.mean(dim=0), torch.full((len(updates),), 1 / len(updates)))


def _corrupt(attack: UpdateAttack, own: Updates, view: View, state: State) -> tuple[Updates, State]:
    sent, following = _guarded(attack).corrupt(own, view, state)
    if not isinstance(sent, Updates):
        raise PluginError(f"corrupt must return (Updates, state), got a {type(sent).__name__} first")
    shape, dtype = tuple(own.vectors.shape), own.vectors.dtype
    require(tuple(sent.vectors.shape) == shape, f"rows must stay {shape}, got {tuple(sent.vectors.shape)}")
    require(sent.vectors.dtype == dtype, f"rows must stay {dtype}, got {sent.vectors.dtype}")
    require(torch.equal(sent.client_ids, own.client_ids), "the malicious clients must stay the same")
    REPLIES["update_attacks"]["corrupt"]((sent, following), own)
    return sent, following


def _play(attack: UpdateAttack, rounds: range, state: State) -> tuple[list[Tensor], State]:
    rows = []
    for t in rounds:
        sent, state = _corrupt(attack, *_scene(attack, t), state)
        rows.append(sent.vectors)
    return rows, state


def the_same_clients_send_rows_of_the_same_shape(attack: UpdateAttack) -> None:
    """Given what its declared knowledge allows and nothing more, in every round."""
    _play(attack, range(3), _guarded(attack).init())


def a_cohort_without_honest_clients_is_survived(attack: UpdateAttack) -> None:
    """Nobody honest may have been sampled."""
    _corrupt(attack, *_scene(attack, 0, num_honest=0), _guarded(attack).init())


def an_update_attack_does_something(attack: UpdateAttack) -> None:
    """In the first rounds something differs: a row, the claimed examples, or how it trains."""
    changed, state = declared(attack, UpdateAttacks.steer) is not None, _guarded(attack).init()
    for t in range(3):
        own, view = _scene(attack, t)
        before, examples = own.vectors.clone(), own.num_examples.clone()
        sent, state = _corrupt(attack, own, view, state)
        same = torch.equal(sent.vectors, before) and torch.equal(sent.num_examples, examples)
        changed = changed or not same
    require(changed, "every malicious client trains honestly and sends its honest update")


def a_steered_gradient_is_another_one_coordinate_by_coordinate(attack: UpdateAttack) -> None:
    """If it steers: elementwise, so that clients can be stacked, and its inputs are left as they were."""
    if declared(attack, UpdateAttacks.steer) is None:
        return
    rows = generator(0, "contract").standard_normal((3, MALICIOUS, SIZE))
    gradient, params, received = torch.from_numpy(rows).to(torch.float32)
    before = [t.clone() for t in (gradient, params, received)]
    steer = _guarded(attack).steer
    out = steer(gradient, params, received)
    same = out.shape == gradient.shape and out.dtype == gradient.dtype
    require(
        same,
        f"steer must return {tuple(gradient.shape)} {gradient.dtype}, got {tuple(out.shape)} {out.dtype}",
    )
    unchanged = all(torch.equal(a, b) for a, b in zip((gradient, params, received), before, strict=True))
    require(unchanged, "steer must not change its arguments in place")
    require(not torch.equal(out, gradient), "steer returns the honest gradient")
    parts = [
        steer(gradient[k, j], params[k, j], received[k, j]) for k in range(MALICIOUS) for j in range(SIZE)
    ]
    alone = torch.stack(parts).reshape(out.shape)
    require(torch.equal(out, alone), "steer must treat [..., P] as each coordinate alone")


def an_update_attack_leaves_its_inputs_as_they_were(attack: UpdateAttack) -> None:
    """Neither rows, nor view, nor state are changed in place."""
    state = _guarded(attack).init()
    for t in range(2):
        (own, view), (own_copy, view_copy) = _scene(attack, t), _scene(attack, t)
        packed = pack(state)
        _, following = _corrupt(attack, own, view, state)
        require(torch.equal(own.vectors, own_copy.vectors), "the attack's own rows were changed in place")
        require(torch.equal(view.params, view_copy.params), "the broadcast parameters were changed in place")
        if view.honest is not None and view_copy.honest is not None:
            same = torch.equal(view.honest.vectors, view_copy.honest.vectors)
            require(same, "the honest clients' rows were changed in place")
        require(equal(state, unpack(*packed)), "the state that came in was changed in place")
        state = following


def an_update_attack_draws_only_from_its_generator(attack: UpdateAttack) -> None:
    """Equal rounds with equal generators give equal bits: no global stream, no memory outside the state."""
    first, second = (_play(attack, range(3), _guarded(attack).init()) for _ in range(2))
    require(equal(first, second), "the same rounds with equal generators give different rows")


def an_update_attack_survives_a_checkpoint(attack: UpdateAttack) -> None:
    """Saved and restored, it goes on to the same bits."""
    _, state = _play(attack, range(2), _guarded(attack).init())
    try:
        value, tensors = pack(state)
    except TypeError as error:
        raise PluginError(str(error)) from error
    restored = unpack(json.loads(json.dumps(value)), tensors)
    straight, resumed = _play(attack, range(2, 4), state), _play(attack, range(2, 4), restored)
    require(equal(straight, resumed), "an attack goes on differently after its state was saved and restored")


UPDATE_ATTACK_CHECKS: tuple[Callable[[UpdateAttack], None], ...] = (
    the_same_clients_send_rows_of_the_same_shape,
    a_cohort_without_honest_clients_is_survived,
    an_update_attack_does_something,
    a_steered_gradient_is_another_one_coordinate_by_coordinate,
    an_update_attack_leaves_its_inputs_as_they_were,
    an_update_attack_draws_only_from_its_generator,
    an_update_attack_survives_a_checkpoint,
)
