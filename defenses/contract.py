"""What every defense and every pre-aggregation owes, as checks that raise ``PluginError``.

The same functions test the built-ins and whatever comes from outside. A defense that breaks one of the
two laws of robust averages on purpose (equal updates come back unchanged; who sent a row does not
matter) names that check in a class attribute ``exempt: tuple[str, ...]``.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from ..core.contracts import Defense, LinearDefense, PreAggregation, Verdict, declared
from ..core.errors import PluginError
from ..core.layout import Layout, Slot
from ..core.registry import guard, require
from ..core.seeds import generator
from ..core.trees import State, equal, pack, unpack
from ..core.updates import Context, Updates

SIZE = 7  # P of the cohorts below
LAYOUT = Layout((Slot("weight", (2, 2), 0), Slot("bias", (3,), 4)))


def _cohort(round_: int, cohort_size: int) -> Updates:
    """Return like-minded clients with ids 3, 7, 11, ... (an id is not a row number)."""
    stream = generator(0, "contract", round_)
    vectors = 0.05 + 0.02 * stream.standard_normal((cohort_size, SIZE))
    return _updates(torch.from_numpy(vectors).to(torch.float32), float(cohort_size), round_)


def _updates(vectors: Tensor, expected_size: float, round_: int = 0) -> Updates:
    ids = torch.arange(len(vectors)) * 4 + 3
    counts = torch.full((len(vectors),), 10)
    return Updates(vectors, ids, counts, expected_size, context=_context(round_))


def _context(round_: int) -> Context:
    """Return what a server knows in a round, with an update of its own that is like the clients'."""
    params = generator(0, "contract params", round_).standard_normal(SIZE)
    return Context(
        round_, torch.from_numpy(params).to(torch.float32), LAYOUT, seed=0, root=torch.full((SIZE,), 0.05)
    )


def _plain(plugin: Any) -> Any:
    return getattr(plugin, "__wrapped__", plugin)


def _guarded(plugin: Any) -> Any:
    return guard(_plain(plugin), type(_plain(plugin)).__name__)


def _size(plugin: object) -> int:
    """Return a cohort size that the plug-in can handle as configured."""
    return max(12, declared(plugin, "least_cohort", 1) + 2)


def _rounds(plugin: object) -> list[Updates]:
    """Return five rounds with partial participation."""
    size = _size(plugin)
    cohorts = [_cohort(t, size) for t in range(5)]
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


def _require_same(verb: Callable[..., Any], cohorts: Sequence[Updates], start: State) -> None:
    first, second = _answers(verb, cohorts, start), _answers(verb, cohorts, start)
    require(
        equal(first, second), "the same rounds, run twice, give different answers: memory outside the state"
    )


def _require_checkpoint(verb: Callable[..., Any], cohorts: Sequence[Updates], start: State) -> None:
    _, state = _answers(verb, cohorts[:2], start)
    try:
        value, tensors = pack(state)
    except TypeError as error:
        raise PluginError(str(error)) from error
    restored = unpack(json.loads(json.dumps(value)), tensors)
    straight, resumed = _answers(verb, cohorts[2:], state), _answers(verb, cohorts[2:], restored)
    require(equal(straight, resumed), "a run goes on differently after its state was saved and restored")


def _require_untouched(verb: Callable[..., Any], cohorts: Sequence[Updates], start: State) -> None:
    state = start
    for cohort in cohorts:
        tensors = (cohort.vectors, cohort.client_ids, cohort.num_examples, cohort.buffers)
        before, packed = [t.clone() for t in tensors], pack(state)
        _, following = verb(cohort, state)
        same = all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))
        require(same, "the updates that came in were changed in place")
        require(equal(state, unpack(*packed)), "the state that came in was changed in place")
        state = following


# ---- defenses -------------------------------------------------------------------------------------------


def _aggregate(defense: Defense, updates: Updates) -> Verdict:
    guarded = _guarded(defense)
    verdict, _ = guarded.aggregate(updates, guarded.init())
    _check_verdict(verdict, updates)
    checked: Verdict = verdict
    return checked


def _check_verdict(verdict: object, updates: Updates) -> None:
    if not isinstance(verdict, Verdict):
        raise PluginError(f"aggregate must return (Verdict, state), got a {type(verdict).__name__} first")
    vector, ids = verdict.aggregate, set(updates.client_ids.tolist())
    shape, dtype = updates.vectors.shape[1:], updates.vectors.dtype
    require(vector.shape == shape, f"the aggregate must be {tuple(shape)}, got {tuple(vector.shape)}")
    require(vector.dtype == dtype, f"the aggregate must be {dtype}, got {vector.dtype}")
    require(bool(vector.isfinite().all()), "the aggregate of finite updates is not finite")
    if (weights := verdict.weights) is not None:
        fits = weights.shape == (len(updates),) and bool(weights.isfinite().all())
        require(fits, f"weights must be [K] = {len(updates)} finite numbers, got {weights}")
    require(
        set(verdict.flags) <= ids,
        f"flags name clients outside the cohort: {sorted(set(verdict.flags) - ids)}",
    )
    require(
        set(verdict.scores) <= ids, f"scores name clients outside the cohort: {set(verdict.scores) - ids}"
    )
    require(
        set(verdict.details) <= ids,
        f"details name clients outside the cohort: {sorted(set(verdict.details) - ids)}",
    )


