"""What defenses leave of sentences to an attacker that does not know of them, and to one that does.

Usage: leakage_text_defenses.py [--cases none frozen noise ...] [--sentences 10] [--out FILE]

A victim takes one step on a sentence of 12 tokens of CoLA ([CLS] and [SEP] are known) from fresh weights of
`tiny_bert` (width 64, three blocks, 4000 words), each sentence its own; weights, noise and attacks have its
number as seed, and the class is read. The attacks are `dager`, `tiger` (100 iterations) and `lamp` (100
iterations, language model of CoLA's training sentences), and where it says so others; each case says who is
unaware and who knows. One line a case: of the best unaware and the best aware attack (by mean ROUGE-1 over
all sentences) exact sentences and ROUGE-1, mean and worst. Noise is normal, its standard deviation in units
of the gradient's root mean square, of `dp_sgd` of the clip norm. With --out each sentence is kept.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import mean

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn
from torch.nn import functional

from gauntlet.attacks.leakage.dager import DAGER
from gauntlet.attacks.leakage.film import FILM
from gauntlet.attacks.leakage.lamp import LAMP
from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.attacks.leakage.recit_style import RecitStyle
from gauntlet.attacks.leakage.tiger import TIGER
from gauntlet.clients.data.cola import Cola
from gauntlet.clients.models.lora import Lora
from gauntlet.clients.models.tiny_bert import TinyBert
from gauntlet.core.contracts import LeakageAttack
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge, Records
from gauntlet.core.observation import Observation, Truth
from gauntlet.core.seeds import generator, seeded_torch

LENGTH, SUMMED = 12, 2
FRAME = {"first": 2, "last": 3, "words_from": 5}
BERT = {"width": 64, "inner": 128, "blocks": 3}
TIGER_, DAGER_ = TIGER(max_iterations=100, **FRAME), DAGER()
FILM_, RECIT = FILM(**FRAME), RecitStyle(beam=4)
LAMP_ = LAMP(max_iterations=100, swap_every=25, draws=30, language_weight=0.02, **FRAME)
LAMP_MASKED, LAMP_MASKS = replace(LAMP_, masked=True), replace(LAMP_, dropout=True)
Change = Callable[[Tensor, Layout, int], Tensor]


def noisy(share: float) -> Change:
    def change(gradient: Tensor, _: Layout, seed: int) -> Tensor:
        drawn = torch.from_numpy(generator(seed, "noise").standard_normal(len(gradient))).float()
        return gradient + share * gradient.square().mean().sqrt() * drawn

    return change


def clipped(multiplier: float) -> Change:
    """Clip to length 1 and add noise of that standard deviation, as `dp_sgd` does with one example a step."""

    def change(gradient: Tensor, _: Layout, seed: int) -> Tensor:
        drawn = torch.from_numpy(generator(seed, "noise").standard_normal(len(gradient))).float()
        return gradient / max(float(gradient.norm()), 1.0) + multiplier * drawn

    return change


def pruned(rate: float) -> Change:
    def change(gradient: Tensor, layout: Layout, _: int) -> Tensor:
        found = gradient.clone()
        for slot in layout.parameters:
            part = found[slot.start : slot.start + slot.size]
            part[part.abs() < part.abs().sort().values[int(rate * len(part))]] = 0
        return found

    return change


@dataclass(frozen=True)
class Case:
    """A defense, and who attacks it; ``batch`` sentences are one message, of as many clients."""

    unaware: dict[str, LeakageAttack]
    aware: dict[str, LeakageAttack]
    change: Change | None = None
    model: object = TinyBert(**BERT)
    batch: int = 1


ALL = {"dager": DAGER_, "tiger": TIGER_, "lamp": LAMP_}
SPANS = {"dager": DAGER_, "tiger": TIGER_}
ADAPTED = Lora(of={"name": "tiny_bert", **BERT}, rank=32, targets=("*query", "*value"))
PRUNED = {"unaware": {"lamp": LAMP_}, "aware": {"lamp, masked": LAMP_MASKED}}
CASES = {
    "none": Case(ALL, {}),
    "frozen": Case({"film": FILM_}, SPANS | {"lamp": LAMP_}, model=TinyBert(**BERT, frozen_embeddings=True)),
    "noise 0.001": Case({"dager": DAGER_}, {"tiger": TIGER_, "lamp": LAMP_}, noisy(0.001)),
    "pruned 0.9": Case(change=pruned(0.9), **PRUNED),
    "pruned 0.99": Case(change=pruned(0.99), **PRUNED),
    "dp_sgd 0.0001": Case({"dager": DAGER_}, {"tiger": TIGER_, "lamp": LAMP_}, clipped(0.0001)),
    "dp_sgd 0.01": Case({"dager": DAGER_}, {"tiger": TIGER_, "lamp": LAMP_}, clipped(0.01)),
    "summed": Case({"dager": DAGER_}, {"tiger": TIGER_}, batch=SUMMED),
    "adapters": Case({"dager": DAGER_}, {"recit_style": RECIT}, model=ADAPTED),
    "dropout 0.1": Case(
        SPANS | {"lamp": LAMP_}, {"lamp, masks": LAMP_MASKS}, model=TinyBert(**BERT, dropout=0.1)
    ),
}


@cache
def text() -> tuple[Tensor, Tensor, Records, int]:
    """Return the victims' sentences and classes, the other text, and V."""
    data = Cola(length=LENGTH + 1, test="out_of_domain").load()
    x, y, other = (torch.as_tensor(part) for part in (data.test_x, data.test_y, data.x))
    whole = (x[:, LENGTH] == 0) & ((x > 1).sum(dim=1) == LENGTH)
    other = other[other[:, LENGTH] == 0, :LENGTH]
    seen = {tuple(row) for row in x[whole, :LENGTH].tolist()}
    other = other[torch.tensor([tuple(row) not in seen for row in other.tolist()])]
    return x[whole, :LENGTH], y[whole], Records(other, torch.zeros(len(other))), data.num_tokens


