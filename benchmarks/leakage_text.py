"""What `dager` rebuilds of sentences, exact ones and false ones, by payload, batch and text.

Usage: leakage_text.py [--text words characters] [--payload update32 ...] [--sizes 1 4 8] [--seeds 100 ...]

A victim takes one step on sentences from fresh weights of `tiny_gpt` (width 128, three blocks, next tokens as
labels): of 12 of 2000 words drawn evenly, or windows of 32 of the 65 characters of `tiny_shakespeare`, each
from another place. It sends its gradient in float64 or float32, or what float32 leaves of its update at
lr 0.1. One line a case: means over sentences of all seeds, the worst seed's share of exact ones, the sum of
false ones, why each ended, and CPU seconds of one thread. The thresholds were chosen on other models, seeds
0-3.
"""

import argparse
import os
import time
from collections import Counter
from functools import cache

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor
from torch.nn import functional

from gauntlet.attacks.leakage.dager import DAGER
from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.clients.data import DATASETS
from gauntlet.clients.data.base import Dataset
from gauntlet.clients.models.tiny_gpt import TinyGpt
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation, Truth
from gauntlet.core.seeds import generator, seeded_torch

WORDS, LENGTH, LR = 2000, 12, 0.1
PAYLOADS = ("gradient64", "gradient32", "update32")


@cache
def plays() -> Dataset:
    return DATASETS.build("tiny_shakespeare").load()


def sentences(text: str, size: int, seed: int) -> tuple[Tensor, Tensor, int]:
    """Return inputs and labels [B, S], and how many tokens there are."""
    stream = generator(seed, "leakage_text", size)
    if text == "words":
        drawn = torch.from_numpy(stream.integers(WORDS, size=(size, LENGTH + 1)))
        return drawn[:, :-1], drawn[:, 1:], WORDS
    data = plays()
    rows = torch.from_numpy(stream.permutation(len(data.x))[:size])
    return torch.as_tensor(data.x)[rows].long(), torch.as_tensor(data.y)[rows].long(), data.num_tokens


def sent(x: Tensor, y: Tensor, tokens: int, payload: str, seed: int) -> Observation:
    """Return the message of one step."""
    with seeded_torch(generator(seed, "leakage_text_weights")):
        model = TinyGpt(width=128, blocks=3).build((x.shape[1],), tokens)
    model = model.double() if payload == "gradient64" else model
    layout = Layout.of(model)
    loss = functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
    step = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
    before = layout.flatten(dict(model.named_parameters())).detach()
    update = (before - LR * step) - before if payload == "update32" else -step
    knowledge = LeakageKnowledge(batch_size=len(x), local_steps=1)
    return Observation(
        0, 0, model, layout, b"", update, tuple(x.shape[1:]), tokens, (0.0, tokens - 1.0), knowledge,
        kind="update" if payload == "update32" else "gradient", num_tokens=tokens,
        label_shape=tuple(y.shape[1:]),
    )  # fmt: skip


def row(text: str, payload: str, size: int, seeds: list[int]) -> str:
    """Return one line of the table."""
    scores, exact, false, ended, spent = [], [], 0, Counter[str](), []
    for seed in seeds:
        x, y, tokens = sentences(text, size, seed)
        seen = sent(x, y, tokens, payload, seed)
        begin = time.thread_time()
        found = DAGER().reconstruct([seen], generator(seed, "attack"))
        spent.append(time.thread_time() - begin)
        scored = score(found, Truth(x, y))
        scores.append(torch.cat([scored.rouge, scored.token_accuracy[:, None], scored.overlap], dim=1))
        exact.append(float((scored.token_accuracy == 1).double().mean()))
        true = {tuple(one) for one in x.tolist()}
        claimed = found.x[: int(found.details["found"])].tolist()
        false += sum(tuple(one) not in true for one in claimed)
        ended[found.stopped] += 1
    means = " | ".join(f"{float(value):.3f}" for value in torch.cat(scores).double().mean(dim=0))
    why = ", ".join(f"{count} {name}" for name, count in ended.items())
    mean = sum(exact) / len(exact)
    cpu = f"{sum(spent) / len(spent):.2f}, {max(spent):.2f}"
    return (
        f"| {text} | {payload} | {size} | {mean:.3f}, {min(exact):.3f} | {false} | {means} | {why} | {cpu} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--text", nargs="+", choices=("words", "characters"), default=["words", "characters"])
    parser.add_argument("--payload", nargs="+", choices=PAYLOADS, default=list(PAYLOADS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[1, 4, 8])
    parser.add_argument("--seeds", nargs="+", type=int, default=[100, 101, 102, 103, 104])
    asked = parser.parse_args()
    print("| text | payload | B | exact: mean, worst | false | R-1 | R-2 | R-L | tokens | precision | recall "
          "| ended | CPU s: mean, most |\n|" + "---|" * 13)  # fmt: skip
    for text in asked.text:
        for payload in asked.payload:
            for size in asked.sizes:
                print(row(text, payload, size, asked.seeds), flush=True)


if __name__ == "__main__":
    main()