def a_cohort_becomes_one_finite_update(defense: Defense) -> None:
    """Right shape and type in every round; flags, scores and details only for clients of the cohort."""
    guarded, state = _guarded(defense), _guarded(defense).init()
    for cohort in _rounds(defense):
        verdict, state = guarded.aggregate(cohort, state)
        _check_verdict(verdict, cohort)


def a_single_client_is_answered_or_refused_clearly(defense: Defense) -> None:
    """K = 1 gives a finite update, or a ``ValueError`` that says why not."""
    plain, updates = _plain(defense), _cohort(0, 1)
    try:
        verdict, _ = plain.aggregate(updates, plain.init())
    except ValueError as error:
        require(bool(str(error)), "a cohort of one is refused without a word")
        return
    except Exception as error:
        raise PluginError(f"a cohort of one raises {type(error).__name__}: {error}") from error
    _check_verdict(verdict, updates)


def an_empty_cohort_gives_the_zero_update(defense: Defense) -> None:
    """K = 0 moves nothing and raises nothing."""
    aggregate = _aggregate(defense, _cohort(0, 0)).aggregate
    require(not bool(aggregate.any()), "an empty cohort must give the zero update")


def equal_updates_come_back_unchanged(defense: Defense) -> None:
    """Where everybody agrees there is nothing to decide."""
    if equal_updates_come_back_unchanged.__name__ in declared(defense, "exempt", ()):
        return
    row = _cohort(0, 1).vectors
    cohort = _updates(row.repeat(_size(defense), 1), float(_size(defense)))
    off = float((_aggregate(defense, cohort).aggregate - row[0]).abs().max())
    require(off <= 1e-6, f"a cohort of equal updates must come back unchanged, it is off by {off:.3g}")


def who_sent_a_row_does_not_matter(defense: Defense) -> None:
    """Clients with as many examples are interchangeable."""
    if who_sent_a_row_does_not_matter.__name__ in declared(defense, "exempt", ()):
        return
    cohort = _cohort(0, _size(defense))
    order = torch.from_numpy(generator(0, "permute").permutation(len(cohort)))
    straight = _aggregate(defense, cohort).aggregate
    permuted = _aggregate(defense, cohort.with_vectors(cohort.vectors[order])).aggregate
    off = float((straight - permuted).abs().max())
    require(off <= 1e-6, f"the aggregate depends on which client sent which row: it is off by {off:.3g}")


def a_defense_leaves_its_inputs_as_they_were(defense: Defense) -> None:
    """Neither the updates nor the state are changed in place."""
    guarded = _guarded(defense)
    _require_untouched(guarded.aggregate, _rounds(defense), guarded.init())


def a_defense_remembers_nothing_outside_its_state(defense: Defense) -> None:
    """Equal rounds give equal bits."""
    guarded = _guarded(defense)
    _require_same(guarded.aggregate, _rounds(defense), guarded.init())


def a_defense_survives_a_checkpoint(defense: Defense) -> None:
    """Saved and restored, it goes on to the same bits."""
    guarded = _guarded(defense)
    _require_checkpoint(guarded.aggregate, _rounds(defense), guarded.init())


def a_declared_sensitivity_is_never_exceeded(defense: Defense) -> None:
    """No client of norm C moves the aggregate by more than ``sensitivity(C, expected_size)``."""
    clip_norm, size = 0.5, _size(defense)
    expected_size = 1.5 * size
    sensitivity: Any = declared(defense, "sensitivity", None)
    bound = sensitivity(clip_norm, expected_size) if sensitivity is not None else None
    if bound is None:
        return
    alike, spread = torch.ones(size, SIZE), _cohort(0, size).vectors - 0.05
    alike[-1] *= -1
    for directions in (alike, spread):
        rows = clip_norm * directions / directions.norm(dim=1, keepdim=True)
        counts = torch.arange(size) * 10  # a client may claim any number of examples
        cohort = replace(_updates(rows, expected_size), num_examples=counts)
        whole = _aggregate(defense, cohort).aggregate
        for client in range(size):
            rest = _aggregate(defense, cohort.rows(torch.arange(size) != client)).aggregate
            moved = float((whole - rest).norm())
            require(
                moved <= bound * (1 + 1e-5),
                f"one client moves the aggregate by {moved:.4g}, declared {bound:.4g}",
            )


