"""Which sentences of an encoder `tiger` and `dager` rebuild, by batch, objective and noise.

Usage: leakage_tiger.py [--seeds 10 11 12] [--sizes 1 2 4] [--noises 0 0.0003] [--attacks ...]

A victim takes one step on B sentences of CoLA of 12 tokens ([CLS] and [SEP] are known) from fresh weights of
`tiny_bert` (width 128, three blocks, 4000 words). Noise is normal, its standard deviation in units of the
gradient's root mean square. `tiger`: 200 iterations, 8 starts a sentence; `plain` adds up the distances and
not their logarithms, `vectors` searches free vectors (lr 0.2), `plain vectors` both. Options were chosen on
seeds 0 and 1. One line a case: exact sentences over all seeds, ROUGE-1 mean and worst, how it ended, and CPU
seconds a message of one thread.
"""

import argparse
import time
from collections import Counter
from dataclasses import replace
from itertools import product
from statistics import mean

import torch
from leakage_text_defenses import DAGER_, FRAME, Case, noisy, sent, text

from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.attacks.leakage.tiger import TIGER
from gauntlet.clients.models.tiny_bert import TinyBert
from gauntlet.core.observation import Truth
from gauntlet.core.seeds import generator

VECTORS = {"space": "vectors", "lr": 0.2}
ATTACKS = {
    "dager": DAGER_,
    "tiger": TIGER(**FRAME),
    "tiger, plain": TIGER(logarithm=False, **FRAME),
    "tiger, vectors": TIGER(**VECTORS, **FRAME),
    "tiger, plain vectors": TIGER(logarithm=False, **VECTORS, **FRAME),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[10, 11, 12])
    parser.add_argument("--sizes", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--noises", nargs="+", type=float, default=[0.0, 0.0003])
    parser.add_argument("--attacks", nargs="+", choices=list(ATTACKS), default=list(ATTACKS))
    asked = parser.parse_args()
    x, y, _, _ = text()
    print("| noise | B | attack | exact | R-1: mean, worst | ended | CPU s |\n|" + "---|" * 7)
    for noise, size, name in product(asked.noises, asked.sizes, asked.attacks):
        case = Case({}, {}, noisy(noise), TinyBert(width=128, blocks=3))
        exact, rouge, ended, begin = 0, list[float](), Counter[str](), time.thread_time()
        for seed in asked.seeds:
            rows = torch.from_numpy(generator(seed, "leakage_tiger").permutation(len(x)))[:size]
            message = sent(case, x[rows], y[rows], seed)
            found = ATTACKS[name].reconstruct([message], generator(seed, "attack"))
            scores = score(replace(found, x=found.x[:, 1:-1], y=y[rows]), Truth(x[rows, 1:-1], y[rows]))
            exact += int((scores.token_accuracy == 1).sum())
            rouge += scores.rouge[:, 0].tolist()
            ended[found.stopped] += 1
        spent = (time.thread_time() - begin) / len(asked.seeds)
        how = ", ".join(f"{count} {what}" for what, count in sorted(ended.items()))
        print(
            f"| {noise:g} | {size} | {name} | {exact} of {len(rouge)} | {mean(rouge):.2f}, {min(rouge):.2f} "
            f"| {how} | {spent:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
