"""What defenses and pre-aggregations are tried on, and the laws that both owe."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...core.contracts import EvaluatedModel, Verdict
from ...core.declarations import Defenses, declared
from ...core.errors import PluginError
from ...core.guards import guard
from ...core.layout import Layout, Slot
from ...core.presence import Presence
from ...core.registry import require
from ...core.seeds import generator
from ...core.trees import State, equal, pack, unpack
from ...core.updates import Context, OwnExamples, Updates

SIZE = 7  # P of the cohorts below
EXAMPLES = 30  # of the server's own
LAYOUT = Layout((Slot("weight", (2, 2), 0), Slot("bias", (3,), 4)))


def a_cohort(round_: int, cohort_size: int) -> Updates:
    """Return like-minded clients with ids 3, 7, 11, ... (an id is not a row number)."""
    stream = generator(0, "contract", round_)
    vectors = 0.05 + 0.02 * stream.standard_normal((cohort_size, SIZE))
    return updates_of(torch.from_numpy(vectors).to(torch.float32), float(cohort_size), round_)


def updates_of(vectors: Tensor, expected_size: float, round_: int = 0) -> Updates:
    """Return these rows as a cohort with 10 examples each, in a round."""
    ids = torch.arange(len(vectors)) * 4 + 3
    counts = torch.full((len(vectors),), 10)
    return Updates(vectors, ids, counts, expected_size, context=_context(round_))


def _context(round_: int) -> Context:
    """Return what a server knows in a round, with an update of its own that is like the clients'.

    The model is a linear one, of two inputs and three classes, the third with a bias alone.
    """
    drawn = generator(0, "contract params", round_).standard_normal((SIZE + 2 * EXAMPLES,))
    values = torch.from_numpy(drawn).to(torch.float32)
    own = OwnExamples(values[SIZE:].reshape(EXAMPLES, 2), torch.arange(EXAMPLES) % 3)
    known = round_, values[:SIZE].clone(), LAYOUT, 0, torch.full((SIZE,), 0.05)
    blank = torch.zeros(1, 2)
    return Context(*known, _outputs, own, torch.nn.functional.cross_entropy, blank, _gradient)


def _outputs(params: Tensor, x: Tensor, _: Tensor | None = None) -> Tensor:
    named = LAYOUT.views(params)
    products = x @ named["weight"].mT  # [L, n, 2]
    return torch.nn.functional.pad(products, (0, 1)) + named["bias"][:, None]  # [L, n, 3]


def _gradient(params: Tensor, x: Tensor, y: Tensor) -> Tensor:
    with torch.enable_grad():
        at = params.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(_outputs(at[None], x)[0], y)
        return torch.autograd.grad(loss, at)[0]


def a_dense_layer() -> tuple[Tensor, Tensor, EvaluatedModel]:
    """Return the parameters of one, inputs [m, 2], and what is known where it is evaluated."""
    layout = Layout((Slot("weight", (3, 2), 0), Slot("bias", (3,), 6)))

    def forward(params: Tensor, x: Tensor, _: Tensor | None = None) -> Tensor:
        named = layout.views(params)
        return x @ named["weight"].mT + named["bias"][:, None]  # [L, m, 3]

    drawn = torch.from_numpy(generator(0, "contract dense").standard_normal(9 + 2 * EXAMPLES)).float()
    model = EvaluatedModel(3, layout, 3, 0, forward, float(EXAMPLES), 1.0)
    return drawn[:9].clone(), drawn[9:].reshape(EXAMPLES, 2), model


def a_partial_cohort(round_: int, plugin: object, vectors: Tensor | None = None) -> Updates:
    """Return a cohort of three levels, each with as many clients as the plug-in needs.

    The first has six of the seven coordinates, the second four, the third two; nobody has the last one.
    """
    size = 3 * size_for(plugin)
    whole = a_cohort(round_, size)
    levels = torch.arange(SIZE) < torch.tensor([[6], [4], [2]])
    presence = Presence(levels, torch.arange(size) % 3)
    rows = whole.vectors if vectors is None else vectors
    return replace(whole, vectors=presence.masked(rows), presence=presence)


def plain(plugin: Any) -> Any:
    """Return the plug-in without its guard, if it has one."""
    return getattr(plugin, "__wrapped__", plugin)


def guarded(plugin: Any) -> Any:
    """Return the plug-in so that whatever it raises names it; the checks look themselves what it changes."""
    return guard(plain(plugin), type(plain(plugin)).__name__, watched=False)


def verb_of(defense: Any, bound: Any = None) -> Callable[[Updates, State], tuple[Any, State]]:
    """Return what a defense does with a round: it prepares the parameters, if it does, and aggregates."""
    bound = guarded(defense) if bound is None else bound
    prepare = declared(bound, Defenses.prepare)

    def both(updates: Updates, state: State) -> tuple[Any, State]:
        assert updates.context is not None
        assert prepare is not None
        params, state = prepare(updates.context.params, state, *told_of(defense, updates))
        found: tuple[Any, State] = bound.aggregate(
            replace(updates, context=replace(updates.context, params=params)), state
        )
        return found

    return both if prepare is not None else bound.aggregate


def told_of(defense: Any, updates: Updates) -> tuple[Context, ...]:
    """Return what ``prepare`` is handed besides parameters and state."""
    trains = declared(plain(defense), Defenses.trains_models)
    return (updates.context,) if trains and updates.context is not None else ()


def size_for(plugin: object) -> int:
    """Return a cohort size that the plug-in can handle as configured."""
    return max(12, declared(plugin, Defenses.least_cohort) + 2)


def rounds_for(plugin: object) -> list[Updates]:
    """Return five rounds with partial participation."""
    size = size_for(plugin)
    cohorts = [a_cohort(t, size) for t in range(5)]
    cohorts[1], cohorts[3] = (
        cohorts[1].rows(torch.arange(size) != 4),
        cohorts[3].rows(torch.arange(size) != 0),
    )
    return cohorts


def _answers(verb: Callable[..., Any], cohorts: Sequence[Updates], state: State) -> tuple[list[State], State]:
    """Return every round's answer as a tree, and the last state."""
    answers = []
    for cohort in cohorts:
        out, state = verb(cohort, state)
        answers.append(_as_tree(out))
    return answers, state


