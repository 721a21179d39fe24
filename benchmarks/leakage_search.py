"""What attacks that search examples rebuild: DLG, iDLG and Inverting Gradients on victims of their own.

Usage: leakage_search.py --results FOLDER [--first N] [--victims N] [--options JSON] [CASE ...]. One line a
victim is written to FOLDER/CASE.jsonl; what is there already is not run again, so that other options of the
attack (an object, over the case's own) need another folder. ``all`` runs every case; without a case the
table of what is there is printed. Victim i is test images i B to (i + 1) B - 1 of a model of seed
i (or of the case's), and the attack's stream is number i; the message is an update in float32 at lr 0.1.
PSNR in dB after matching, of each image; shares of victims of which the worst image has an MSE below a
bound; CPU seconds a victim.
"""

import argparse
import copy
import json
import statistics
import time
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gauntlet.attacks.leakage import LEAKAGE_ATTACKS
from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.clients.data import DATASETS
from gauntlet.clients.models import MODELS
from gauntlet.clients.placement.device import one_thread
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation, Truth
from gauntlet.core.seeds import generator, seeded_torch

SOLVED = {"optimizer": "levenberg_marquardt", "init": "uniform", "restarts": 5}
WARMED = {**SOLVED, "warm_up": 15}
READ = {**WARMED, "labels": "bias_counts"}


@dataclass(frozen=True)
class Case:
    """Victims of one kind, and the attack on them."""

    data: str
    model: str
    attack: str
    options: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 1
    victims: int = 10
    told: bool = False
    trained: int = 0
    lr: float = 0.1
    model_seed: int | None = None


CASES = {
    "mnist-dlg-authors": Case("mnist", "lenet", "dlg"),
    "mnist-dlg": Case("mnist", "lenet", "dlg", SOLVED),
    "mnist-idlg": Case("mnist", "lenet", "idlg", SOLVED),
    "mnist-dlg-b2": Case("mnist", "lenet", "dlg", SOLVED, 2, 5),
    "mnist-dlg-b4": Case("mnist", "lenet", "dlg", SOLVED, 4, 5),
    "mnist-dlg-trained": Case("mnist", "lenet", "dlg", SOLVED, trained=500),
    "mnist-idlg-trained": Case("mnist", "lenet", "idlg", SOLVED, trained=500),
    "mnist-idlg-trained-warm": Case("mnist", "lenet", "idlg", WARMED, victims=5, trained=500),
    "fashion-dlg": Case("fashion_mnist", "lenet", "dlg", SOLVED),
    "cifar-idlg": Case("cifar10", "lenet", "idlg", WARMED),
    "cifar-dlg": Case("cifar10", "lenet", "dlg", READ),
    "cifar-dlg-searched": Case("cifar10", "lenet", "dlg", WARMED),
    "cifar-dlg-b2": Case("cifar10", "lenet", "dlg", {**READ, "restarts": 2}, 2, 2),
    "cifar-dlg-b2-searched": Case("cifar10", "lenet", "dlg", {**WARMED, "restarts": 1}, 2, 2),
    "cifar-idlg-trained": Case("cifar10", "lenet", "idlg", WARMED, victims=5, trained=500),
    "cifar-ig": Case("cifar10", "wide", "inverting_gradients"),
    "cifar-ig-2": Case("cifar10", "wide", "inverting_gradients", {"restarts": 2}),
    "cifar-ig-seed-0": Case("cifar10", "wide", "inverting_gradients", model_seed=0),
    "cifar-ig-small": Case("cifar10", "narrow", "inverting_gradients", {"max_iterations": 500}, victims=5),
    "cifar-ig-small-tv": Case(
        "cifar10", "narrow", "inverting_gradients", {"tv": (0.3, 0.005), "tv_bound": None}
    ),
    "cifar-ig-b4": Case("cifar10", "wide", "inverting_gradients", {}, 4, 3, told=True),
    "cifar-ig-b8": Case("cifar10", "wide", "inverting_gradients", {}, 8, 2, told=True),
    "cifar-ig-trained": Case("cifar10", "wide", "inverting_gradients", victims=5, trained=300),
    "normed-ig-b4": Case("cifar10", "normed", "inverting_gradients", {"restarts": 2}, 4, 5, told=True),
    "normed-gi-b4": Case("cifar10", "normed", "gradinversion", {"restarts": 2}, 4, 5, told=True),
    "normed-gi-running-b4": Case(
        "cifar10", "normed", "gradinversion", {"restarts": 2, "statistics": "running"}, 4, 5, told=True
    ),
    "normed-gi-none-b4": Case(
        "cifar10", "normed", "gradinversion", {"restarts": 2, "bn": 0.0}, 4, 5, told=True
    ),
    "normed-ig-b8": Case("cifar10", "normed", "inverting_gradients", {"restarts": 2}, 8, 3, told=True),
    "normed-gi-b8": Case("cifar10", "normed", "gradinversion", {"restarts": 2}, 8, 3, told=True),
    "fashion-ig": Case("fashion_mnist", "wide", "inverting_gradients"),
    "digits-ig": Case("digits", "deep", "inverting_gradients", {"max_iterations": 100}),
}


