"""What clients' own backward passes, depths and slopes cost and give: runs that differ in one thing.

Usage: local_rules.py CASE [SEED ...]. CASE is one of those below; seeds are 0, 1, 2 unless given. A cell is
each seed's value of the last round, and in brackets their mean. Where clients have models of several depths,
the accuracy of every depth's part of the final model is taken, and their mean. Bytes are those of all rounds
over those of the first row. Options are those below; where a row names a step size, the best was
looked for with seed 9, which is not among the seeds.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from asked import words
from torch import nn

UNIFORM = {"name": "mean", "weighting": "uniform"}


def small_cnn(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Return two 5 x 5 convolutions of 10 and 20 channels with pooling, and a hidden layer of 50."""
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 10, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(10, 20, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(320, 50),
        nn.ReLU(),
        nn.Linear(50, num_classes),
    )


def fedskel(ratio: float) -> dict[str, Any]:
    """Return FedSkel's changes to a scenario."""
    return {"algorithm": {"name": "fedskel", "keep_ratios": [ratio]}, "codec": "zero_rows"}


def depths(data: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the case of clients with one to five hidden layers of equal width behind the first."""
    common = {
        "rounds": 40,
        "num_clients": 20,
        "sampler": {"name": "fixed_size", "cohort_size": 10},
        "data": data,
        "partition": {"name": "dirichlet", "alpha": 0.5},
        "model": {"name": "mlp", "hidden": [64] * 6},
        "algorithm": "nested_depth",
        "training": {"batch_size": 32, "lr": 0.1, "local_steps": 10},
    }
    rows = {
        "mean": {"defense": UNIFORM},
        "mix": {"defense": {"name": "inco", "form": "mix"}},
        "projection": {"defense": {"name": "inco", "form": "projection"}},
    }
    return common, rows


SHARES = (1.0, 0.5, 0.25, 0.1)
DIGITS: dict[str, Any] = {
    "num_clients": 10,
    "data": "digits",
    "partition": {"name": "dirichlet", "alpha": 0.5},
    "defense": UNIFORM,
}


def slopes(lr: float, **options: Any) -> dict[str, Any]:
    """Return forward gradients' changes to a scenario."""
    told = {"name": "forward_gradient", "num_draws": 10, "local_steps": 5, "lr": lr, **options}
    return {"algorithm": told}


def small_digits_cnn(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Return a 3 x 3 convolution of 8 channels, tanh, pooling, and a linear layer."""
    convolution = nn.Conv2d(input_shape[0], 8, 3, padding=1)
    return nn.Sequential(
        convolution, nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 16, num_classes)
    )


def layerwise() -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the case of rules without back-propagation, on three models."""
    models: dict[str, Any] = {
        "64-64": {"name": "mlp", "hidden": [64, 64], "activation": "tanh"},
        "convolution": small_digits_cnn,
        "recurrent": "rnn",
    }
    rules: dict[str, Any] = {
        "back-propagation": "fedavg",
        "tpsgd": "tpsgd",
        "last layer only": {"name": "tpsgd", "freeze_hidden": True},
    }
    rows = {f"{m}, {r}": {"model": models[m], "algorithm": rules[r]} for m in models for r in rules}
    for feedback in ("shared", "secret"):
        told = {"name": "dfa", "feedback": feedback}
        rows[f"64-64, dfa, {feedback}"] = {"model": models["64-64"], "algorithm": told}
    return DIGITS | {"rounds": 40, "training": {"batch_size": 32, "lr": 0.2, "local_epochs": 1}}, rows


def recurrent() -> dict[str, dict[str, Any]]:
    """Return rows of the recurrent layer alone, each rule at the best step size of those that were tried."""
    training = layerwise()[0]["training"]
    rules: dict[str, tuple[Any, float]] = {
        "back-propagation": ("fedavg", 0.5),
        "tpsgd, last": ({"name": "tpsgd", "recurrent": "last"}, 0.05),
        "tpsgd, last, weight 0.1": ({"name": "tpsgd", "recurrent": "last", "weight": 0.1}, 0.5),
        "last layer only": ({"name": "tpsgd", "freeze_hidden": True}, 4.0),
    }
    return {
        f"{row}, lr {lr}": {"model": "rnn", "algorithm": rule, "training": {**training, "lr": lr}}
        for row, (rule, lr) in rules.items()
    }


def guesses() -> dict[str, dict[str, Any]]:
    """Return rows of projected guesses beside the gradient, all on the dense model of ``layers``."""
    rules: dict[str, Any] = {"back-propagation": "fedavg"}
    rules |= {
        f"local_guess, {guess}": {"name": "local_guess", "guess": guess} for guess in ("head", "random")
    }
    model = {"name": "mlp", "hidden": [64, 64], "activation": "tanh"}
    return {row: {"model": model, "algorithm": rule} for row, rule in rules.items()}


def depth(keep_last: float) -> dict[str, Any]:
    """Return the changes of stochastic depth."""
    return {
        "model": {"name": "residual_mlp", "keep_last": keep_last},
        "algorithm": {"name": "stochastic_depth", "keep_last": keep_last},
    }


CASES: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {
    "fedskel": (
        {
            "rounds": 24,
            "num_clients": 10,
            "data": "mnist",
            "partition": {"name": "dirichlet", "alpha": 0.5},
            "model": small_cnn,
            "training": {"batch_size": 32, "lr": 0.1, "local_steps": 10},
            "defense": UNIFORM,
        },
        {f"r = {ratio}": fedskel(ratio) for ratio in (1.0, 0.5, 0.2, 0.1)},
    ),
    "layers": layerwise(),
    "guess": (layerwise()[0], guesses()),
    "recurrent": (layerwise()[0], recurrent()),
    "depth": (
        DIGITS
        | {"data": "mnist", "rounds": 20, "training": {"batch_size": 32, "lr": 0.1, "local_steps": 10}},
        {
            **{f"p_L = {keep}": depth(keep) for keep in (1.0, 0.8, 0.5)},
            "p_L = 0.5, per batch": {"model": {"name": "residual_mlp", "keep_last": 0.5, "per_batch": True}},
        },
    ),
    "sketch": (
        DIGITS
        | {
            "rounds": 40,
            "model": {"name": "mlp", "hidden": [64]},
            "training": {"batch_size": 32, "lr": 0.2, "local_epochs": 1},
        },
        {
            "FedAvg": {},
            **{f"k / B = {k}": {"algorithm": {"name": "randomized_backward", "share": k}} for k in SHARES},
        },
    ),
    "inco-mnist": depths("mnist"),
    "inco-fashion": depths("fashion_mnist"),
    "forward": (
        DIGITS | {"rounds": 100, "model": "logistic_regression", "training": {"batch_size": 32, "lr": 0.3}},
        {
            "FedAvg, lr 0.3": {"training": {"batch_size": 32, "lr": 0.3, "local_steps": 5}},
            "classic, lr 0.03": slopes(0.03, estimator="classic"),
            "spsa, lr 0.1": slopes(0.1),
            "spsa, sign, lr 0.03": slopes(0.03, sign=True),
            "16 bits, sign, lr 0.03": slopes(0.03, sign=True, estimator="fixed_point", eps=1e-2),
            "8 bits, sign, lr 0.03": slopes(0.03, sign=True, estimator="fixed_point", eps=0.1, weight_bits=8),
        },
    ),
}


def measured(case: str, changes: dict[str, Any], seed: int) -> tuple[float, float]:
    """Return the last round's accuracy, and the bytes that clients sent in all."""
    import gauntlet

    base = {"name": case, "seed": seed, "evaluation": {"every": 1000}, "runtime": {"pool": "serial"}}
    with tempfile.TemporaryDirectory() as folder:
        scenario = gauntlet.Scenario(**base | CASES[case][0] | changes)
        run = gauntlet.simulate(scenario, Path(folder) / "run")
        sent = float(run.rounds["bytes_up"].sum())
        if case.startswith("inco"):
            return of_all_depths(run.model(), scenario), sent
        return float(run.rounds.iloc[-1]["accuracy"]), sent


def of_all_depths(model: nn.Module, scenario: Any) -> float:
    """Return the mean accuracy of the parts of a model that clients of each depth have."""
    from gauntlet.clients.algorithms.nested_depth import NestedDepth
    from gauntlet.server.simulation import prepare

    x, y = prepare(scenario.run_spec()).data.test()
    with torch.no_grad():
        parts = [part.model.eval() for part in NestedDepth().levels(model, tuple(x.shape[1:]))]
        return sum(float((part(x).argmax(1) == y).float().mean()) for part in parts) / len(parts)


def main() -> None:
    """Measure, and print a Markdown table."""
    given = words(__doc__, case=str, seeds=[])
    if given.case not in CASES:
        sys.exit(f"CASE must be one of {', '.join(CASES)}, got '{given.case}'")
    seeds = [int(seed) for seed in given.seeds] or [0, 1, 2]
    print(f"| {given.case} | accuracy, seeds {', '.join(map(str, seeds))} | bytes up |\n|---|---|---|")
    whole = 0.0
    for row, changes in CASES[given.case][1].items():
        found = [measured(given.case, changes, seed) for seed in seeds]
        sent, accuracies = sum(one[1] for one in found), [one[0] for one in found]
        whole = whole or sent
        mean = sum(accuracies) / len(seeds)
        each = ", ".join(f"{a:.3f}" for a in accuracies)
        print(f"| {row} | {each} ({mean:.3f}) | {sent / whole:.3f} |", flush=True)


if __name__ == "__main__":
    main()
