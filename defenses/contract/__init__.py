"""What every defense owes, as checks that raise ``PluginError``.

The same functions test the built-ins and whatever comes from outside. A defense that breaks one of the
two laws of robust averages on purpose (equal updates come back unchanged; who sent a row does not
matter) names that check in a class attribute ``exempt: tuple[str, ...]``.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from ...core.contracts import Defense, LinearDefense, Verdict
from ...core.declarations import Defenses, declared, declares
from ...core.errors import PluginError
from ...core.registry import require
from ...core.seeds import generator
from ...core.trees import equal, pack, unpack
from ...core.updates import Updates
from ...core.verdict_replies import judged
from ...core.wanted import is_plain, kind_of
from . import partial as partial_contract
from .pre_aggregation import PRE_AGGREGATION_CHECKS as PRE_AGGREGATION_CHECKS
from .trials import (
    SIZE,
    a_cohort,
    a_dense_layer,
    guarded,
    plain,
    require_checkpoint,
    require_same,
    require_untouched,
    rounds_for,
    size_for,
    told_of,
    updates_of,
    verb_of,
)


def _aggregate(defense: Defense, updates: Updates) -> Verdict:
    verdict, _ = verb_of(defense)(updates, guarded(defense).init())
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
    require(is_plain(vector), f"the aggregate must be a plain tensor, got {kind_of(vector)}")
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
    judged((verdict, None), updates)


def a_cohort_becomes_one_finite_update(defense: Defense) -> None:
    """Right shape and type in every round; flags, scores and details only for clients of the cohort."""
    verb, state = verb_of(defense), guarded(defense).init()
    for cohort in rounds_for(defense):
        verdict, state = verb(cohort, state)
        _check_verdict(verdict, cohort)


def a_single_client_is_answered_or_refused_clearly(defense: Defense) -> None:
    """K = 1 gives a finite update, or a ``ValueError`` that says why not."""
    bare, updates = plain(defense), a_cohort(0, 1)
    try:
        verdict, _ = verb_of(bare, bare)(updates, bare.init())
    except ValueError as error:
        require(bool(str(error)), "a cohort of one is refused without a word")
        return
    except Exception as error:
        raise PluginError(f"a cohort of one raises {type(error).__name__}: {error}") from error
    _check_verdict(verdict, updates)


def an_empty_cohort_gives_the_zero_update(defense: Defense) -> None:
    """K = 0 moves nothing and raises nothing."""
    aggregate = _aggregate(defense, a_cohort(0, 0)).aggregate
    require(not bool(aggregate.any()), "an empty cohort must give the zero update")


def equal_updates_come_back_unchanged(defense: Defense) -> None:
    """Where everybody agrees there is nothing to decide."""
    if equal_updates_come_back_unchanged.__name__ in declared(defense, Defenses.exempt):
        return
    row = a_cohort(0, 1).vectors
    cohort = updates_of(row.repeat(size_for(defense), 1), float(size_for(defense)))
    off = float((_aggregate(defense, cohort).aggregate - row[0]).abs().max())
    require(off <= 1e-6, f"a cohort of equal updates must come back unchanged, it is off by {off:.3g}")


def who_sent_a_row_does_not_matter(defense: Defense) -> None:
    """Clients with as many examples are interchangeable."""
    if who_sent_a_row_does_not_matter.__name__ in declared(defense, Defenses.exempt):
        return
    cohort = a_cohort(0, size_for(defense))
    order = torch.from_numpy(generator(0, "permute").permutation(len(cohort)))
    straight = _aggregate(defense, cohort).aggregate
    permuted = _aggregate(defense, cohort.with_vectors(cohort.vectors[order])).aggregate
    off = float((straight - permuted).abs().max())
    require(off <= 1e-6, f"the aggregate depends on which client sent which row: it is off by {off:.3g}")


def a_defense_leaves_its_inputs_as_they_were(defense: Defense) -> None:
    """Neither the updates nor the state are changed in place."""
    require_untouched(verb_of(defense), rounds_for(defense), guarded(defense).init())


def a_defense_remembers_nothing_outside_its_state(defense: Defense) -> None:
    """Equal rounds give equal bits."""
    require_same(verb_of(defense), rounds_for(defense), guarded(defense).init())


def a_defense_survives_a_checkpoint(defense: Defense) -> None:
    """Saved and restored, it goes on to the same bits."""
    require_checkpoint(verb_of(defense), rounds_for(defense), guarded(defense).init())


def a_declared_sensitivity_is_never_exceeded(defense: Defense) -> None:
    """No client of norm C moves the aggregate by more than ``sensitivity(C, expected_size)``."""
    clip_norm, size = 0.5, size_for(defense)
    expected_size = 1.5 * size
    sensitivity: Any = declared(defense, Defenses.sensitivity)
    bound = sensitivity(clip_norm, expected_size) if sensitivity is not None else None
    if bound is None:
        return
    alike, spread = torch.ones(size, SIZE), a_cohort(0, size).vectors - 0.05
    alike[-1] *= -1
    for directions in (alike, spread):
        rows = clip_norm * directions / directions.norm(dim=1, keepdim=True)
        counts = torch.arange(size) * 10  # a client may claim any number of examples
        cohort = replace(updates_of(rows, expected_size), num_examples=counts)
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
    linear = declared(defense, Defenses.linear)
    require(
        linear or declared(defense, Defenses.individual),
        "a defense that needs no individual updates must be linear: sums are all it would get",
    )
    if not linear:
        return
    a, b = a_cohort(0, size_for(defense)), a_cohort(1, size_for(defense))
    apart = 2 * _aggregate(defense, a).aggregate - _aggregate(defense, b).aggregate
    together = _aggregate(defense, a.with_vectors(2 * a.vectors - b.vectors)).aggregate
    require(
        bool((apart - together).abs().max() <= 1e-6), "declared linear, but it is not linear in the updates"
    )
    if declares(defense, Defenses.counts):
        rule = cast(LinearDefense, defense)
        counts = rule.counts(a.num_examples)  # [K]
        total = (counts[:, None] * a.vectors).sum(dim=0) / rule.denominator(counts, a.expected_size)
        off = (total - _aggregate(defense, a).aggregate).abs().max()
        require(bool(off <= 1e-6), "counts and denominator give another aggregate than aggregate does")


def claimed_examples_count_only_where_that_is_declared(defense: Defense) -> None:
    """An algorithm whose messages weigh alike is refused beside a rule that weighs clients by claims."""
    if declared(defense, Defenses.weighs_examples) or declared(defense, Defenses.linear):
        return  # of a linear one ``counts`` says it
    cohort = a_cohort(0, size_for(defense))
    claims = replace(cohort, num_examples=torch.arange(len(cohort)) * 7 + 1)
    same = torch.equal(_aggregate(defense, cohort).aggregate, _aggregate(defense, claims).aggregate)
    require(same, "the aggregate depends on claimed examples: declare weighs_examples = True")


def what_a_defense_plants_is_parameters(defense: Defense) -> None:
    """What ``prepare`` returns is [P], float32 and finite, the same for equal states; its inputs stay."""
    bound, verb = guarded(defense), verb_of(defense)
    prepare, state = declared(bound, Defenses.prepare), bound.init()
    if prepare is None:
        return
    for cohort in rounds_for(defense):
        assert cohort.context is not None
        params, packed = cohort.context.params.clone(), pack(state)
        told = told_of(defense, cohort)
        planted, _ = prepare(cohort.context.params, state, *told)
        fine = isinstance(planted, Tensor) and planted.shape == (SIZE,) and planted.dtype == params.dtype
        require(fine, f"prepare must return ({params.dtype} [{SIZE}], state), got {kind_of(planted)} first")
        require(bool(planted.isfinite().all()), "what was planted is not finite")
        require(torch.equal(params, cohort.context.params), "prepare changed the parameters in place")
        require(equal(state, unpack(*packed)), "prepare changed the state in place")
        again, _ = prepare(params, unpack(*packed), *told)
        require(torch.equal(planted, again), "the same round, prepared twice, plants something else")
        _, state = verb(cohort, state)


def what_a_defense_certifies_is_columns(defense: Defense) -> None:
    """What ``evaluate`` returns of a dense layer is a number or a tensor [m] by name, and again the same."""
    evaluate = declared(guarded(defense), Defenses.evaluate)
    if evaluate is None:
        return
    params, x, model = a_dense_layer()
    before = params.clone(), x.clone()
    found, again = evaluate(params, x, model), evaluate(params.clone(), x.clone(), model)
    require(isinstance(found, Mapping), f"evaluate must return columns by name, got {kind_of(found)}")
    for name, values in found.items():
        column = isinstance(values, Tensor) and values.shape == (len(x),)
        fine = isinstance(name, str) and (column or isinstance(values, int | float))
        require(fine, f"{name} must be a number or a tensor [{len(x)}], got {kind_of(values)}")
    require(torch.equal(params, before[0]) and torch.equal(x, before[1]), "evaluate changed its arguments")
    same = found.keys() == again.keys() and all(equal(found[name], again[name]) for name in found)
    require(same, "the same model, certified twice, gives other numbers")


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
    claimed_examples_count_only_where_that_is_declared,
    what_a_defense_plants_is_parameters,
    what_a_defense_certifies_is_columns,
    *partial_contract.CHECKS,
)