def _as_tree(out: Verdict | Updates) -> State:
    if isinstance(out, Updates):
        return [out.vectors, out.client_ids, out.num_examples]
    return [out.aggregate, out.weights, dict(out.flags), dict(out.scores), dict(out.details)]


def require_same(verb: Callable[..., Any], cohorts: Sequence[Updates], start: State) -> None:
    """Require equal answers to equal rounds."""
    first, second = _answers(verb, cohorts, start), _answers(verb, cohorts, start)
    require(
        equal(first, second), "the same rounds, run twice, give different answers: memory outside the state"
    )


def require_checkpoint(verb: Callable[..., Any], cohorts: Sequence[Updates], start: State) -> None:
    """Require that a saved and restored state goes on to the same bits."""
    _, state = _answers(verb, cohorts[:2], start)
    try:
        value, tensors = pack(state)
    except TypeError as error:
        raise PluginError(str(error)) from error
    restored = unpack(json.loads(json.dumps(value)), tensors)
    straight, resumed = _answers(verb, cohorts[2:], state), _answers(verb, cohorts[2:], restored)
    require(equal(straight, resumed), "a run goes on differently after its state was saved and restored")


def require_untouched(verb: Callable[..., Any], cohorts: Sequence[Updates], start: State) -> None:
    """Require that neither updates nor state are changed in place."""
    state = start
    for cohort in cohorts:
        tensors = (cohort.vectors, cohort.client_ids, cohort.num_examples, cohort.buffers)
        before, packed = [t.clone() for t in tensors], pack(state)
        _, following = verb(cohort, state)
        same = all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))
        require(same, "the updates that came in were changed in place")
        require(equal(state, unpack(*packed)), "the state that came in was changed in place")
        state = following
