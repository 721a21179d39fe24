"""FedNova's own functions in float64 on two quadratics (T1) with 2 and 20 local steps.

The limits are those of the toy's specification. With q_i = (1 - lr a_i)^K_i a client goes to
b_i + q_i (x - b_i), so that FedAvg stops where sum p_i (1 - q_i) (b_i - x) is 0, and FedNova where that has
1/K_i in both sums.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from uneven import COUNTS, T1, by_functions, training

from gauntlet.clients.algorithms.fednova import FedNova, accumulated
from gauntlet.clients.algorithms.scaffold import momentum_steps
from gauntlet.core.contracts import Facts, LocalTraining, LocalWork

OPTIMUM = -0.6


def limit(lr, counts=COUNTS, by_steps=True, p=(0.5, 0.5)):
    """Return where the rounds stop, by the closed form above."""
    (a, b), k = T1, np.array(counts, dtype=float)
    weights = np.array(p) * (1 - (1 - lr * a) ** k) / (k if by_steps else 1)
    return float((weights * b).sum() / weights.sum())


def recursion(steps, momentum, pull):
    """Write the coefficients' sum out, a step after the other: how far gradients of 1 have gone, over lr."""
    v = a = 0.0
    for _ in range(steps):
        v = momentum * v + 1 - pull * a
        a += v
    return a


def rests_at(rule, how, where, within=1e-13, **changes):
    """Whether a round leaves this parameter where it is, and rounds from 0 come ever nearer to it."""
    (stays,) = by_functions(rule, how, 1, start=where, **changes)
    gaps = abs(np.concatenate([[0.0], by_functions(rule, how, 20, **changes)]) - where)
    return abs(stays - where) <= within and bool((np.diff(gaps) < 0).all())