def sent(case: Case, x: Tensor, y: Tensor, seed: int) -> Observation:
    """Return the message of one step from fresh weights."""
    _, _, other, tokens = text()
    with seeded_torch(generator(seed, "leakage_text_defenses")):
        model: nn.Module = case.model.build((LENGTH,), 2, tokens)
        model.train()
        own = [p for p in model.parameters() if p.requires_grad]
        gradient = torch.autograd.grad(functional.cross_entropy(model(x), y), own)
    layout, flat = Layout.of(model.eval()), torch.cat([g.flatten() for g in gradient])
    if case.change is not None:
        flat = case.change(flat, layout, seed)
    known = LeakageKnowledge(len(x), tuple(y.tolist()), 1, 1.0, auxiliary=other)
    return Observation(
        0, 0, model, layout, b"", -flat, (LENGTH,), 2, (0.0, tokens - 1.0), known, kind="gradient",
        num_tokens=tokens,
    )  # fmt: skip


def measured(name: str, attack: str, number: int) -> dict[str, object]:
    """Return ROUGE-1 of each sentence of one message, and which are exact; 0 of an attack that refuses."""
    case, (x, y, _, _) = CASES[name], text()
    order = torch.from_numpy(generator(0, "leakage_text_defenses").permutation(len(x)))
    rows = order[number * case.batch : (number + 1) * case.batch]
    begin = time.thread_time()
    try:
        who = (case.unaware | case.aware)[attack]
        found = who.reconstruct([sent(case, x[rows], y[rows], number)], generator(number, "attack"))
    except PluginError:
        return {"case": [name, attack, number], "rouge": [0.0] * len(rows), "exact": [False] * len(rows),
                "stopped": "refused", "seconds": 0.0}  # fmt: skip
    scores = score(replace(found, x=found.x[:, 1:-1], y=y[rows]), Truth(x[rows, 1:-1], y[rows]))
    return {
        "case": [name, attack, number], "rouge": scores.rouge[:, 0].tolist(),
        "exact": (scores.token_accuracy == 1).tolist(), "stopped": found.stopped,
        "seconds": time.thread_time() - begin,
    }  # fmt: skip


def cell(found: dict[str, list[dict[str, object]]]) -> str:
    """Return the best attack's name, exact sentences, and ROUGE-1's mean and worst."""
    if not found:
        return "the same | | "
    rouge = {name: [value for one in cases for value in one["rouge"]] for name, cases in found.items()}
    best = max(rouge, key=lambda name: mean(rouge[name]))
    exact = sum(sum(one["exact"]) for one in found[best])
    return f"`{best}` | {exact} of {len(rouge[best])} | {mean(rouge[best]):.2f}, {min(rouge[best]):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--sentences", type=int, default=10)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    kept: dict[str, dict[str, object]] = {}
    if asked.out and asked.out.exists():
        kept = {str(one["case"]): one for one in map(json.loads, asked.out.read_text().splitlines())}
    print("| defense | unaware | exact | R-1: mean, worst | aware | exact | R-1: mean, worst | CPU s |")
    print("|" + "---|" * 8)
    for name in asked.cases:
        case, cells, spent = CASES[name], [], 0.0
        for attacks in (case.unaware, case.aware):
            found = {attack: list[dict[str, object]]() for attack in attacks}
            for attack in attacks:
                for number in range(-(-asked.sentences // case.batch)):
                    one = kept.get(str([name, attack, number])) or measured(name, attack, number)
                    if asked.out and str(one["case"]) not in kept:
                        with asked.out.open("a") as file:
                            file.write(json.dumps(one) + "\n")
                    found[attack].append(one)
            cells.append(cell(found))
            spent += sum(one["seconds"] for every in found.values() for one in every)
        print(f"| {name} | {' | '.join(cells)} | {spent:.0f} |", flush=True)


if __name__ == "__main__":
    main()
