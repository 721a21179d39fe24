"""What the exact leakage attacks rebuild from float32 updates at lr 0.1, on victims of real images.

Usage: leakage_exact.py FOLDER [--study spear bias rgap ...] [--half dev test ten other rest] [--table]. Runs
what is not there yet, one JSON file a victim, and prints a Markdown table a study: certificates, errors, and
CPU seconds of one thread with their mean, median and worst. Options were chosen on the victims of the half
``dev`` (seeds 0-4); published are those of ``test`` (seeds 100-104), of ``ten`` (100-109), of ``other``
(200-204), or of ``rest`` (3-7, where seeds 0-2 alone were chosen on): other images, other weights.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import mean, median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage import LEAKAGE_ATTACKS
from gauntlet.attacks.leakage.parts.metrics import match, mse
from gauntlet.clients.data import DATASETS
from gauntlet.clients.data.base import Dataset
from gauntlet.clients.models import MODELS, Normalized
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation
from gauntlet.core.seeds import generator, seeded_torch

HALVES = {
    "dev": range(5),
    "test": range(100, 105),
    "ten": range(100, 110),
    "other": range(200, 205),
    "rest": range(3, 8),
}
LR = 0.1
BRIEF = {"max_seconds": 4}  # a search that fails takes all of its time
Case = dict[str, Any]


def case(data: str, size: int, width: int = 0, **other: Any) -> Case:
    """Return one row of a table: an attack on batches of a data set behind a model."""
    return {"attack": "spear", "data": data, "size": size, "width": width, "depth": 2, "trained": 0} | other


STUDIES: dict[str, list[Case]] = {
    "spear": [
        case("mnist", 8, 400),
        case("mnist", 16, 512),
        case("mnist", 32, 1024),
        case("cifar10", 16, 1024),
        case("cifar10", 16, 1024, normalize=False),
        case("fashion_mnist", 8, 400),
        case("fashion_mnist", 16, 512),
        case("fashion_mnist", 32, 1024),
    ],
    "large": [
        case(d, 64, w, options={"max_seconds": 60})
        for d, w in (("mnist", 2048), ("mnist", 1024), ("cifar10", 2048))
    ],
    "narrow": [
        *(case("mnist", 8, w, options=BRIEF) for w in (128, 64, 32)),
        *(case("mnist", 16, w, options=BRIEF) for w in (256, 128)),
        *(case("cifar10", 16, w, options=BRIEF) for w in (512, 256, 128)),
        case("mnist", 16, 512, depth=1, options=BRIEF),
        case("fashion_mnist", 8, 128, options=BRIEF),
    ],
    "trained": [
        case("mnist", 8, 400, trained=200),
        case("mnist", 16, 512, trained=200),
        case("fashion_mnist", 16, 512, trained=200),
    ],
    "trained-16": [case(d, 16, 512, trained=200) for d in ("mnist", "fashion_mnist")],
    "trained-rgap": [case(d, 1, attack="rgap", trained=n) for d in ("mnist", "cifar10") for n in (200, 2000)],
    "bias": [case(d, 1, 200, attack="bias_trick") for d in ("mnist", "fashion_mnist", "cifar10")],
    "payloads": [
        case("mnist", 8, 400, payload="gradient"),
        case("mnist", 1, 200, attack="bias_trick", payload="gradient"),
        case("mnist", 1, attack="rgap", payload="gradient"),
    ],
    "rgap": [case(d, 1, attack="rgap") for d in ("mnist", "fashion_mnist", "cifar10")],
}


def victim(row: Case, seed: int) -> tuple[Observation, torch.Tensor]:
    """Return what a client sends after one step on a random batch of test images, and the images."""
    data = loaded(row["data"])
    places = generator(seed, "victims").choice(len(data.test_x), row["size"], replace=False)
    x, y = images(data.test_x[places]), torch.from_numpy(data.test_y[places])
    model = model_of(row, tuple(x.shape[1:]), seed, data if row["trained"] else None)
    if row.get("normalize", True):
        model = Normalized(model, data.mean, data.std)
    layout, own = Layout.of(model), dict(model.named_parameters())
    loss = functional.cross_entropy(model(x), y)
    gradients = torch.autograd.grad(loss, [own[slot.name] for slot in layout.parameters])
    gradient, before = torch.cat([g.reshape(-1) for g in gradients]), layout.flatten(own)
    sent = row.get("payload", "update")
    update = -gradient if sent == "gradient" else (before - LR * gradient) - before
    lr = 1.0 if sent == "gradient" else LR
    told = LeakageKnowledge(batch_size=len(x), local_steps=1, lr=lr, client_defense="none")
    shape = tuple(x.shape[1:])
    return Observation(0, 0, model, layout, b"", update, shape, 10, (0.0, 1.0), told, kind=sent), x


@cache
def loaded(name: str) -> Dataset:
    """Return a data set, of CIFAR-10 the first training batch."""
    return DATASETS.build(name, {"num_batches": 1} if name == "cifar10" else {}).load()


def images(pixels: Any) -> torch.Tensor:
    """Return pixels from 0 to 255 as images in [0, 1].  # [B, channels, height, width]"""
    x = torch.from_numpy(pixels / 255).float()
    return x if x.ndim == 4 else x[:, None]