def convolutions(a: int, b: int, c: int, channels: int, side: int, normed: bool = False) -> nn.Module:
    """Three convolutions with ReLU, two max-pools, one linear layer; batch norms behind the convolutions."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        norm = [nn.BatchNorm2d(outputs)] if normed else []
        return [nn.Conv2d(inputs, outputs, 3, padding=1), *norm, nn.ReLU()]

    layers = [*block(channels, a), *block(a, b), nn.MaxPool2d(2), *block(b, c), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(c * (side // 4) ** 2, 10))


def model_of(case: Case, shape: tuple[int, ...], seed: int) -> nn.Module:
    """Return the victim's model, untrained."""
    with seeded_torch(generator(seed, "weights")):
        if case.model == "lenet":
            return MODELS.build("lenet_sigmoid", {}).build(shape, 10)
        if case.model == "deep":
            inner = [m for n in (64, 128, 128) for m in (nn.Linear(n, 128), nn.GELU())]
            return nn.Sequential(nn.Flatten(), *inner, nn.Linear(128, 10))
        widths = (32, 64, 64) if case.model == "wide" else (16, 32, 32)
        return convolutions(*widths, shape[0], shape[1], case.model == "normed")


@cache
def images(name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return 5000 training images and labels, and test images and labels; values in [0, 1]."""
    data = DATASETS.build(name, {}).load()

    def unit(x: Any) -> Tensor:
        values = torch.tensor(x).float()
        return values / (255 if values.max() > 16 else float(values.max()))

    train, test = slice(0, 5000), slice(0, 2000)
    return (
        unit(data.x[train]),
        torch.as_tensor(data.y[train]).long(),
        unit(data.test_x[test]),
        torch.as_tensor(data.test_y[test]).long(),
    )


def train(model: nn.Module, case: Case) -> None:
    """Take steps of Adam on batches of 64 training images."""
    x, y, _, _ = images(case.data)
    adam, order = torch.optim.Adam(model.parameters(), 1e-3), generator(0, "order")
    for _ in range(case.trained):
        picked = torch.from_numpy(order.integers(len(x), size=64))
        adam.zero_grad()
        functional.cross_entropy(model(x[picked]), y[picked]).backward()  # type: ignore[no-untyped-call]
        adam.step()


def observed(case: Case, number: int) -> tuple[Observation, Truth]:
    """Return one victim's message, and what it trained on."""
    first, size = number * case.batch_size, case.batch_size
    _, _, x, y = (part[first : first + size] for part in images(case.data))
    shape = tuple(x.shape[1:])
    model = model_of(case, shape, number if case.model_seed is None else case.model_seed)
    train(model, case)
    layout = Layout.of(model)
    named = dict(model.named_parameters())
    local = copy.deepcopy(model)  # whose buffers move
    gradients = torch.autograd.grad(functional.cross_entropy(local(x), y), list(local.parameters()))
    buffers = layout.flatten_buffers(dict(local.named_buffers()))
    before = layout.flatten(named)
    update = before - case.lr * layout.flatten(dict(zip(named, gradients, strict=True))) - before
    labels = tuple(y.tolist()) if case.told else None
    knowledge = LeakageKnowledge(batch_size=size, labels=labels, local_steps=1, lr=case.lr)
    seen = Observation(
        0, number, model, layout, b"", update, shape, 10, (0.0, 1.0), knowledge,
        releases={"buffers": buffers} if len(buffers) else {},
    )  # fmt: skip
    return seen, Truth(x, y)


def victim(case: Case, number: int) -> dict[str, Any]:
    """Attack one victim."""
    observation, truth = observed(case, number)
    attack = LEAKAGE_ATTACKS.build(case.attack, case.options)
    begin = time.process_time()
    found = attack.reconstruct([observation], generator(number, "attack"))
    seconds = time.process_time() - begin
    scores = score(found, truth)
    return {
        "victim": number,
        "psnr": [round(v, 2) for v in scores.psnr.tolist()],
        "mse": scores.mse.tolist(),
        "labels": scores.label_accuracy,
        "cost": found.cost,
        "stopped": found.stopped,
        "restarts": found.details["restarts"],
        "iterations": len(found.trace),
        "seconds": round(seconds, 1),
    }


def row(name: str, rows: list[dict[str, Any]]) -> str:
    """Return one case's line of the table."""
    psnr = [v for r in rows for v in r["psnr"]]
    worst = [max(r["mse"]) for r in rows]
    shares = " | ".join(f"{sum(mse < bound for mse in worst)}/{len(rows)}" for bound in (1e-3, 1e-4))
    seconds = [r["seconds"] for r in rows]
    labels = statistics.mean(r["labels"] for r in rows)
    figures = f"{statistics.mean(psnr):.1f} | {statistics.median(psnr):.1f} | {min(psnr):.1f} | {shares}"
    spent = f"{statistics.mean(seconds):.1f} (most {max(seconds):.1f})"
    return f"| `{name}` | {figures} | {labels:.2f} | {spent} |"


def main() -> None:
    """Run what is asked for and not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[[], "all", *CASES], metavar="CASE")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--victims", type=int)
    parser.add_argument("--options", type=json.loads, default={})
    asked = parser.parse_args()
    asked.results.mkdir(parents=True, exist_ok=True)
    for name in CASES if "all" in asked.cases else asked.cases:
        case, file = CASES[name], asked.results / f"{name}.jsonl"
        case = replace(case, options={**case.options, **asked.options})
        done = {r["victim"] for r in read(file)}
        for number in range(asked.first, asked.first + (asked.victims or case.victims)):
            if number not in done:
                with one_thread(), file.open("a") as lines:
                    lines.write(json.dumps(victim(case, number)) + "\n")
                print(name, read(file)[-1], flush=True)
    print("| case | mean PSNR | median | worst | MSE < 1e-3 | < 1e-4 | labels | CPU s |")
    print("|---|---|---|---|---|---|---|---|")
    for name in CASES:
        if rows := read(asked.results / f"{name}.jsonl"):
            print(row(name, rows))


def read(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a file; none where there is no file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


if __name__ == "__main__":
    main()
