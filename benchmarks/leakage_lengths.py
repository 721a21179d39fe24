"""What `dager` rebuilds of a step on sentences of CoLA, of different lengths, by model, payload and batch.

Usage: leakage_lengths.py [--models bert gpt2] [--payload update32 ...] [--sizes 1 2 4] [--seeds 100 ...]

A victim takes one step from fresh weights, width 128 and three blocks, on sentences of at most 32 tokens of
4000 words, with their labels: `tiny_bert`, or GPT-2's architecture (extra `text`), whose class is read at the
last token. It sends its gradient in float64 or float32, or what float32 leaves of its update at lr 0.1. The
attacker knows which token fills up and which ends a sentence. One line a case: the share of whole sentences,
mean and worst seed, the sum of false ones, why each ended, and CPU seconds of one thread. (Scores of tokens
would count the padding.)
"""

import argparse
import os
import time
from collections import Counter
from functools import cache

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch.nn import functional

from gauntlet.attacks.leakage.dager import DAGER
from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.clients.data import DATASETS
from gauntlet.clients.data.base import Dataset
from gauntlet.clients.models import build_model
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation, Truth
from gauntlet.core.seeds import generator

LENGTH, LR = 32, 0.1
PAYLOADS = ("gradient64", "gradient32", "update32")
GPT2 = {"n_embd": 128, "n_layer": 3, "n_head": 4, "n_positions": LENGTH}
MODELS = {
    "bert": ("tiny_bert", {"blocks": 3}),
    "gpt2": ("hf:gpt2", {"weights": "random", "sizes": GPT2}),
}


@cache
def cola() -> Dataset:
    return DATASETS.build("cola", {"length": LENGTH}).load()


def sent(kind: str, payload: str, size: int, seed: int) -> tuple[Observation, Truth]:
    """Return the message of one step, and what it was made of."""
    name, options = MODELS[kind]
    data = cola()
    model = build_model(name, options, data, generator(seed, "leakage_sentences_weights")).eval()
    model = model.double() if payload == "gradient64" else model
    rows = generator(seed, "leakage_sentences", size).permutation(len(data.x))[:size]
    x, y = torch.from_numpy(data.x[rows]), torch.from_numpy(data.y[rows])
    layout = Layout.of(model)
    gradients = torch.autograd.grad(functional.cross_entropy(model(x), y), list(model.parameters()))
    step, before = torch.cat([g.flatten() for g in gradients]), torch.zeros(0)
    if payload == "update32":
        before = layout.flatten(dict(model.named_parameters())).detach()
    update = (before - LR * step) - before if payload == "update32" else -step
    seen = Observation(
        0, 0, model, layout, b"", update, (LENGTH,), 2, data.value_range,
        LeakageKnowledge(batch_size=size, local_steps=1),
        kind="update" if payload == "update32" else "gradient", num_tokens=data.num_tokens,
    )  # fmt: skip
    return seen, Truth(x, y)


def row(kind: str, payload: str, size: int, seeds: list[int]) -> str:
    """Return one line of the table."""
    exact, false, ended, spent = [], 0, Counter[str](), []
    for seed in seeds:
        seen, truth = sent(kind, payload, size, seed)
        begin = time.thread_time()
        found = DAGER(padding=0, last=3).reconstruct([seen], generator(seed, "attack"))
        spent.append(time.thread_time() - begin)
        exact.append(float((score(found, truth).token_accuracy == 1).double().mean()))
        true = {tuple(one) for one in truth.x.tolist()}
        claimed = found.x[: int(found.details["found"])].tolist()
        false += sum(tuple(one) not in true for one in claimed)
        ended[found.stopped] += 1
    why = ", ".join(f"{count} {name}" for name, count in ended.items())
    cpu = f"{sum(spent) / len(spent):.1f}, {max(spent):.1f}"
    mean = f"{sum(exact) / len(exact):.3f}, {min(exact):.3f}"
    return f"| {kind} | {payload} | {size} | {mean} | {false} | {why} | {cpu} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--payload", nargs="+", choices=PAYLOADS, default=list(PAYLOADS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--seeds", nargs="+", type=int, default=[100, 101, 102, 103, 104])
    asked = parser.parse_args()
    print(
        "| model | payload | B | exact: mean, worst | false | ended | CPU s: mean, most |\n"
        + "|---" * 7
        + "|"
    )
    for kind in asked.models:
        for payload in asked.payload:
            for size in asked.sizes:
                print(row(kind, payload, size, asked.seeds), flush=True)


if __name__ == "__main__":
    main()
