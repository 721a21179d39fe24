"""What `tag`, `lamp` and `film` rebuild of sentences of CoLA from a step of `tiny_bert`, by attack and batch.

Usage: leakage_sentences.py [--attacks tag lamp ...] [--half first second both] [--sizes 1 2 4] [--seed 0]
       [--frozen] [--batches 20] [--out FILE]

A victim takes one step on B sentences of works that are not trained on (out_of_domain), of one length each
batch, with [CLS] and [SEP] at most 12 tokens, each word among the 4000 of the training sentences; from fresh
weights of `tiny_bert`, each batch its own. The classes are told. Two halves of 10 batches: options are chosen
on the first. The language model is counted on the 8551 training sentences, of other works, less those that
are a victim's. One line an attack and batch: means over sentences, the median and the worst of ROUGE-2, and
CPU seconds a batch of one thread. With --out each batch is kept, so that a run that was stopped goes on.
"""

import argparse
import json
import os
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor
from torch.nn import functional

from gauntlet.attacks.leakage.film import FILM
from gauntlet.attacks.leakage.lamp import LAMP
from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.attacks.leakage.tag import TAG
from gauntlet.clients.data.cola import Cola
from gauntlet.clients.models.tiny_bert import TinyBert
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge, Records
from gauntlet.core.observation import Observation, Truth
from gauntlet.core.seeds import generator, seeded_torch

LENGTH, BATCHES, UNKNOWN = 12, 20, 1
PUBLIC = {"first": 2, "last": 3, "padding": 0, "words_from": 5}
SHORT = {"max_iterations": 100, **PUBLIC}
ORDER = {"swap_every": 25, "draws": 30, **SHORT}
ATTACKS = {
    "dlg": TAG(restarts=1, distance="l2", **SHORT),
    "tag": TAG(restarts=1, **SHORT),
    "tag_long": TAG(restarts=1, **SHORT | {"max_iterations": 200}),
    "lamp": LAMP(**ORDER),
    "lamp_gentle": LAMP(**ORDER | {"language_weight": 0.02}),
    "lamp_l2_l1": LAMP(**ORDER | {"distance": "l2_l1", "norm_weight": 49.0}),
    "lamp_no_language": LAMP(**ORDER | {"language_weight": 0.0}),
    "lamp_no_swaps": LAMP(**ORDER | {"swap_every": 0}),
    "film": FILM(**PUBLIC),
    "film_begin": FILM(max_iterations=0, **PUBLIC),
    "film_no_language": FILM(language_weight=0.0, **PUBLIC),
}


@cache
def text() -> tuple[Tensor, Tensor, Tensor, int]:
    """Return the victims' sentences and classes, the other text, and V."""
    data = Cola(length=LENGTH + 1, test="out_of_domain").load()
    x, y, other = (torch.as_tensor(part) for part in (data.test_x, data.test_y, data.x))
    whole = (x[:, LENGTH] == 0) & (x != UNKNOWN).all(dim=1) & ((x != 0).sum(dim=1) >= 6)
    x, y = x[whole, :LENGTH], y[whole]
    other = other[other[:, LENGTH] == 0, :LENGTH]
    seen = {tuple(row) for row in x.tolist()}
    kept = torch.tensor([tuple(row) not in seen for row in other.tolist()])
    return x, y, other[kept], data.num_tokens


def batch(number: int, size: int) -> tuple[Tensor, Tensor]:
    """Return sentences of one length and their classes."""
    x, y, _, _ = text()
    lengths = (x != 0).sum(dim=1)
    order = torch.from_numpy(generator(0, "leakage_sentences").permutation(len(x)))
    first = order[number]
    alike = order[(lengths[order] == lengths[first]) & (order != first)]
    drawn = torch.from_numpy(generator(number, "leakage_sentences_batch").permutation(len(alike))[: size - 1])
    rows = torch.cat([first[None], alike[drawn]])
    return x[rows], y[rows]


