"""The rule with momentum and control variates: on quadratics, by its recursion and by SCAFFOLD's."""

import numpy as np
import pytest
from outsiders import FOLDER
from quadratics import OPTIMUM, T1, by_functions, by_the_engine, t2, training

from gauntlet.clients.algorithms import ALGORITHMS
from gauntlet.clients.algorithms.scaffold import Scaffold
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

NAME = f"{FOLDER}/scaffold_m.py:ScaffoldM"
STEPS, LR = 10, 0.05


def rule(**options):
    return ALGORITHMS.build(NAME, {"server_lr": STEPS * LR, **options})


def recursion(a, b, cohorts, x, beta):
    """Write the paper's rounds out for f_i = a_i/2 (x - b_i)^2, a client and a step after the other."""
    own, c, g, seen = np.zeros(len(a)), 0.0, 0.0, []
    for cohort in cohorts:
        directions, changes = [], []
        for i in cohort:
            y, met = x, []
            for _ in range(STEPS):
                met.append(a[i] * (y - b[i]))
                y -= LR * (beta * (met[-1] - own[i] + c) + (1 - beta) * g)
            directions.append((x - y) / (STEPS * LR))
            changes.append(np.mean(met) - own[i])
            own[i] = np.mean(met)
        g = np.mean(directions)
        x, c = x - STEPS * LR * g, c + np.sum(changes) / len(a)
        seen.append(x)
    return np.array(seen)


@pytest.mark.parametrize("beta", [0.2, 0.7, 1.0])
def test_its_functions_follow_the_recursion_with_everybody_and_with_some(beta):
    everybody = [np.arange(2)] * 60
    trace, _, _ = by_functions(rule(beta=beta), *T1, training(STEPS, LR), everybody, 0.0)
    assert trace == pytest.approx(recursion(*T1, everybody, 0.0, beta), abs=1e-12)
    assert abs(trace[-1] - OPTIMUM) < 0.02

    a, b, cohorts = t2()
    trace, state, clients = by_functions(rule(beta=beta), a, b, training(STEPS, LR), cohorts[:40], 3.0)
    assert trace == pytest.approx(recursion(a, b, cohorts[:40], 3.0, beta), abs=1e-12)
    assert float(state["control"]) == pytest.approx(sum(map(float, clients.values())) / 100, abs=1e-13)


def test_without_momentum_it_is_scaffold():
    a, b, cohorts = t2()
    ours, _, _ = by_functions(rule(beta=1.0), a, b, training(STEPS, LR), cohorts[:50], 3.0)
    theirs, _, _ = by_functions(Scaffold(), a, b, training(STEPS, LR), cohorts[:50], 3.0)
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_the_engine_follows_the_recursion():
    spec = by_the_engine(PluginSpec(NAME, {"server_lr": STEPS * LR, "beta": 0.5}), training(STEPS, LR), 12)
    simulation = prepare(spec)
    trace = [float(step.state.params) for step in simulation.steps(simulation.serial_pool())]

    assert trace == pytest.approx(recursion(*T1, [np.arange(2)] * 12, 0.0, 0.5), abs=1e-5)
