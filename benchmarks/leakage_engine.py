"""Eight restarts of a search in one batch against eight loops of double backward, one after the other.

Usage: leakage_engine.py [ROUNDS]. One thread; medians of CPU time over ROUNDS (default 5) of both in turn, in
ms for one gradient of the matching cost of all eight over 60 steps, with what drives it: L-BFGS without a
line search here against ``torch.optim.LBFGS``, Adam on signs on both sides. Both start from the same points;
the largest difference of their first costs is printed beside. Models untrained, seed 0; random images.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from asked import words
from leakage_search import convolutions
from torch import Tensor
from torch.nn import functional

from gauntlet.attacks.leakage.search.adam import AdamSearch
from gauntlet.attacks.leakage.search.distances import cosine, squared
from gauntlet.attacks.leakage.search.engine import Budget, Found, Problem, Variables, by_adam, by_lbfgs
from gauntlet.attacks.leakage.search.ghosts import ghost_cosine
from gauntlet.attacks.leakage.search.gradients import gradients_of
from gauntlet.attacks.leakage.search.lbfgs import LBFGS
from gauntlet.clients.models import MODELS
from gauntlet.clients.placement.device import one_thread
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation
from gauntlet.core.seeds import generator, seeded_torch

RESTARTS, STEPS = 8, 60


@dataclass(frozen=True)
class Case:
    """A model, its input, the examples of a step, and what is minimised and how."""

    model: str
    shape: tuple[int, ...]
    batch_size: int
    cosine: bool
    least: float


CASES = {
    "LeNet MNIST, B = 1, L-BFGS": Case("lenet", (1, 28, 28), 1, False, 2.5),
    "LeNet CIFAR, B = 1, L-BFGS": Case("lenet", (3, 32, 32), 1, False, 2.5),
    "LeNet CIFAR, B = 4, L-BFGS": Case("lenet", (3, 32, 32), 4, False, 1.6),
    "CNN (16, 32, 32) CIFAR, B = 1, Adam, cosine": Case("cnn", (3, 32, 32), 1, True, 1.6),
    "MLP 784-128-128-10, B = 1, Adam, cosine": Case("mlp", (1, 28, 28), 1, True, 5.0),
}


def observed(case: Case) -> tuple[Observation, Tensor]:
    """Return a message, and the labels behind it."""
    with seeded_torch(generator(0, "weights")):
        if case.model == "cnn":
            model = convolutions(16, 32, 32, *case.shape[:2])
        elif case.model == "mlp":
            model = MODELS.build("mlp", {"hidden": [128, 128]}).build(case.shape, 10)
        else:
            model = MODELS.build("lenet_sigmoid", {}).build(case.shape, 10)
    x, y = starts(case, 1)[0][0], torch.arange(case.batch_size) % 10
    layout, named = Layout.of(model), dict(model.named_parameters())
    gradients = torch.autograd.grad(functional.cross_entropy(model(x), y), list(named.values()))
    update = -layout.flatten(dict(zip(named, gradients, strict=True)))
    knowledge = LeakageKnowledge(batch_size=case.batch_size, local_steps=1, lr=1.0)
    return Observation(0, 0, model, layout, b"", update, case.shape, 10, (0.0, 1.0), knowledge), y


def starts(case: Case, count: int) -> list[Variables]:
    """Return as many random batches."""
    stream = generator(1, "starts", count)
    draws = (stream.uniform(size=(case.batch_size, *case.shape)) for _ in range(count))
    return [(torch.from_numpy(x).float(),) for x in draws]


def batched(case: Case, observation: Observation, labels: Tensor) -> Found:
    """Search from eight starts with the engine."""
    target, gradients = observation.gradient(), gradients_of(observation)
    if not case.cosine:
        distance = squared(target)
        problem = Problem(lambda v: distance(gradients(v[0], labels)))
        return by_lbfgs(
            problem, starts(case, RESTARTS), LBFGS(1.0, 100, False), Budget(STEPS // 20, 1e-30, RESTARTS)
        )
    ghost, distance = ghost_cosine(observation, target), cosine(target)
    if ghost is None:
        problem = Problem(lambda v: distance(gradients(v[0], labels)))
    else:
        matching = ghost
        problem = Problem(lambda v: matching(v[0], labels))
    return by_adam(problem, starts(case, RESTARTS), AdamSearch(), Budget(STEPS, 0.0, RESTARTS))


def sequential(case: Case, observation: Observation, labels: Tensor) -> tuple[int, list[float]]:
    """Search from each start by double backward; return the gradients computed, and each first cost."""
    model, parameters = observation.model, list(observation.model.parameters())
    target, count, first = observation.gradient(), 0, list[float]()
    for (start,) in starts(case, RESTARTS):
        x = start.clone().requires_grad_()
        costs: list[float] = []

        def closure(x: Tensor = x, costs: list[float] = costs) -> float:
            loss = functional.cross_entropy(model(x), labels)
            found = torch.autograd.grad(loss, parameters, create_graph=True)
            g = torch.cat([part.reshape(-1) for part in found])
            cost = 1 - g @ target / (g.norm() * target.norm()) if case.cosine else _relative(g, target)
            (x.grad,) = torch.autograd.grad(cost, x)
            costs.append(float(cost.detach()))
            return costs[-1]

        if case.cosine:
            adam = torch.optim.Adam([x], 0.1)
            for _ in range(STEPS):
                closure()
                assert x.grad is not None
                x.grad.sign_()
                adam.step()
        else:
            torch.optim.LBFGS([x], 1.0, STEPS, STEPS, 0.0, 0.0, 100).step(closure)  # type: ignore[no-untyped-call]
        count += len(costs)
        first.append(costs[0])
    return count, first


def _relative(gradient: Tensor, target: Tensor) -> Tensor:
    return (gradient - target).square().sum() / target.square().sum()


def spent(work: Callable[[], int]) -> float:
    """Return CPU milliseconds for a gradient of all eight."""
    begin = time.process_time()
    count = work()
    return (time.process_time() - begin) * 1e3 / count * RESTARTS


def measured(case: Case, rounds: int) -> tuple[float, float, float]:
    """Return the medians, batched and one after the other, and how far first costs differ."""
    observation, labels = observed(case)
    found, (_, first) = batched(case, observation, labels), sequential(case, observation, labels)
    apart = max(abs(trace[0] / cost - 1) for trace, cost in zip(found.traces, first, strict=True))
    together, alone = list[float](), list[float]()
    for _ in range(rounds):
        together.append(spent(lambda: int(batched(case, observation, labels).details["closures"])))
        alone.append(spent(lambda: sequential(case, observation, labels)[0]))
    return statistics.median(together), statistics.median(alone), apart


def main() -> None:
    """Measure and print."""
    rounds = words(__doc__, rounds=5).rounds
    with one_thread():
        for name, case in CASES.items():
            together, alone, apart = measured(case, rounds)
            print(
                f"{name}: {alone:.1f} ms -> {together:.1f} ms, {alone / together:.2f} times as fast "
                f"(at least {case.least} wanted; first costs differ by {apart:.0e} at most)",
                flush=True,
            )


if __name__ == "__main__":
    main()
