"""What direct feedback alignment hides: inputs rebuilt from a client's message, beside back-propagation's.

Usage: leakage_dfa.py [SEED ...]. Seeds are 0, 1, 2 unless given; each has a model of its own (64-64-64-10,
tanh, as it is before training) and four batches of one test digit and two of four. A client takes one step,
lr 0.1, float32; labels are told. Searches are 300 steps of signed Adam by the cosine of gradients, as
``inverting_gradients`` takes, chosen for back-propagation elsewhere and for none of these attackers; "any B"
looks for inputs whose features span the rows of each hidden layer's gradient and give the last layer's, and
needs no B. Prints each seed's mean PSNR in dB, their mean, and the worst and best batch of all.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from asked import words
from torch import Tensor, nn
from torch.nn import functional as F

from gauntlet.attacks.leakage.bias_trick import BiasTrick
from gauntlet.attacks.leakage.inverting_gradients import InvertingGradients
from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.attacks.leakage.search.descent import descent_of
from gauntlet.attacks.leakage.search.distances import cosine
from gauntlet.attacks.leakage.search.engine import Variables
from gauntlet.clients.algorithms import ALGORITHMS
from gauntlet.clients.algorithms.dfa import DFA
from gauntlet.clients.data import DATASETS
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation, Reconstruction, Truth
from gauntlet.core.seeds import generator, seeded_torch
from gauntlet.privacy.no_privacy import NoPrivacy

LR, WIDTH, CLASSES, STEPS = 0.1, 64, 10, 300
HOW = InvertingGradients(max_iterations=STEPS, tv=(1e-5, 1e-5), schedule="steps")
Matrices = tuple[Tensor, Tensor] | None
GUESSED = 12345


@dataclass(frozen=True)
class One:
    """One client with a batch."""

    x: Tensor
    y: Tensor
    name: str = "one client"
    num_clients: int = 1
    num_classes: int = CLASSES
    input_shape: tuple[int, ...] = (1, 8, 8)

    def client(self, client_id: int) -> tuple[Tensor, Tensor]:
        return self.x, self.y


def model_of(seed: int) -> nn.Module:
    with seeded_torch(generator(seed, "leakage_dfa model")):
        hidden = nn.Linear(64, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh()
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(WIDTH, CLASSES))


def observed(seed: int, batch: One, rule: dict[str, str]) -> Observation:
    """Return what a server sees of the client's step by a rule."""
    model = model_of(seed)
    layout = Layout.of(model)
    params = layout.flatten(dict(model.named_parameters())).detach().clone()
    algorithm = ALGORITHMS.build(rule["name"], {k: v for k, v in rule.items() if k != "name"})
    training = LocalTraining(local_steps=1, batch_size=0, lr=LR)
    kernel = BlockKernel(batch, model_of(seed), algorithm, training, NoPrivacy(), (), seed)  # type: ignore[arg-type]
    update = kernel.train(Broadcast(0, params, torch.zeros(0)), torch.tensor([0]).numpy()).updates.vectors[0]
    size, labels = len(batch.y), tuple(batch.y.tolist())
    told = LeakageKnowledge(size, labels, 1, LR, "identity", "none", "sgd", 0.0, "cross_entropy")
    return Observation(0, 0, model, layout, b"", update, batch.input_shape, CLASSES, (0.0, 1.0), told)


