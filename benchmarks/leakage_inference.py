"""What is inferred from one gradient: labels and members of a batch of digits, a property of Adult's people.

    python benchmarks/leakage_inference.py labels
    python benchmarks/leakage_inference.py members
    python benchmarks/leakage_inference.py property
    python benchmarks/leakage_inference.py fashion

Measured are shares of labels found, order aside, over 50 random batches; the area under the curve over the
members and non-members of 20 seeds together; and that over 100 messages, half of them of clients that hold
men alone and half of such that hold women alone. Of Fashion-MNIST: labels, and the area under the curve of
eight members and eight others of their classes, one number a seed, of which mean, least and largest are said;
clients hold test images, before an untrained MLP 784-64-10 and one trained on training images.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from statistics import mean

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from gauntlet.attacks.leakage import INFERENCE_ATTACKS
from gauntlet.attacks.leakage.lira import LiRA
from gauntlet.attacks.leakage.membership import Membership
from gauntlet.attacks.leakage.parts.labels import round_counts
from gauntlet.attacks.leakage.parts.ranking import auc
from gauntlet.attacks.leakage.property_inference import PropertyInference
from gauntlet.clients.data import DATASETS
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge, Records
from gauntlet.core.observation import Observation
from gauntlet.core.seeds import generator, seeded_torch

RULES = (
    ("llg", {}),
    ("llg", {"read": "bias"}),
    ("llg_whitebox", {}),
    ("ilrg", {}),
    ("gradinversion_labels", {}),
    ("dimitrov_counts", {"init": "uniform"}),
    ("bias_counts", {}),
    ("bias_counts", {"guess": "random_inputs"}),
)
MALE = 46  # the column of Adult that says so; the one before says female
SIZES = (1, 8, 32)
NOISES = (0.0, 1e-3, 1e-2, 1e-1, 1.0)


def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    return torch.tensor(data.images / 16, dtype=torch.float32).flatten(1), torch.tensor(data.target)


def net(seed: int, *hidden: int, inputs: int = 64) -> nn.Sequential:
    sizes = (inputs, *hidden)
    with seeded_torch(generator(seed, "weights")):
        layers = [part for a, b in zip(sizes, hidden, strict=False) for part in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*layers, nn.Linear(sizes[-1], 10))


def trained(x: Tensor, y: Tensor) -> nn.Sequential:
    model = net(0, 64)
    adam = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        adam.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        adam.step()
    return model


def message(model: nn.Module, x: Tensor, y: Tensor, noise: Tensor | float = 0.0) -> Observation:
    """Return the gradient of a batch as an attacker sees it."""
    own, layout = list(model.parameters()), Layout.of(model)
    gradients = torch.autograd.grad(functional.cross_entropy(model(x), y), own)
    sent = -torch.cat([g.flatten() for g in gradients]) + noise
    known = LeakageKnowledge(batch_size=len(x), local_steps=1, lr=1.0)
    return Observation(0, 0, model, layout, b"", sent, (x.shape[1],), 10, (0.0, 1.0), known, kind="gradient")


def labels() -> None:
    x, y = digits()
    fitted = trained(x, y)
    models: dict[str, Callable[[int], nn.Module]] = {
        "linear": lambda t: net(t),
        "MLP 64": lambda t: net(t, 64),
        "MLP 64, trained": lambda _: fitted,
    }
    print_labels(models, x, y)


def print_labels(models: dict[str, Callable[[int], nn.Module]], x: Tensor, y: Tensor) -> None:
    """Print the share of labels that each rule finds, of batches of x [n, F] before each model."""
    for name, make in models.items():
        for size in SIZES:
            print(f"{name}, {size} examples:")
            for rule, options in RULES:
                attack, found = INFERENCE_ATTACKS.build(rule, options), 0.0
                for t in range(50):
                    rows = torch.from_numpy(generator(t, "batch").permutation(len(x))[:size])
                    (scores,) = attack.infer([message(make(t), x[rows], y[rows])])
                    both = torch.minimum(round_counts(scores, size), y[rows].bincount(minlength=10))
                    found += float(both.sum()) / size / 50
                print(f"  {rule} {options or ''}: {found:.2f}")


def fashion() -> None:
    """Print what labels and members of Fashion-MNIST an untrained and a trained model's gradients tell."""
    data = DATASETS.build("fashion_mnist").load()
    (x, test_x), (y, test_y) = (
        [torch.tensor(v[:5000]).flatten(1).float() / 255 for v in (data.x, data.test_x)],
        [torch.tensor(v[:5000]) for v in (data.y, data.test_y)],
    )
    fitted = trained_in_batches(x, y)
    right = (fitted(test_x).argmax(dim=1) == test_y).float().mean()
    print(f"trained: 1000 steps of Adam on 5000 training images; {float(right):.2f} of others are right")
    models: dict[str, Callable[[int], nn.Module]] = {
        "untrained": lambda t: net(t, 64, inputs=784),
        "trained": lambda _: fitted,
    }
    for name, make in models.items():
        for size in SIZES:
            for attack in (Membership(), LiRA()):
                areas = [told_apart(attack, make(t), test_x, test_y, size, t) for t in range(20)]
                words = f"{mean(areas):.2f} ({min(areas):.2f} to {max(areas):.2f})"
                print(f"{name}, {size} examples, {type(attack).__name__}: {words}", flush=True)
    print_labels(models, test_x, test_y)