def model_of(row: Case, shape: tuple[int, ...], seed: int, data: Any) -> nn.Module:
    """Return the model of a row, trained by plain steps of 32 images where the row says so."""
    options = {"hidden": (row["width"],) * row["depth"]} if row["width"] else {}
    with seeded_torch(generator(seed, "weights")):
        model = MODELS.build("mlp" if row["width"] else "lenet_sigmoid", options).build(shape, 10)
    if data is None:
        return model
    whole = Normalized(model, data.mean, data.std) if row.get("normalize", True) else model
    optimizer, stream = torch.optim.SGD(whole.parameters(), lr=0.05), generator(seed, "training")
    for _ in range(row["trained"]):
        places = stream.choice(len(data.x), 32, replace=False)
        loss = functional.cross_entropy(whole(images(data.x[places])), torch.from_numpy(data.y[places]))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model


def attacked(row: Case, seed: int) -> dict[str, Any]:
    """Return what an attack on one victim gives."""
    observation, x = victim(row, seed)
    attack = LEAKAGE_ATTACKS.build(row["attack"], row.get("options", {}))
    start = time.process_time()
    found = attack.reconstruct([observation], generator(seed, "attack"))
    seconds = time.process_time() - start
    errors = mse(found.x[match(found.x, x)].clamp(0, 1), x)
    return {
        "mse": [float(e) for e in errors],
        "seconds": seconds,
        "cost": found.cost,
        "stopped": found.stopped,
        "details": dict(found.details),
    }


def said(row: Case) -> str:
    """Return a row's name."""
    words = [row["data"], f"B = {row['size']}"]
    words += [f"{row['depth']} x {row['width']}"] if row["width"] else ["lenet_sigmoid"]
    words += [f"{row['trained']} steps trained"] if row["trained"] else []
    words += [] if row.get("normalize", True) else ["not normalised"]
    words += ["gradient in float32"] if row.get("payload") == "gradient" else []
    return ", ".join(words)


def print_table(study: str, half: str, done: Callable[[Case, int], dict[str, Any] | None]) -> None:
    """Print a study's table; a row is left out where victims are missing."""
    print(f"\n{study}, {half}: seeds {HALVES[half][0]}-{HALVES[half][-1]}\n")
    print("| victims | recovered | certified | MSE mean | median | worst | CPU s mean | median | worst |")
    print("|---" * 9 + "|")
    for row in STUDIES[study]:
        results = [r for seed in HALVES[half] if (r := done(row, seed)) is not None]
        if len(results) < len(HALVES[half]):
            continue
        errors, seconds = [e for r in results for e in r["mse"]], [r["seconds"] for r in results]
        whole = sum(max(r["mse"]) < 1e-4 for r in results)
        sure = sum(r["stopped"] in ("converged", "closed_form") for r in results)
        figures = [f"{f(errors):.1e}" for f in (mean, median, max)]
        figures += [f"{f(seconds):.2f}" for f in (mean, median, max)]
        counts = f"{whole} of {len(results)} | {sure} of {len(results)}"
        print(f"| {said(row)} | {counts} | " + " | ".join(figures) + " |")


def main() -> None:
    """Run what is missing, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--study", nargs="*", default=list(STUDIES), choices=list(STUDIES))
    parser.add_argument("--half", nargs="*", default=["test"], choices=list(HALVES))
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)

    def place(row: Case, seed: int) -> Path:
        words = "-".join("".join(c for c in str(v) if c.isalnum() or c == "_") for v in row.values())
        return Path(given.folder / f"{words}-{seed}.json")

    def done(row: Case, seed: int) -> dict[str, Any] | None:
        path = place(row, seed)
        return json.loads(path.read_text()) if path.exists() else None

    for study in given.study:
        for half in given.half:
            for row in STUDIES[study]:
                for seed in HALVES[half]:
                    if not given.table and done(row, seed) is None:
                        place(row, seed).write_text(json.dumps(attacked(row, seed)))
            print_table(study, half, done)


if __name__ == "__main__":
    main()