def sent(x: Tensor, y: Tensor, seed: int, frozen: bool) -> Observation:
    """Return the message of one step from fresh weights; with ``frozen`` no embedding is trained."""
    _, _, other, tokens = text()
    with seeded_torch(generator(seed, "leakage_sentences_weights")):
        model = TinyBert(frozen_embeddings=frozen).build((x.shape[1],), 2, tokens)
    layout = Layout.of(model)
    own = [p for p in model.parameters() if p.requires_grad]
    gradient = torch.autograd.grad(functional.cross_entropy(model(x), y), own)
    knowledge = LeakageKnowledge(
        len(x), tuple(y.tolist()), 1, 1.0, auxiliary=Records(other, torch.zeros(len(other)))
    )
    return Observation(
        0, 0, model, layout, b"", -torch.cat([g.flatten() for g in gradient]), tuple(x.shape[1:]), 2,
        (0.0, tokens - 1.0), knowledge, kind="gradient", num_tokens=tokens,
    )  # fmt: skip


def measured(name: str, size: int, number: int, seed: int, frozen: bool = False) -> dict[str, object]:
    """Return the scores of one batch, of words alone: what frames them is known."""
    x, y = batch(number, size)
    begin = time.thread_time()
    found = ATTACKS[name].reconstruct(
        [sent(x, y, 1000 * seed + number, frozen)], generator(seed, "attack", number)
    )
    spent = time.thread_time() - begin
    words = x[0] >= PUBLIC["words_from"]
    scores = score(replace(found, x=found.x[:, words], y=y), Truth(x[:, words], y))
    rows = torch.cat([scores.rouge, scores.token_accuracy[:, None]], dim=1).tolist()
    return {
        "case": [name, size, number, seed, frozen], "rows": rows, "cost": found.cost, "seconds": spent,
        "rebuilt": found.x.tolist(), "truth": x.tolist(), **found.details,
    }  # fmt: skip


def line(name: str, size: int, half: str, cases: list[dict[str, object]]) -> str:
    rows = torch.tensor([row for case in cases for row in case["rows"]])
    means = " | ".join(f"{100 * value:.1f}" for value in rows.mean(dim=0).tolist())
    exact = float((rows[:, 3] == 1).double().mean())
    seconds = sum(case["seconds"] for case in cases) / len(cases)
    middle, worst = float(rows[:, 1].median()), float(rows[:, 1].min())
    return (
        f"| {name} | {size} | {half} | {len(rows)} | {means} | {100 * exact:.0f} "
        f"| {100 * middle:.1f}, {100 * worst:.1f} | {seconds:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--attacks", nargs="+", choices=list(ATTACKS), default=["tag", "lamp", "lamp_no_swaps"]
    )
    parser.add_argument("--half", choices=("first", "second", "both"), default="both")
    parser.add_argument("--sizes", nargs="+", type=int, default=[1])
    parser.add_argument("--batches", type=int, default=BATCHES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frozen", action="store_true", help="the three embeddings are not trained")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    kept: dict[str, dict[str, object]] = {}
    if asked.out and asked.out.exists():
        kept = {str(case["case"]): case for case in map(json.loads, asked.out.read_text().splitlines())}
    half = asked.batches // 2
    numbers = {"first": range(half), "second": range(half, asked.batches), "both": range(asked.batches)}
    print("| attack | B | half | n | R-1 | R-2 | R-L | tokens | exact % | R-2: median, worst | CPU s |\n|"
          + "---|" * 11)  # fmt: skip
    for size in asked.sizes:
        for name in asked.attacks:
            cases = []
            for number in numbers[asked.half]:
                case = kept.get(str([name, size, number, asked.seed, asked.frozen]))
                if case is None:
                    case = measured(name, size, number, asked.seed, asked.frozen)
                    if asked.out:
                        with asked.out.open("a") as file:
                            file.write(json.dumps(case) + "\n")
                cases.append(case)
            print(line(name, size, asked.half, cases), flush=True)


if __name__ == "__main__":
    main()