def trained_in_batches(x: Tensor, y: Tensor) -> nn.Sequential:
    """Return an MLP after 1000 steps of Adam on 64 examples each."""
    model, stream = net(0, 64, inputs=x.shape[1]), generator(0, "order")
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(1000):
        rows = torch.from_numpy(stream.integers(len(x), size=64))
        adam.zero_grad()
        functional.cross_entropy(model(x[rows]), y[rows]).backward()
        adam.step()
    return model


def told_apart(
    attack: Membership | LiRA, model: nn.Module, x: Tensor, y: Tensor, size: int, seed: int
) -> float:
    """Return the area under the curve of ``size`` members and as many others of the same classes."""
    order = torch.from_numpy(generator(seed, "members").permutation(len(x)))
    held, rest, others = order[:size], order[size:-300], order[-300:]
    counts = y[held].bincount(minlength=10).tolist()
    alike = torch.cat([rest[y[rest] == c][:n] for c, n in enumerate(counts)])
    rows = torch.cat([held, alike])
    seen = message(model, x[held], y[held])
    known = replace(
        seen.knowledge, candidates=Records(x[rows], y[rows]), auxiliary=Records(x[others], y[others])
    )
    scores = attack.infer([replace(seen, knowledge=known)])[0]
    return auc(scores[:size], scores[size:])


def members() -> None:
    x, y = digits()
    for alike in (False, True):
        print("non-members of", "the same classes" if alike else "any class")
        for size in SIZES:
            areas = []
            for noise in NOISES:
                inside, outside = [], []
                for seed in range(20):
                    order = torch.from_numpy(generator(seed, "members").permutation(len(x)))
                    held, rest = order[:size], order[size:]
                    if alike:
                        counts = y[held].bincount(minlength=10).tolist()
                        rest = torch.cat([rest[y[rest] == c][:n] for c, n in enumerate(counts)])
                    rows, model = torch.cat([held, rest[:size]]), net(seed, 64, 64, 64)
                    count = sum(p.numel() for p in model.parameters())
                    drawn = torch.from_numpy(generator(seed, "noise").normal(0, noise, count)).float()
                    seen = message(model, x[held], y[held], drawn)
                    asked = LeakageKnowledge(candidates=Records(x[rows], y[rows]))
                    scores = Membership().infer([replace(seen, knowledge=asked)])[0]
                    inside.append(scores[:size])
                    outside.append(scores[size:])
                areas.append(f"{auc(torch.cat(inside), torch.cat(outside)):.2f}")
            print(f"  {size} examples, noise {NOISES}: {', '.join(areas)}")


def sexes(hidden: tuple[int, ...], by_lot: bool, warm: int, size: int) -> float:
    """Return how well messages of men are told from messages of women, where the model sees no ``hidden``."""
    data, stream = DATASETS.build("adult").load(), generator(0, "clients")
    x, test_x = (torch.from_numpy(values).clone() for values in (data.x, data.test_x))
    y, test_y = torch.from_numpy(data.y), torch.from_numpy(data.test_y)
    for values in (x, test_x) if by_lot else ():
        values[:, MALE] = torch.from_numpy(stream.integers(2, size=len(values))).float()
    kept = [i for i in range(x.shape[1]) if i not in hidden]
    with seeded_torch(generator(0, "weights")):
        model = nn.Sequential(Columns(kept), nn.Linear(len(kept), 16), nn.ReLU(), nn.Linear(16, 2))
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(warm):
        rows = torch.from_numpy(stream.integers(len(x), size=128))
        sgd.zero_grad()
        functional.cross_entropy(model(x[rows]), y[rows]).backward()
        sgd.step()
    rows = torch.from_numpy(stream.permutation(len(test_y))[:2000])
    known = LeakageKnowledge(batch_size=size, auxiliary=Records(test_x[rows], test_y[rows]))
    pools, seen = [(x[:, MALE] > 0.5).eq(kind).nonzero().flatten().numpy() for kind in (False, True)], []
    for i in range(100):
        rows = torch.from_numpy(stream.choice(pools[i % 2], size, replace=False))
        one = message(model, x[rows], y[rows])
        seen.append(replace(one, knowledge=known, input_shape=tuple(x.shape[1:]), num_classes=2))
    scores = PropertyInference(MALE).infer(seen)[:, 0]
    return auc(scores[1::2], scores[::2])


class Columns(nn.Module):
    """Some columns of the inputs."""

    def __init__(self, kept: list[int]) -> None:
        super().__init__()
        self.kept = kept

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.kept]


def properties() -> None:
    both = (MALE - 1, MALE)
    cases = (
        ("sex among the inputs", (), False),
        ("not among them", both, False),
        ("by lot, unseen", both, True),
    )
    for name, hidden, by_lot in cases:
        for warm in (0, 100):
            found = ", ".join(f"{sexes(hidden, by_lot, warm, size):.2f}" for size in (8, 32))
            print(f"{name}, model after {warm} steps, 8 and 32 people a client: {found}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("labels", "members", "property", "fashion"))
    torch.set_num_threads(1)
    choices = {"labels": labels, "members": members, "property": properties, "fashion": fashion}
    choices[parser.parse_args().what]()


if __name__ == "__main__":
    main()
