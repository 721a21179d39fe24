"""How well words' rows tell which sentences a client trained on, beside the cosine of gradients.

Usage: row_membership.py [--seeds 0 1 2 3 4] [--sizes 1 4 16 64] [--noises 0 1 10] [--others 100]

A client takes one step on B sentences of CoLA (at most 24 tokens, of 4000 words) from fresh weights of
`tiny_bert` (width 32, one block). Noise is normal, its standard deviation in units of the gradient's root
mean square. The attacker is asked about these B sentences and --others of the test set. The AUC is the mean
over seeds, and the worst; `covered` is the share of other sentences all of whose words stood in the batch.
CPU seconds of one thread, over all seeds.
"""

import argparse
import os
import time
from itertools import product
from statistics import mean

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor
from torch.nn import functional

from gauntlet.attacks.leakage.membership import Membership
from gauntlet.attacks.leakage.parts.ranking import auc
from gauntlet.attacks.leakage.row_membership import RowMembership
from gauntlet.clients.data.cola import Cola
from gauntlet.clients.models.tiny_bert import TinyBert
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge, Records
from gauntlet.core.observation import Observation
from gauntlet.core.seeds import generator, seeded_torch

LENGTH, WORDS_FROM = 24, 5
ATTACKS = {
    "row_membership, least": RowMembership(words_from=WORDS_FROM),
    "row_membership, mean": RowMembership("mean", WORDS_FROM),
    "membership, cosine": Membership(),
}


def asked_about(data: tuple[Tensor, ...], seed: int, size: int, others: int) -> tuple[Tensor, Tensor]:
    """Return the members' sentences and classes, and behind them the others'."""
    x, y, other_x, other_y = data
    rows = torch.from_numpy(generator(seed, "row_membership").permutation(len(x)))[:size]
    rest = torch.from_numpy(generator(seed, "row_membership others").permutation(len(other_x)))[:others]
    return torch.cat([x[rows], other_x[rest]]), torch.cat([y[rows], other_y[rest]])


def sent(x: Tensor, y: Tensor, size: int, tokens: int, noise: float, seed: int) -> Observation:
    """Return the message of a step on the first ``size`` of the candidates."""
    with seeded_torch(generator(seed, "row_membership weights")):
        model = TinyBert(width=32, inner=64, blocks=1).build((LENGTH,), 2, tokens)
    loss = functional.cross_entropy(model(x[:size]), y[:size])
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
    drawn = torch.from_numpy(generator(seed, "row_membership noise").standard_normal(len(gradient))).float()
    update = -gradient - noise * gradient.square().mean().sqrt() * drawn
    known = LeakageKnowledge(size, local_steps=1, candidates=Records(x, y))
    return Observation(
        0, 0, model, Layout.of(model), b"", update, (LENGTH,), 2, (0.0, tokens - 1.0), known, kind="gradient",
        num_tokens=tokens,
    )  # fmt: skip


def covered(x: Tensor, size: int) -> float:
    """Return the share of other sentences whose words all stood in a member."""
    seen = set(x[:size].flatten().tolist())
    return mean(float(set(row) <= seen) for row in x[size:].tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--sizes", nargs="+", type=int, default=[1, 4, 16, 64])
    parser.add_argument("--noises", nargs="+", type=float, default=[0.0, 1.0, 10.0])
    parser.add_argument("--others", type=int, default=100)
    asked = parser.parse_args()
    cola = Cola(length=LENGTH).load()
    data = tuple(torch.as_tensor(part) for part in (cola.x, cola.y, cola.test_x, cola.test_y))
    print("| noise | B | covered | " + " | ".join(ATTACKS) + " | CPU s |\n|" + "---|" * (4 + len(ATTACKS)))
    for noise, size in product(asked.noises, asked.sizes):
        begin, areas, shares = time.thread_time(), {name: list[float]() for name in ATTACKS}, []
        for seed in asked.seeds:
            x, y = asked_about(data, seed, size, asked.others)
            message = sent(x, y, size, cola.num_tokens, noise, seed)
            shares.append(covered(x, size))
            for name, attack in ATTACKS.items():
                scores = attack.infer([message])[0]
                areas[name].append(auc(scores[:size], scores[size:]))
        cells = " | ".join(f"{mean(found):.3f}, {min(found):.3f}" for found in areas.values())
        spent = time.thread_time() - begin
        print(f"| {noise:g} | {size} | {mean(shares):.3f} | {cells} | {spent:.0f} |", flush=True)


if __name__ == "__main__":
    main()
