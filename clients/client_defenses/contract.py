"""What every client defense owes, tried on three clients of a small classifier."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...core.contracts import ClientDefense
from ...core.declarations import ClientDefenses, attackers, declared
from ...core.errors import GauntletError
from ...core.layout import Layout
from ...core.registry import require
from ...core.seeds import generator, seeded_torch
from ..exchange.messages import Broadcast
from ..training.defending import Defending, TrainedClients, changes_updates

_IDS, _SIZES, _SHAPE, _CLASSES = [2, 5, 9], [1, 3, 4], (1, 4, 4), 5


def _model() -> nn.Module:
    with seeded_torch(generator(0, "client defense contract")):
        layers = nn.Flatten(), nn.Linear(16, 24), nn.Sigmoid(), nn.Linear(24, _CLASSES)
        return nn.Sequential(*layers).train()


def _examples(row: int, other: int = 0) -> tuple[Tensor, Tensor]:
    stream = generator(other, "client defense contract examples", row)
    x = torch.from_numpy(stream.random((_SIZES[row], *_SHAPE))).float()
    return x, torch.from_numpy(stream.integers(_CLASSES, size=_SIZES[row]))


def _updates(model: nn.Module) -> Tensor:
    """Return what one step of each client would be, all entries different from 0.  # [3, P]"""
    size = Layout.of(model).num_parameters
    drawn = generator(0, "client defense contract updates").standard_normal((len(_IDS), size))
    return torch.from_numpy(drawn).float() * 0.1


def _changed(
    defense: ClientDefense, update: Tensor, rows: Sequence[int] = (0, 1, 2), other: int = 0, round_: int = 3
) -> Tensor:
    """Return what some of the clients let out, in a round that is the same with every call."""
    model = _model()
    layout = Layout.of(model)
    params = layout.flatten(dict(model.named_parameters()))
    ids = [_IDS[row] for row in rows]
    defending = Defending(
        defense,
        model,
        7,
        lambda client, _: _examples(_IDS.index(client), other),
        lambda *who: [np.arange(who[-1])],
    )
    visit = TrainedClients(Broadcast(round_, params, torch.zeros(0)), ids, defending)
    before = update.clone(), params.clone()
    change: Any = declared(defense, ClientDefenses.change)
    found: Tensor = update if change is None else change(update, visit)
    same = torch.equal(update.view(torch.int32), before[0].view(torch.int32))  # NaN equals itself
    require(same, "change wrote into the updates that it was handed")
    require(torch.equal(params, before[1]), "change wrote into the received parameters")
    held = layout.flatten(dict(visit.model.named_parameters()))
    require(torch.equal(held, params), "change wrote into the model that it was handed")
    return found


def works_on_a_small_classifier(defense: ClientDefense) -> None:
    """A model with a linear last layer is not refused."""
    check = declared(defense, ClientDefenses.check)
    if check is not None:
        check(_model(), _SHAPE)


def lets_out_finite_rows_like_those_that_came(defense: ClientDefense) -> None:
    update = _updates(_model())
    found = _changed(defense, update)
    fits = isinstance(found, Tensor) and found.shape == update.shape and found.dtype == torch.float32
    require(fits, f"change must return float32 {list(update.shape)}")
    require(bool(found.isfinite().all()), "finite updates became such as are not")


def lets_out_something_else_or_says_that_it_does_not(defense: ClientDefense) -> None:
    """A defense that computes much and returns what came would protect nobody; a passive one says so.

    One that acts now and then acts for each of the clients in one of four rounds.
    """
    update = _updates(_model())
    found = [_changed(defense, update, round_=round_) for round_ in range(4)]
    same = [all(torch.equal(f[row], update[row]) for f in found) for row in range(len(update))]
    if changes_updates(defense):
        require(not any(same), "change returned the update as it was; declare passive where that is meant")
    else:
        require(
            all(torch.equal(f, update) for f in found), "declared passive, and change returned another update"
        )


def defends_each_client_by_itself(defense: ClientDefense) -> None:
    """Alone, a client lets out what it lets out beside others, to rounding."""
    update = _updates(_model())
    together = _changed(defense, update)
    for row in range(len(_IDS)):
        alone = _changed(defense, update[row : row + 1], [row])[0]
        close = torch.allclose(alone, together[row], rtol=1e-4, atol=1e-6)
        require(close, f"client {_IDS[row]} lets out something else beside other clients")


def draws_from_the_clients_own_streams_alone(defense: ClientDefense) -> None:
    """Twice the same; and what torch's own generator would give is never asked for."""
    update, state = _updates(_model()), torch.get_rng_state()
    first = _changed(defense, update)
    require(torch.equal(torch.get_rng_state(), state), "change drew from torch's own generator")
    with seeded_torch(generator(1, "another global state")):
        second = _changed(defense, update)
    require(torch.equal(first, second), "change returned something else the second time")


def an_update_that_is_not_finite_stays_so(defense: ClientDefense) -> None:
    """Else a client that diverged would be counted."""
    for value in (torch.nan, torch.inf):
        found = _changed(defense, torch.full_like(_updates(_model()), value))
        good = found.isfinite().all(dim=1)
        require(not bool(good.any()), f"an update of {value} came out finite")


