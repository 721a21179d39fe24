"""Eight restarts of DLG here against those of ``breaching``, by its own loop, on the same message.

Usage: leakage_breaching.py CHECKOUT [ROUNDS]. CHECKOUT is a folder with the files of
github.com/JonasGeiping/breaching; its attack's modules are loaded without its package's own start, which
wants data sets and hydra, and need torch alone. Its attacker is ``optimization`` with the settings of
``deepleakage`` (L-BFGS, step size 1, squared distance, no box) and labels told; both take 60 steps from each
of eight starts, one thread. Printed are medians over ROUNDS (default 3) of both in turn, in gradients of the
matching cost a CPU second.
"""

import logging
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from asked import words
from leakage_engine import CASES, RESTARTS, STEPS, batched, observed

from gauntlet.clients.placement.device import one_thread

LENETS = [name for name in CASES if name.startswith("LeNet")]


class Options(dict[str, Any]):
    """A mapping whose keys are attributes too, as breaching reads its options."""

    __getattr__ = dict.__getitem__


def attacker_of(checkout: Path) -> Any:
    """Return breaching's attacker by optimisation."""
    for name in ("breaching", "breaching.attacks", "breaching.cases", "breaching.cases.models"):
        package = ModuleType(name)
        package.__path__ = [str(checkout / Path(*name.split(".")))]
        sys.modules[name] = package
    from importlib import import_module

    return import_module("breaching.attacks.optimization_based_attack").OptimizationBasedAttacker


def theirs(attacker: Any, name: str) -> Callable[[], int]:
    """Return what runs breaching's loop on a case's message and counts its gradients."""
    case = CASES[name]
    observation, labels = observed(case)
    optim = Options(
        optimizer="L-BFGS", signed=None, step_size=1.0, boxed=False, max_iterations=STEPS // 20,
        step_size_decay=None, langevin_noise=0.0, warmup=0, grad_clip=None, callback=10**9,
    )  # fmt: skip
    config = Options(
        regularization=Options(),
        augmentations=Options(),
        type="deep-leakage", objective=Options(type="euclidean", scale=1.0, task_regularization=0.0),
        restarts=Options(num_trials=RESTARTS, scoring="euclidean"), init="randn", normalize_gradients=False,
        optim=optim, differentiable_augmentations=False, text_strategy="no-preprocessing",
        impl=Options(dtype="float", mixed_precision=False, JIT=None),
    )  # fmt: skip
    made = attacker(observation.model, torch.nn.CrossEntropyLoss(), config)
    parameters = list(observation.layout.views(observation.gradient()).values())
    known = Options(num_data_points=case.batch_size, labels=labels, num_users=1, local_hyperparams=None)
    shared = [{"gradients": parameters, "buffers": None, "metadata": known}]
    public = SimpleNamespace(shape=case.shape, modality="vision")
    model = [p.detach() for p in observation.model.parameters()]
    payload = [{"parameters": model, "buffers": [], "metadata": public}]
    count = 0
    forward = type(made.objective).forward

    def counted(self: Any, *given: Any) -> Any:
        nonlocal count
        count += 1
        return forward(self, *given)

    type(made.objective).forward = counted

    def run() -> int:
        nonlocal count
        count = 0
        made.reconstruct(payload, shared, {})
        return count - RESTARTS  # each is scored once more

    return run


def mine(name: str) -> Callable[[], int]:
    """Return what runs our search on the same message and counts its gradients."""
    case = CASES[name]
    observation, labels = observed(case)
    return lambda: int(batched(case, observation, labels).details["closures"])


def a_second(work: Callable[[], int]) -> float:
    """Return gradients a CPU second."""
    begin = time.process_time()
    count = work()
    return count / (time.process_time() - begin)


def main() -> None:
    """Measure and print."""
    given = words(__doc__, checkout=Path, rounds=3)
    attacker, rounds = attacker_of(given.checkout), given.rounds
    logging.disable(logging.INFO)
    with one_thread():
        for name in LENETS:
            other, own, ours, loops = theirs(attacker, name), mine(name), list[float](), list[float]()
            other()
            own()
            for _ in range(rounds):
                ours.append(a_second(own))
                loops.append(a_second(other))
            a, b = statistics.median(ours), statistics.median(loops)
            print(f"{name}: {b:.0f} a second there, {a:.0f} here, {a / b:.2f} times as many", flush=True)


if __name__ == "__main__":
    main()
