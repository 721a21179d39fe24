"""L-BFGS and its line search. Oracles: torch.optim.LBFGS, the strong Wolfe conditions, two loops."""

import numpy as np
import torch

from gauntlet.attacks.leakage.search.engine import Budget, Problem, by_lbfgs
from gauntlet.attacks.leakage.search.lbfgs import LBFGS, _Memory
from gauntlet.core.seeds import generator


def test_without_a_line_search_the_steps_are_torchs():
    """Oracle: torch.optim.LBFGS, on a function whose curvature differs a thousandfold."""
    stiff = torch.tensor([1.0, 30.0, 1000.0])
    start, ours, theirs = torch.tensor([1.0, 1.0, 1.0]), [], []

    def cost(variables):
        ours.append(variables[0][0].tolist())
        return (stiff * (variables[0].square() + variables[0] ** 4)).sum(dim=1)

    by_lbfgs(Problem(cost), [(start,)], LBFGS(0.5, 4, line_search=False), Budget(2, 0.0))
    x = start.double().requires_grad_()
    torchs = torch.optim.LBFGS([x], lr=0.5, max_iter=30, history_size=4, tolerance_grad=0, tolerance_change=0)

    def closure():
        theirs.append(x.tolist())
        torchs.zero_grad()
        loss = (stiff * (x.square() + x**4)).sum()
        loss.backward()
        return loss

    torchs.step(closure)
    assert len(ours) >= 25
    np.testing.assert_allclose(ours[:25], theirs[:25], rtol=0, atol=1e-5)


def test_every_step_of_a_line_search_meets_the_strong_wolfe_conditions():
    """Nocedal and Wright, Equations 3.7: along a line of a function that is neither convex nor smooth."""
    from gauntlet.attacks.leakage.search.line import Tried, wolfe_step

    stream = generator(0, "lines")
    for _ in range(50):
        a, b, size = stream.normal(size=5), stream.uniform(0.5, 3, size=5), float(stream.uniform(1e-3, 30))

        def at(x, a=a, b=b):
            return float((np.sin(b * (x - a)) + (x - a) ** 2 / 4).sum()), b * np.cos(b * (x - a)) + (
                x - a
            ) / 2

        here = Tried(0.0, np.zeros(5), *at(np.zeros(5)))
        line = wolfe_step(here, -here.gradient, size, 0)
        point, _ = next(line)
        there = None
        while there is None:
            try:
                point, _ = line.send(at(point))
            except StopIteration as end:
                there = end.value
        slope = -float(here.gradient @ here.gradient)

        assert there.cost <= here.cost + 1e-4 * there.size * slope
        assert abs(there.gradient @ -here.gradient) <= -0.9 * slope


def two_loops(pairs, gradient):
    """Nocedal, Wright, Algorithm 7.4, as printed."""
    q, weights = gradient.copy(), []
    for step, change in reversed(pairs):
        weights.append(step @ q / (step @ change))
        q = q - weights[-1] * change
    step, change = pairs[-1]
    q = q * (step @ change) / (change @ change)
    for (step, change), weight in zip(pairs, reversed(weights), strict=True):
        q = q + step * (weight - change @ q / (step @ change))
    return -q


def test_the_direction_is_that_of_the_two_loop_recursion():
    """Also once the oldest steps are dropped, and moved to the front of what is held."""
    stream = generator(0, "steps")
    curvature = stream.uniform(0.1, 10.0, 6)
    memory, pairs = _Memory(4), []
    for _ in range(23):
        step, gradient = stream.standard_normal((2, 6))
        memory.add(step, curvature * step)
        memory.add(step, -curvature * step)  # the cost curves downwards: not remembered
        pairs.append((step, curvature * step))

        np.testing.assert_allclose(memory.direction(gradient), two_loops(pairs[-4:], gradient), rtol=1e-9)
        assert len(memory) == min(len(pairs), 4)
    memory.forget()
    np.testing.assert_array_equal(memory.direction(gradient), -gradient)