def parts_of(model: nn.Module, x: Tensor, y: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return the inputs of the three layers [R, B, F] and the errors of the outputs [R, B, C]."""
    first, second, last = (layer for layer in model if isinstance(layer, nn.Linear))  # type: ignore[attr-defined]
    h = [x.flatten(2)]
    for layer in (first, second):
        h.append(torch.tanh(h[-1] @ layer.weight.t() + layer.bias))
    logits = h[-1] @ last.weight.t() + last.bias
    return h, (logits.softmax(-1) - F.one_hot(y, CLASSES)) / len(y)


def gradients(model: nn.Module, x: Tensor, y: Tensor, feedback: Matrices) -> Tensor:
    """Return the step's gradient [R, P] by back-propagation, or by DFA through these matrices."""
    _, second, last = (layer for layer in model if isinstance(layer, nn.Linear))  # type: ignore[attr-defined]
    h, errors = parts_of(model, x, y)
    back = (errors @ last.weight if feedback is None else errors @ feedback[1].t()) * (1 - h[2] ** 2)
    deep = (back @ second.weight if feedback is None else errors @ feedback[0].t()) * (1 - h[1] ** 2)
    found = []
    for told, before in zip((deep, back, errors), h, strict=True):
        found += [(told.mT @ before).flatten(1), told.sum(1)]
    return torch.cat(found, dim=1)


def matched(
    seen: Observation, y: Tensor, feedback: Matrices, last_alone: bool = False
) -> Callable[..., Tensor]:
    """Return the cosine with what was sent, of all parameters or the last layer's alone."""
    target = -seen.update
    counts = torch.zeros_like(target, dtype=torch.bool)
    counts[-CLASSES * (WIDTH + 1) :] = True
    distance = cosine(target, counts if last_alone else None)

    def cost(variables: Variables) -> Tensor:
        return distance(gradients(seen.model, variables[0], y, feedback))

    return cost


def spanned(seen: Observation, y: Tensor) -> Callable[..., Tensor]:
    """Return how far hidden layers' gradients are from their inputs' span, plus the last layer's cosine."""
    views = list(seen.layout.views(-seen.update).values())
    rows = [
        torch.cat([w, b[:, None]], 1) for w, b in zip(views[:4:2], views[1:4:2], strict=True)
    ]  # [F', F + 1]
    last = matched(seen, y, None, last_alone=True)

    def cost(variables: Variables) -> Tensor:
        h, _ = parts_of(seen.model, variables[0], y)
        total = last(variables)
        for gradient, inputs in zip(rows, h[:2], strict=True):
            span = torch.cat([inputs, torch.ones_like(inputs[..., :1])], 2).mT  # [R, F + 1, B]
            basis = torch.linalg.qr(span).Q
            total = total + 1 - (gradient @ basis).square().sum((1, 2)) / gradient.square().sum()
        return total

    return cost


def attackers(seen: Observation, y: Tensor, rule: dict[str, str]) -> dict[str, Callable[..., Tensor]]:
    """Return what each attacker on a message minimises."""
    made = {
        seed: (DFA().matrix(seed, 0, WIDTH, 10), DFA().matrix(seed, 1, WIDTH, 10)) for seed in (0, GUESSED)
    }
    if rule["name"] == "fedavg":
        return {"matches back-propagation": matched(seen, y, None), "any B": spanned(seen, y)}
    if rule["feedback"] == "shared":
        return {
            "unaware: matches back-propagation": matched(seen, y, None),
            "knows B": matched(seen, y, made[0]),
        }
    return {
        "unaware: matches back-propagation": matched(seen, y, None),
        "guesses a B": matched(seen, y, made[GUESSED]),
        "matches the last layer alone": matched(seen, y, None, last_alone=True),
        "any B": spanned(seen, y),
    }


RULES = {
    "back-propagation": {"name": "fedavg"},
    "DFA, shared B": {"name": "dfa", "feedback": "shared"},
    "DFA, secret B": {"name": "dfa", "feedback": "secret"},
}


def rebuilt(seen: Observation, batch: One, cost: Callable[..., Tensor], stream: int) -> float:
    """Return a search's PSNR."""
    found = descent_of(HOW).search(seen, len(batch.y), cost, generator(stream, "attack"))
    return psnr(found.reconstruction(batch.y), batch)


def psnr(made: Reconstruction, batch: One) -> float:
    return float(score(made, Truth(batch.x, batch.y), (0.0, 1.0)).psnr.mean())


def main() -> None:
    torch.set_num_threads(1)
    seeds = [int(seed) for seed in words(__doc__, seeds=[]).seeds] or [0, 1, 2]
    data = DATASETS.build("digits").load()
    x, y = torch.from_numpy(data.test_x).float(), torch.from_numpy(data.test_y)
    x = (x if x.ndim == 4 else x[:, None]) / (255 if data.test_x.dtype.kind == "u" else 1)
    found: dict[tuple[int, str, str], dict[int, list[float]]] = {}
    for seed in seeds:
        places = [slice(4 * seed + n, 4 * seed + n + 1) for n in range(4)]
        places += [slice(100 + 8 * seed + 4 * n, 104 + 8 * seed + 4 * n) for n in range(2)]
        for number, where in enumerate(places):
            batch = One(x[where], y[where])
            for rule, told in RULES.items():
                seen, size = observed(seed, batch, told), len(batch.y)
                scores = {
                    name: rebuilt(seen, batch, cost, 100 * seed + number)
                    for name, cost in attackers(seen, batch.y, told).items()
                }
                if size == 1:
                    exact = BiasTrick().reconstruct([seen], generator(0, "attack"))
                    scores["bias trick"] = psnr(exact, batch)
                for name, value in scores.items():
                    found.setdefault((size, rule, name), {}).setdefault(seed, []).append(value)
    print("| examples | clients | attacker | dB, seeds (mean) | worst to best |\n|---|---|---|---|---|")
    for (size, rule, name), by_seed in found.items():
        means = [sum(values) / len(values) for values in by_seed.values()]
        each = [value for values in by_seed.values() for value in values]
        told_means = f"{', '.join(f'{m:.1f}' for m in means)} ({sum(means) / len(means):.1f})"
        print(f"| {size} | {rule} | {name} | {told_means} | {min(each):.1f} to {max(each):.1f} |")


if __name__ == "__main__":
    main()