def a_linear_defense_is_a_sum_over_clients(defense: Defense) -> None:
    """What may be summed on the workers, or under secure aggregation, is linear in the updates."""
    linear = declared(defense, "linear", False)
    require(
        linear or declared(defense, "individual", True),
        "a defense that needs no individual updates must be linear: sums are all it would get",
    )
    if not linear:
        return
    a, b = _cohort(0, _size(defense)), _cohort(1, _size(defense))
    apart = 2 * _aggregate(defense, a).aggregate - _aggregate(defense, b).aggregate
    together = _aggregate(defense, a.with_vectors(2 * a.vectors - b.vectors)).aggregate
    require(
        bool((apart - together).abs().max() <= 1e-6), "declared linear, but it is not linear in the updates"
    )
    if hasattr(defense, "counts"):
        rule = cast(LinearDefense, defense)
        counts = rule.counts(a.num_examples)  # [K]
        total = (counts[:, None] * a.vectors).sum(dim=0) / rule.denominator(counts, a.expected_size)
        off = (total - _aggregate(defense, a).aggregate).abs().max()
        require(bool(off <= 1e-6), "counts and denominator give another aggregate than aggregate does")


CHECKS: tuple[Callable[[Defense], None], ...] = (
    a_cohort_becomes_one_finite_update,
    a_single_client_is_answered_or_refused_clearly,
    an_empty_cohort_gives_the_zero_update,
    equal_updates_come_back_unchanged,
    who_sent_a_row_does_not_matter,
    a_defense_leaves_its_inputs_as_they_were,
    a_defense_remembers_nothing_outside_its_state,
    a_defense_survives_a_checkpoint,
    a_declared_sensitivity_is_never_exceeded,
    a_linear_defense_is_a_sum_over_clients,
)


# ---- pre-aggregations -----------------------------------------------------------------------------------


def _transform(plugin: PreAggregation, updates: Updates) -> Updates:
    guarded = _guarded(plugin)
    out, _ = guarded.transform(updates, guarded.init())
    _check_transformed(out, updates)
    checked: Updates = out
    return checked


def _check_transformed(out: object, updates: Updates) -> None:
    if not isinstance(out, Updates):
        raise PluginError(f"transform must return (Updates, state), got a {type(out).__name__} first")
    size, dtype = updates.vectors.shape[1], updates.vectors.dtype
    require(
        out.vectors.shape[1] == size, f"rows must keep their {size} coordinates, got {out.vectors.shape[1]}"
    )
    require(out.vectors.dtype == dtype, f"rows must stay {dtype}, got {out.vectors.dtype}")
    require(bool(out.vectors.isfinite().all()), "finite updates were turned into others that are not")
    strangers = set(out.client_ids.tolist()) - set(updates.client_ids.tolist())
    require(not strangers, f"clients outside the cohort came out: {sorted(strangers)}")
    require(len(out) > 0 or len(updates) == 0, "no client is left")


def a_cohort_stays_a_cohort(plugin: PreAggregation) -> None:
    """Clients of the cohort, finite rows of the same width and type."""
    for cohort in _rounds(plugin):
        _transform(plugin, cohort)


def one_client_or_none_is_handled(plugin: PreAggregation) -> None:
    """K = 0 stays empty; K = 1 gives a cohort, or a ``ValueError`` that says why not."""
    require(len(_transform(plugin, _cohort(0, 0))) == 0, "an empty cohort must stay empty")
    plain, single = _plain(plugin), _cohort(0, 1)
    try:
        out, _ = plain.transform(single, plain.init())
    except ValueError as error:
        require(bool(str(error)), "a cohort of one is refused without a word")
        return
    except Exception as error:
        raise PluginError(f"a cohort of one raises {type(error).__name__}: {error}") from error
    _check_transformed(out, single)


def a_pre_aggregation_leaves_its_inputs_as_they_were(plugin: PreAggregation) -> None:
    """Neither the updates nor the state are changed in place."""
    guarded = _guarded(plugin)
    _require_untouched(guarded.transform, _rounds(plugin), guarded.init())


def a_pre_aggregation_remembers_nothing_outside_its_state(plugin: PreAggregation) -> None:
    """Equal rounds give equal bits."""
    guarded = _guarded(plugin)
    _require_same(guarded.transform, _rounds(plugin), guarded.init())


def a_pre_aggregation_survives_a_checkpoint(plugin: PreAggregation) -> None:
    """Saved and restored, it goes on to the same bits."""
    guarded = _guarded(plugin)
    _require_checkpoint(guarded.transform, _rounds(plugin), guarded.init())


PRE_AGGREGATION_CHECKS: tuple[Callable[[PreAggregation], None], ...] = (
    a_cohort_stays_a_cohort,
    one_client_or_none_is_handled,
    a_pre_aggregation_leaves_its_inputs_as_they_were,
    a_pre_aggregation_remembers_nothing_outside_its_state,
    a_pre_aggregation_survives_a_checkpoint,
)