def in_float64(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_what_steps_count_is_as_the_specification_has_it():
    assert accumulated(in_float64(5, 10), 0.9, 0.0).tolist() == pytest.approx(
        [13.1441, 41.381059609], abs=1e-9
    )
    assert float(accumulated(in_float64(10), 0.5, 0.0)) == pytest.approx(18.001953125, abs=1e-12)
    assert float(accumulated(in_float64(10), 0.0, 0.05)) == pytest.approx(8.0252612152, abs=1e-10)
    assert accumulated(in_float64(1, 2, 3), 0.5, 0.1).tolist() == pytest.approx([1, 2.4, 3.86], abs=1e-14)
    assert accumulated(in_float64(1, 7), 0.0, 0.0).tolist() == [1, 7]
    ours, theirs = accumulated(in_float64(3, 9), 0.7, 0.0), momentum_steps(in_float64(3, 9), 0.7)
    assert ours.tolist() == pytest.approx(theirs.tolist(), rel=1e-14)


def test_the_two_recurrences_one_after_the_other_are_not_the_sum():
    """Of ten steps with momentum and a pull: 41.5052394 by the authors' code.

    The sum would be 35.2420823 with the pull behind the momentum; here it goes into it.
    """
    c = a = 0.0
    for _ in range(10):
        c = 0.9 * c + 1
        a = a * (1 - 0.05) + c
    assert a == pytest.approx(35.2420823, abs=1e-7)
    assert float(accumulated(in_float64(10), 0.9, 0.05)) == pytest.approx(26.218, abs=1e-3)
    assert float(accumulated(in_float64(10), 0.9, 0.0)) == pytest.approx(41.381059609)


@pytest.mark.parametrize(("momentum", "pull"), [(0.0, 0.05), (0.5, 0.1), (0.9, 0.01), (0.9, 0.05)])
def test_unequal_steps_shift_no_optimum_with_momentum_and_a_pull(momentum, pull):
    """At tiny steps a client's loss hardly bends: FedNova rests where the mean loss does, at -0.6."""
    rule, how = FedNova(mu=pull / 1e-7), training(1e-7, momentum)
    away, near = (by_functions(rule, how, 1, start=x)[0] - x for x in (OPTIMUM + 0.1, OPTIMUM))
    assert abs(near) < 1e-3 * abs(away)


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("pull", [0.0, 1e-12, 0.1, 0.1 + 1e-12, 0.7, 0.99])
def test_the_closed_form_is_the_recursion(momentum, pull):
    for steps in (1, 2, 10, 300):
        found = float(accumulated(in_float64(steps), momentum, pull))
        assert found == pytest.approx(recursion(steps, momentum, pull), rel=1e-10)


def test_unequal_steps_stop_near_the_optimum_where_fedavg_does_not():
    """lr = 0.002: 0.0242841453 from the optimum; FedAvg stops 0.3475591697 from it."""
    assert rests_at(FedNova(), training(0.002), limit(0.002))
    assert limit(0.002) == pytest.approx(-0.5757158547, abs=1e-10)
    assert limit(0.002, by_steps=False) == pytest.approx(-0.9475591697, abs=1e-10)


@pytest.mark.parametrize(("lr", "counts"), [(0.05, (2, 20)), (0.01, (20, 2)), (0.03, (7, 3))])
def test_at_other_settings_it_stops_where_the_closed_form_says(lr, counts):
    """At 0.05 the clients' drift is what is left: FedNova is then not better than FedAvg by rule."""
    assert rests_at(FedNova(), training(lr), limit(lr, counts), counts=counts)


def test_weights_of_the_clients_move_the_limit():
    where = limit(0.002, p=(0.2, 0.8))
    assert rests_at(FedNova(), training(0.002), where, weights=(0.2, 0.8))


def test_one_round_by_hand():
    """u_0 = q-moves of 2 and 20 steps; x = (a_0 + a_1)/2 ((u_0/a_0 + u_1/a_1)/2) with a = (2, 20)."""
    (a, b), lr = T1, 0.002
    moves = b * (1 - (1 - lr * a) ** np.array(COUNTS))
    assert by_functions(FedNova(), training(lr), 1)[0] == pytest.approx(
        11 * (moves / COUNTS).mean(), abs=1e-14
    )
    by_steps = by_functions(FedNova(tau_eff="steps"), training(lr), 1)[0]
    assert by_steps == pytest.approx(11 * (moves / COUNTS).mean(), abs=1e-14)  # K is a without a pull


@pytest.mark.parametrize("counts", [(1, 1), (5, 5)])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_equal_steps_are_fedavg(counts, momentum):
    how = training(0.05, momentum)
    found = by_functions(FedNova(), how, 20, counts)
    x, (a, b), expected = 0.0, T1, []
    for _ in range(20):
        y, v = np.full(2, x), np.zeros(2)
        for _ in range(counts[0]):
            v = momentum * v + a * (y - b)
            y = y - 0.05 * v
        x = y.mean()
        expected.append(x)
    assert found == pytest.approx(np.array(expected), abs=1e-13)
    if counts == (1, 1):
        assert found[0] == pytest.approx(-0.075, abs=1e-14)  # gradient descent


def test_momentum_and_a_pull_follow_a_recursion_written_out():
    rule, how = FedNova(mu=2.0), training(0.01, 0.9)
    (a, b), x, expected = T1, 0.0, []
    counted = np.array([recursion(k, 0.9, 0.02) for k in COUNTS])
    for _ in range(30):
        updates = []
        for i, steps in enumerate(COUNTS):
            y = v = x
            v = 0.0
            for _ in range(steps):
                v = 0.9 * v + a[i] * (y - b[i]) + 2.0 * (y - x)
                y -= 0.01 * v
            updates.append(y - x)
        x += counted.mean() * (np.array(updates) / counted).mean()
        expected.append(x)
    assert by_functions(rule, how, 30) == pytest.approx(np.array(expected), abs=1e-12)


def test_the_servers_momentum_has_the_same_limit_and_starts_at_the_first_move():
    plain = by_functions(FedNova(), training(0.002), 2)
    heavy = by_functions(FedNova(server_momentum=0.9), training(0.002), 2)
    still = by_functions(FedNova(server_momentum=0.9), training(0.002), 3, start=limit(0.002))

    assert heavy[0] == plain[0]
    assert still == pytest.approx(np.full(3, limit(0.002)), abs=1e-13)
    first = plain[0]
    fresh = by_functions(FedNova(), training(0.002), 1, start=first)[0] - first
    assert heavy[1] == pytest.approx(first + 0.9 * first + fresh, abs=1e-14)


def test_weights_on_models_would_leave_for_infinity():
    """The weights p_i tau_eff / a_i belong to updates: on models they sum to 1.8 at a = (10, 50)."""
    p, a = np.array([0.5, 0.5]), np.array([10.0, 50.0])
    weights = p * (p * a).sum() / a
    assert weights == pytest.approx([1.5, 0.3])
    (slopes, b), x, k = T1, 0.0, np.array(COUNTS)
    on_models = 0.5 * (0.5 * k).sum() / k
    for _ in range(60):
        x = float((on_models * (b + (1 - 0.002 * slopes) ** k * (x - b))).sum())
    assert abs(x) > 1e6
    assert abs(by_functions(FedNova(), training(0.002), 60)[-1]) < 1


@dataclass(frozen=True)
class WithoutMomentum(FedNova):
    """Divides by the number of steps, whatever the momentum: FedLab's weights."""

    def _counted(self, steps, training):
        return steps


def test_steps_in_the_place_of_what_they_count_leave_the_optimum_with_momentum():
    """For tiny steps a gradient counts a_i times: dividing by K_i weighs the clients a_i / K_i apart."""
    how, counted = training(1e-7, 0.9), np.array([recursion(k, 0.9, 0.0) for k in COUNTS])
    weights = T1[0] * counted / COUNTS
    wrong = float((weights * T1[1]).sum() / weights.sum())
    assert abs(wrong - OPTIMUM) > 0.2
    for rule, rest, other in ((FedNova(), OPTIMUM, wrong), (WithoutMomentum(), wrong, OPTIMUM)):
        ((there,), (away,)) = (by_functions(rule, how, 1, start=x) for x in (rest, other))
        assert abs(there - rest) < 1e-3 * abs(away - other)


def facts(steps, examples, how, weights=None):
    weights = [1 / max(len(steps), 1)] * len(steps) if weights is None else weights
    ids = torch.arange(len(steps))
    return Facts(
        ids,
        torch.tensor(examples, dtype=torch.int64),
        in_float64(*weights),
        how,
        {"steps": in_float64(*steps)},
    )


def test_a_lying_client_is_held_to_what_the_public_configuration_allows():
    """Ten local steps at most: who says 1e30, or -5, counts as 10, or as 1. a / a_i is 10 / K."""
    how, rule = LocalTraining(local_steps=10), FedNova(partial=0.5)
    told = facts([1e30, -5.0, 4.0, 10.0], [8, 8, 8, 8], how)

    assert rule.factors(told).tolist() == pytest.approx([1.0, 10.0, 2.5, 1.0])
    params, _ = rule.step(torch.zeros(1), torch.ones(1), rule.init(), 1.0, told)
    assert float(params) == pytest.approx((10 + 1 + 4 + 10) / 4 / 10)


def test_without_partial_work_nothing_that_a_client_states_counts():
    """Three passes over 5 and 20 examples in batches of 4: 6 and 15 steps, whatever they say."""
    how = LocalTraining(local_epochs=3, batch_size=4)
    honest, lies = (facts(steps, [5, 20], how) for steps in ([6.0, 15.0], [1e300, 1e-300]))

    assert FedNova().factors(honest).tolist() == [3 / 6, 3 / 15]
    assert torch.equal(FedNova().factors(honest), FedNova().factors(lies))


def test_the_most_steps_that_count_bound_a_client_that_claims_many_examples():
    how = LocalTraining(local_epochs=1, batch_size=1)
    told = facts([8.0, 1e9], [8, 10**9], how)

    assert FedNova(max_steps=16).factors(told).tolist() == [1 / 8, 1 / 16]
    params, _ = FedNova(max_steps=16).step(torch.zeros(1), torch.ones(1), {"velocity": None}, 1.0, told)
    assert float(params) == pytest.approx(12.0)
    everything, _ = FedNova().step(torch.zeros(1), torch.ones(1), {"velocity": None}, 1.0, told)
    assert float(everything) > 1e8  # what the docstring warns of


def test_part_of_the_work_is_drawn_evenly_from_one_to_one_less_than_all():
    rule, seen = FedNova(partial=1.0), []
    for number in range(3000):
        seen.append(rule.takes_steps(4, lambda n=number: np.random.default_rng(n)))
    assert set(seen) == {1, 2, 3}
    assert np.bincount(seen)[1:] / 3000 == pytest.approx(np.full(3, 1 / 3), abs=0.03)
    assert rule.takes_steps(1, lambda: np.random.default_rng(0)) == 1
    some = FedNova(partial=0.25)
    whole = [some.takes_steps(4, lambda n=n: np.random.default_rng(n)) == 4 for n in range(3000)]
    assert np.mean(whole) == pytest.approx(0.75, abs=0.03)
    assert FedNova().takes_steps is None


def test_nobody_counted_moves_nothing():
    empty = facts([], [], LocalTraining())
    params, state = FedNova().step(torch.ones(3), torch.zeros(3), {"velocity": None}, 0.0, empty)
    assert torch.equal(params, torch.ones(3))
    assert state == {"velocity": None}


def test_it_states_its_steps():
    said = FedNova().facts_of(torch.zeros(2, 3), LocalWork(LocalTraining(), torch.tensor([[3.0], [8.0]])))
    assert said["steps"].tolist() == [3, 8]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mu": -1.0}, "mu must be at least 0, got -1"),
        ({"mu": float("nan")}, "mu must be at least 0, got nan"),
        ({"partial": 1.5}, "partial must be between 0 and 1, got 1.5"),
        ({"tau_eff": "median"}, "tau_eff must be mean or steps, got 'median'"),
        ({"max_steps": 0}, "max_steps must be at least 1, got 0"),
        ({"server_lr": 0.0}, "server_lr must be above 0, got 0"),
        ({"server_momentum": 1.0}, r"server_momentum must be in \[0, 1\), got 1"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FedNova(**options)


def test_training_whose_steps_are_not_counted_is_refused():
    with pytest.raises(ValueError, match=r"fednova needs training.optimizer = 'sgd', got 'adam'"):
        FedNova().schedule(LocalTraining(optimizer="adam"))
    with pytest.raises(ValueError, match=r"lr times mu below 1, got 1\.5"):
        FedNova(mu=15.0).schedule(LocalTraining(lr=0.1))
