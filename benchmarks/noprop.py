"""What blocks that learn by themselves reach, beside back-propagation and tpSGD: accuracy and bytes.

Usage: noprop.py CASE [SEED ...]. CASE is ``digits`` (ten clients, Dirichlet 0.5, 40 rounds of one pass) or
``mnist`` (ten clients, IID, 20 rounds of ten steps); seeds are 0, 1, 2 unless given. Step sizes are those
below, each the best of its grid with seed 9 (``noprop.py CASE-grid 9`` prints them), but for one block a
client of ``mnist``, which takes that of all three. A cell is each seed's
accuracy after the last round, and in brackets their mean. "First alone" is what the first block says by
itself, "all, fresh noise" what all blocks say where each example has draws of its own (mean of ten). Bytes
are those up in all rounds, over those of the first row.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from asked import words
from torch import nn

from gauntlet.clients.algorithms.noprop import with_blocks
from gauntlet.clients.models.denoising import NoPropNet
from gauntlet.clients.models.normalized import Normalized

GRID, TPSGD_GRID = (0.3, 1.0, 3.0), (0.02, 0.06, 0.2)
COMMON = {"num_clients": 10, "defense": {"name": "mean", "weighting": "uniform"}}


def blocks(count: int, lr: float, rounds: int = 0, hidden: int = 64, **options: Any) -> dict[str, Any]:
    """Return the changes of a row of NoProp."""
    model = {"name": "noprop", "blocks": count, "hidden": hidden}
    changes: dict[str, Any] = {"algorithm": {"name": "noprop", "blocks": count, **options}, "model": model}
    return changes | {"lr": lr} | ({"rounds": rounds} if rounds else {})


def layers(width: int, rule: str, lr: float, activation: str = "relu") -> dict[str, Any]:
    """Return the changes of a row of another rule, on two hidden layers."""
    model = {"name": "mlp", "hidden": [width, width], "activation": activation}
    return {"algorithm": rule, "model": model, "lr": lr}


CASES: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {
    "digits": (
        {
            "rounds": 40,
            "data": "digits",
            "partition": {"name": "dirichlet", "alpha": 0.5},
            "training": {"batch_size": 32, "local_epochs": 1},
        },
        {
            "back-propagation, 64-64": layers(64, "fedavg", 1.0),
            "T = 1": blocks(1, 1.0),
            "T = 3": blocks(3, 3.0),
            "T = 5": blocks(5, 3.0),
            "T = 3, cross-entropy": blocks(3, 1.0, loss="cross_entropy"),
            "T = 3, one a client": blocks(3, 1.0, blocks_per_client=1),
            "T = 3, one a client, 120 rounds": blocks(3, 3.0, 120, blocks_per_client=1),
        },
    ),
    "mnist": (
        {"rounds": 20, "data": "mnist", "training": {"batch_size": 32, "local_steps": 10}},
        {
            "back-propagation, 64-64": layers(64, "fedavg", 0.3),
            "back-propagation, 160-160": layers(160, "fedavg", 0.3),
            "tpSGD, 160-160": layers(160, "tpsgd", 0.06, "tanh"),
            "T = 3": blocks(3, 1.0),
            "T = 3, one a client": blocks(3, 1.0, blocks_per_client=1),
            "T = 3, one a client, 60 rounds": blocks(3, 1.0, 60, blocks_per_client=1),
        },
    ),
}


def measured(case: str, changes: dict[str, Any], seed: int) -> tuple[float, list[float], float]:
    """Return the accuracy, those of the first block alone and with fresh noise, and the bytes up."""
    import gauntlet
    from gauntlet.server.simulation import prepare

    lr, common = changes["lr"], CASES[case][0]
    told = {key: value for key, value in changes.items() if key != "lr"}
    base = {"name": case, "seed": seed, "evaluation": {"every": 1000}, "runtime": {"pool": "serial"}}
    training = {"training": {**common["training"], "lr": lr}}
    with tempfile.TemporaryDirectory() as folder:
        scenario = gauntlet.Scenario(**base | COMMON | common | training | told)
        run = gauntlet.simulate(scenario, Path(folder) / "run")
        sent = float(run.rounds["bytes_up"].sum())
        model = run.model().eval()
        net = model.net if isinstance(model, Normalized) else model
        more = []
        if isinstance(net, NoPropNet):
            x, y = prepare(scenario.run_spec()).data.test()
            more = [correct(with_blocks(model, [1]).model, x, y), fresh(model, net, x, y, seed)]
        return float(run.rounds.iloc[-1]["accuracy"]), more, sent


def correct(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the accuracy."""
    with torch.no_grad():
        return float((model(x).argmax(1) == y).float().mean())


def fresh(model: nn.Module, net: NoPropNet, x: torch.Tensor, y: torch.Tensor, seed: int) -> float:
    """Return the accuracy where each example has draws of its own, mean of ten."""
    stream, kept, found = torch.Generator().manual_seed(seed), net.draws, []
    for _ in range(10):
        net.draws = torch.randn(kept.shape[0], len(x), kept.shape[1], generator=stream)
        found.append(correct(model, x, y))
    net.draws = kept
    return sum(found) / len(found)


def cell(values: list[float]) -> str:
    return f"{', '.join(f'{v:.3f}' for v in values)} ({sum(values) / len(values):.3f})"


def main() -> None:
    """Measure, and print a Markdown table."""
    given = words(__doc__, case=str, seeds=[])
    case = given.case.removesuffix("-grid")
    if case not in CASES:
        sys.exit(f"CASE must be one of {', '.join(CASES)}, or one of them and -grid; got '{given.case}'")
    seeds, whole = [int(seed) for seed in given.seeds] or [0, 1, 2], 0.0
    print(
        f"| {case} | lr | accuracy, seeds {', '.join(map(str, seeds))} | first alone | fresh noise | bytes |"
    )
    print("|---|---|---|---|---|---|")
    for row, changes in CASES[case][1].items():
        grid = TPSGD_GRID if changes["algorithm"] == "tpsgd" else GRID
        for lr in grid if given.case != case else (changes["lr"],):
            found = [measured(case, {**changes, "lr": lr}, seed) for seed in seeds]
            sent = sum(one[2] for one in found)
            whole = whole or sent
            more = [cell(list(column)) for column in zip(*(one[1] for one in found), strict=True)] or ["", ""]
            line = [row, f"{lr:g}", cell([one[0] for one in found]), *more, f"{sent / whole:.3f}"]
            print(f"| {' | '.join(line)} |", flush=True)


if __name__ == "__main__":
    main()
