"""How long a client's step takes whose backward pass works on some channels alone, against the whole one.

Usage: sliced_backward.py BATCH_SIZE. Median CPU milliseconds of 25 steps on random pictures of MNIST's size,
one thread: forward, backward, and what a step also does to its gradient. A model's last layer is never cut.
"""

import time
from collections.abc import Callable
from statistics import median

import torch
from asked import words
from torch import nn

from gauntlet.clients.algorithms.parts.sliced import sliced
from gauntlet.clients.models.cnn_mcmahan import CnnMcmahan
from gauntlet.clients.models.mlp import Mlp


def milliseconds(work: Callable[[], object]) -> float:
    """Return the median CPU time of 25 calls, after 3."""
    taken = []
    for _ in range(28):
        begun = time.process_time()
        work()
        taken.append(1000 * (time.process_time() - begun))
    return median(taken[3:])


def step(model: nn.Module, x: torch.Tensor, y: torch.Tensor, kept: dict[str, torch.Tensor]) -> None:
    """Take the gradient of a batch, into gradients that were set to zero."""
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.grad.zero_()
    with sliced(model, kept, "this measurement"):
        loss = nn.functional.cross_entropy(model(x), y)
    torch.autograd.backward(loss)


def main() -> None:
    """Measure, and print a Markdown table."""
    size = words(__doc__, batch_size=int).batch_size
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y = torch.rand(size, 1, 28, 28), torch.randint(0, 10, (size,))
    print(f"| batch of {size} | forward | r = 1 | 0.5 | 0.2 | 0.1 |\n|---|---|---|---|---|---|")
    for name, made in (("cnn_mcmahan", CnnMcmahan()), ("mlp 1000-1000", Mlp((1000, 1000)))):
        model = made.build((1, 28, 28), 10)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        layers = {p: m for p, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
        hidden = list(layers)[:-1]
        with torch.no_grad():
            cells = [milliseconds(lambda model=model: model(x))]  # type: ignore[misc]
        for ratio in (1.0, 0.5, 0.2, 0.1):
            kept = {}
            for path in hidden:
                channels = len(layers[path].weight)
                kept[path] = torch.randperm(channels)[: max(1, round(ratio * channels))].sort().values
            cells.append(milliseconds(lambda model=model, kept=kept: step(model, x, y, kept)))  # type: ignore[misc]
        print(f"| {name} | {' | '.join(f'{cell:.1f}' for cell in cells)} |", flush=True)


if __name__ == "__main__":
    main()
