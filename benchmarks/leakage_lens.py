"""Which share of the words that follow `backward_lens` finds, by layer, batch, training and noise, on CoLA.

Usage: leakage_lens.py [--sizes 1 2 4 8] [--seeds 0 1 2] [--batches 10] [--steps 0 200] [--noise 0 1]

A victim takes one step on the first 8 words of B test sentences, not trained on (of the 4000
most frequent words), as a language model: `tiny_gpt` (width 64, two blocks) with fresh weights or after 200
steps of Adam on training sentences. Of T different words that follow the attack names T: recall is the share
of them that is right. `last` and `first` are the layers, `sum` all; `rows` are the T largest rows of the last
layer's own gradient, which is not sent where that layer is frozen. Noise is in units of the gradient's root
mean square. One line a case: mean over batches and seeds, worst seed.
"""

import argparse
import os
from functools import cache

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn
from torch.nn import functional

from gauntlet.attacks.leakage.backward_lens import BackwardLens
from gauntlet.clients.data.cola import Cola
from gauntlet.clients.models.tiny_gpt import TinyGpt
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation
from gauntlet.core.seeds import generator, seeded_torch

LENGTH, SPECIAL = 8, 5


@cache
def text() -> tuple[Tensor, Tensor, int]:
    """Return windows [n, 9] of training and of test sentences, and V."""
    data = Cola(length=LENGTH + 3).load()
    parts = [torch.as_tensor(part)[:, 1 : LENGTH + 2] for part in (data.x, data.test_x)]
    train, test = (part[(part >= SPECIAL).all(dim=1)] for part in parts)
    return train, test, data.num_tokens


@cache
def model(seed: int, steps: int) -> nn.Module:
    train, _, tokens = text()
    stream = generator(seed, "leakage_lens_weights")
    with seeded_torch(stream):
        made = TinyGpt().build((LENGTH,), tokens)
    adam = torch.optim.Adam(made.parameters(), lr=1e-3)
    for _ in range(steps):
        rows = train[torch.from_numpy(stream.integers(len(train), size=16))]
        adam.zero_grad()
        functional.cross_entropy(made(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten()).backward()
        adam.step()
    return made


def recalls(seed: int, steps: int, size: int, number: int, noise: float) -> list[float]:
    """Return the recall of each way, and of chance."""
    _, test, tokens = text()
    made, stream = model(seed, steps), generator(seed, "leakage_lens", number)
    rows = test[torch.from_numpy(stream.permutation(len(test))[:size])]
    loss = functional.cross_entropy(made(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
    step = -torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(made.parameters()))])
    drawn = torch.from_numpy(stream.standard_normal(len(step))).float()
    step = step + noise * step.norm() / len(step) ** 0.5 * drawn
    layout = Layout.of(made)
    seen = Observation(
        0, 0, made, layout, b"", step, (LENGTH,), tokens, (0.0, tokens - 1.0),
        LeakageKnowledge(batch_size=size, local_steps=1), kind="gradient", num_tokens=tokens,
        label_shape=(LENGTH,),
    )  # fmt: skip
    true = set(rows[:, 1:].flatten().tolist())
    ways = [BackwardLens(layer).scores(seen) for layer in ("last", "first", "all")]
    found = [*ways, layout.views(step)["head.weight"].norm(dim=1)]
    shares = [len(true & set(s.topk(len(true)).indices.tolist())) / len(true) for s in found]
    return [*shares, len(true) / tokens]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--steps", nargs="+", type=int, default=[0, 200])
    parser.add_argument("--noise", nargs="+", type=float, default=[0.0, 1.0])
    asked = parser.parse_args()
    print("| steps | noise | B | last | first | sum | rows | chance |\n|" + "---|" * 8)
    for steps in asked.steps:
        for noise in asked.noise:
            for size in asked.sizes:
                table = torch.tensor(
                    [
                        [recalls(seed, steps, size, number, noise) for number in range(asked.batches)]
                        for seed in asked.seeds
                    ]
                ).mean(dim=1)  # [seeds, 5]
                cells = [f"{float(c.mean()):.3f}, {float(c.min()):.3f}" for c in table.T[:4]]
                chance = float(table[:, 4].mean())
                print(f"| {steps} | {noise:g} | {size} | {' | '.join(cells)} | {chance:.4f} |", flush=True)


if __name__ == "__main__":
    main()