def says_whether_it_looks_at_examples(defense: ClientDefense) -> None:
    """Where ``looks_at_examples`` is False, an example changes nothing that is let out, and no other one."""
    if declared(defense, ClientDefenses.looks_at_examples):
        return
    examples: Any = declared(defense, ClientDefenses.examples)
    if examples is not None:
        (x, y), (others, _) = _examples(2), _examples(2, other=1)
        both = x, torch.cat([others[:1], x[1:]])
        one, two = (examples(some, y, generator(5, "examples", 2))[0] for some in both)
        require(
            torch.equal(one[1:], two[1:]), "declared that it looks at no example, and examples mixes them"
        )
    update = _updates(_model())
    same = torch.equal(_changed(defense, update), _changed(defense, update, other=1))
    require(same, "declared that it looks at no example, and other examples gave another update")


def names_the_attack_that_it_is_shown_beside(defense: ClientDefense) -> None:
    """What it is worth is told by an attacker who knows of it: ``adaptive = {"name": ..., ...}``.

    Of several each is another. Where there is none it says so: ``unanswered = True``.
    """
    acts = changes_updates(defense) or declared(defense, ClientDefenses.examples) is not None
    named = attackers(defense)
    twice = any(one in named[:place] for place, one in enumerate(named))
    require(not twice, "adaptive names a leakage attack twice, with the same options")
    if declared(defense, ClientDefenses.unanswered):
        require(not named, "declared that no leakage attack knows of it, and adaptive names one")
    elif acts or declared(defense, ClientDefenses.wrap) is not None:
        require(
            bool(named),
            "adaptive names no leakage attack that knows of it; if there is none: unanswered = True",
        )


def alters_examples_one_for_one(defense: ClientDefense) -> None:
    """As many as came, of their shapes and types, from the given stream alone; what came is left alone."""
    examples: Any = declared(defense, ClientDefenses.examples)
    if examples is None:
        return
    for row in range(len(_IDS)):
        x, y = _examples(row)
        found = [examples(x, y, generator(5, "examples", row)) for _ in range(2)]
        for one, came in zip(found[0], (x, y), strict=True):
            alike = isinstance(one, Tensor) and one.shape == came.shape and one.dtype == came.dtype
            require(alike, f"examples must return {came.dtype} {list(came.shape)}")
        same = all(torch.equal(a, b) for a, b in zip(*found, strict=True))
        require(same, "examples returned something else from the same stream")
        kept = all(torch.equal(a, b) for a, b in zip(_examples(row), (x, y), strict=True))
        require(kept, "examples wrote into what it was handed")


def what_was_trained_on_is_undone_as_declared(defense: ClientDefense) -> None:
    """Of two rounds as many examples as in one, finite, and how far off they are; what was seen is left."""
    undo: Any = declared(defense, ClientDefenses.undo)
    if undo is None:
        return
    examples: Any = declared(defense, ClientDefenses.examples)
    require(examples is not None, "undo says how altered examples are undone, and no examples are altered")
    x, y = _examples(2)
    seen = [examples(x, y, generator(5, "examples", r))[0] for r in range(2)]
    before = [one.clone() for one in seen]
    found, misfit = undo(seen, (0.0, 1.0), generator(5, "undo"))
    fits = isinstance(found, Tensor) and found.shape == x.shape and bool(found.isfinite().all())
    require(fits, f"undo must return finite examples {list(x.shape)}")
    require(isinstance(misfit, float) and misfit >= 0, f"undo must say how far off, got {misfit!r}")
    require(all(map(torch.equal, before, seen)), "undo wrote into what was seen")


def wraps_a_classifier_into_a_classifier(defense: ClientDefense) -> None:
    """Logits of the same shape, finite; the same weights from the same state of torch's generator."""
    wrap: Any = declared(defense, ClientDefenses.wrap)
    if wrap is None:
        return
    made = []
    for _ in range(2):
        model = copy.deepcopy(_model())
        with seeded_torch(generator(6, "wrap")):
            made.append(wrap(model))
    require(all(isinstance(one, nn.Module) for one in made), "wrap must return a torch.nn.Module")
    first, second = (one.state_dict() for one in made)
    same = first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
    require(same, "wrap made another model from the same state of torch's generator")
    with torch.no_grad():
        logits = made[0].eval()(_examples(2)[0])
    fine = tuple(logits.shape) == (_SIZES[2], _CLASSES) and bool(logits.isfinite().all())
    require(fine, f"the wrapped model gave {list(logits.shape)} for {[_SIZES[2], _CLASSES]} logits")


def says_in_one_line_what_it_cannot_work_on(defense: ClientDefense) -> None:
    """``check`` accepts a model without linear layers, or refuses it with a clear error and no other."""
    check = declared(defense, ClientDefenses.check)
    if check is None:
        return
    model = nn.Sequential(nn.Conv2d(1, _CLASSES, 4), nn.Flatten())
    try:
        check(model, _SHAPE)
    except GauntletError as error:
        require("\n" not in str(error), "check refused a model in more than one line")


CHECKS: tuple[Callable[[ClientDefense], None], ...] = (
    works_on_a_small_classifier,
    lets_out_finite_rows_like_those_that_came,
    lets_out_something_else_or_says_that_it_does_not,
    defends_each_client_by_itself,
    draws_from_the_clients_own_streams_alone,
    an_update_that_is_not_finite_stays_so,
    says_whether_it_looks_at_examples,
    names_the_attack_that_it_is_shown_beside,
    alters_examples_one_for_one,
    what_was_trained_on_is_undone_as_declared,
    wraps_a_classifier_into_a_classifier,
    says_in_one_line_what_it_cannot_work_on,
)
