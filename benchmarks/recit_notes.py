"""Whether a server that trained on personal notes gets more of its clients' numbers than an honest one.

Usage: recit_notes.py [--half first second] [--servers ...] [--attacks ...] [--seeds 0 1 2]
       [--cases 1:16 2:32 4:32] [--people 4] [--steps 850] [--out FILE]

A client takes one step (lr 0.3) on B sentences with the numbers of people who do not exist, with adapters of
rank r (a case is B:r) on queries and values of `tiny_gpt` (width 64, two blocks). Servers (`personal_notes`):
`honest` trained on such sentences without notes, as many steps, and hands out adapters with B = 0; `set`
likewise, with B set; `notes` trained on notes, B = 0; `malicious` both. The numbers found are those that
stand in what an attack rebuilt: `recit` (`recit_style`), `guess` (it, with `nearest = 16`), `note` and
`guess_note` (in the notes that the model wrote behind these sentences), `tag` and `lamp` (150 iterations; the
language model of `lamp` is counted on 500 of the server's own sentences). Digits: the share of a number's
eight that are in place in the best of the rebuilt sentences, which is for evaluation alone. Two halves of
people: options are chosen on the first.
"""

import argparse
import json
import os
import time
from functools import cache
from itertools import product
from pathlib import Path
from statistics import mean

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn
from torch.nn import functional

from gauntlet.attacks.leakage.lamp import LAMP
from gauntlet.attacks.leakage.recit_style import RecitStyle
from gauntlet.attacks.leakage.tag import TAG
from gauntlet.attacks.servers.personal_notes import PersonalNotes
from gauntlet.clients.models.lora import Lora
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge, Records
from gauntlet.core.observation import Observation
from gauntlet.core.people import LENGTH, NOTE, NUMBER, TOKENS, Person, drawn, encoded, ordinary, telling
from gauntlet.core.seeds import generator, seeded_torch

GPT = {"name": "tiny_gpt", "width": 64, "blocks": 2}
SERVERS = {"honest": (0.0, 0.0), "set": (0.0, 0.02), "notes": (0.5, 0.0), "malicious": (0.5, 0.02)}
WORDS = (NOTE, "name", "=", None, None, ";", "phone", "=", *[None] * 8)
FORM = tuple(-1 if word is None else NUMBER[word] for word in WORDS)
SHORT = {"max_iterations": 150, "restarts": 1}
ATTACKS = {
    "recit": RecitStyle(beam=4),
    "guess": RecitStyle(beam=4, nearest=16),
    "guess_bold": RecitStyle(beam=4, nearest=16, lm_weight=3.0),
    "guess_shy": RecitStyle(beam=4, nearest=16, lm_weight=0.3),
    "note": RecitStyle(beam=4, note=FORM),
    "guess_note": RecitStyle(beam=4, nearest=16, note=FORM),
    "tag": TAG(**SHORT),
    "lamp": LAMP(**SHORT, draws=30),
}


def fresh(rank: int, seed: int) -> nn.Module:
    with seeded_torch(generator(seed, "recit_notes")):
        return Lora(of=GPT, rank=rank, targets=("*query", "*value")).build((LENGTH,), len(TOKENS))


@cache
def trained(share: float, steps: int, seed: int) -> tuple[dict[str, Tensor], float]:
    """Return the weights of a server's model without its adapters, and its loss on ordinary sentences."""
    model, told = PersonalNotes(100, steps, share, tolerance=1.0, seed=1000 + seed).rebuild(fresh(1, seed))
    return {n: v for n, v in model.state_dict().items() if "lora_" not in n}, told["loss_after"]


@cache
def handed_out(server: str, rank: int, steps: int, seed: int) -> tuple[nn.Module, float]:
    """Return a server's model, and its loss on ordinary sentences without adapters."""
    (share, std), model = SERVERS[server], fresh(rank, seed)
    weights, loss = trained(share, steps, seed)
    model.load_state_dict({**model.state_dict(), **weights})
    return PersonalNotes(0, 0, share, adapter_std=std, seed=1000 + seed).rebuild(model)[0], loss


def victims(half: str, seed: int, size: int, count: int) -> list[tuple[list[Person], Tensor]]:
    """Return the people of each message and their sentences [B, S + 1]."""
    stream, found = generator(seed, f"recit_notes {half}"), []
    for _ in range(max(count // size, 1)):
        people = [drawn(stream) for _ in range(size)]
        found.append((people, torch.tensor([encoded(telling(who, stream), LENGTH + 1) for who in people])))
    return found


def own_text(seed: int) -> Records:
    """Return sentences of people that the server made up."""
    stream = generator(seed, "recit_notes auxiliary")
    forms = (telling, ordinary)
    rows = torch.tensor([encoded(forms[n % 2](drawn(stream), stream), LENGTH) for n in range(500)])
    return Records(rows, torch.zeros(len(rows), LENGTH, dtype=torch.int64))


def sent(model: nn.Module, rows: Tensor, seed: int) -> Observation:
    """Return what a client sends that took a step on sentences [B, S + 1]."""
    own = [p for p in model.parameters() if p.requires_grad]
    loss = functional.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
    update = -0.3 * torch.cat([g.flatten() for g in torch.autograd.grad(loss, own)])
    known = LeakageKnowledge(batch_size=len(rows), local_steps=1, lr=0.3, auxiliary=own_text(seed))
    return Observation(
        0, 0, model, Layout.of(model), b"", update, (LENGTH,), len(TOKENS), (0.0, len(TOKENS) - 1.0), known,
        num_tokens=len(TOKENS), label_shape=(LENGTH,),
    )  # fmt: skip


def numbers(row: list[int], noted: bool) -> str:
    """Return the digits of a rebuilt sentence, or of the note behind it."""
    words = [TOKENS[token] for token in row]
    at = words.index(NOTE) if NOTE in words else len(words)
    return "".join(word for word in (words[at:] if noted else words[:at]) if word.isdigit())


def judged(rows: list[list[int]], people: list[Person], noted: bool) -> list[tuple[float, float]]:
    """Return, of each person, (whether the number was found, the share of its digits in place)."""
    found = [numbers(row, noted) for row in rows]
    shares = [[mean(a == b for a, b in zip(one.ljust(8), who.phone, strict=False)) for one in found]
              for who in people]  # fmt: skip
    return [(float(who.phone in found), max(share)) for who, share in zip(people, shares, strict=True)]


def case(
    name: str, server: str, half: str, size: int, rank: int, steps: int, count: int, seed: int
) -> dict[str, object]:
    """Return what an attack finds of one server's messages."""
    model, loss = handed_out(server, rank, steps, seed)
    begin, marks, details = time.thread_time(), [], dict[str, float]()
    for number, (people, rows) in enumerate(victims(half, seed, size, count)):
        made = ATTACKS[name].reconstruct([sent(model, rows, seed)], generator(seed, "attack", number))
        marks += judged(made.x.tolist(), people, "note" in name)
        details = dict(made.details)
    kept = {key: details[key] for key in ("rank", "rows", "saturated", "paired", "by_up") if key in details}
    return {
        "case": [name, server, half, size, rank, steps, count, seed], "marks": marks,
        "loss": loss, "details": kept, "seconds": time.thread_time() - begin,
    }  # fmt: skip


def line(name: str, server: str, half: str, size: int, rank: int, cases: list[dict[str, object]]) -> str:
    every = [mark for one in cases for mark in one["marks"]]
    seeds = [sum(found for found, _ in one["marks"]) for one in cases]
    seconds = sum(one["seconds"] for one in cases)
    return (
        f"| {name} | {server} | {half} | {size} | {rank} | {sum(seeds):.0f} of {len(every)} "
        f"| {', '.join(f'{n:.0f}' for n in seeds)} | {mean(share for _, share in every):.2f} "
        f"| {mean(one['loss'] for one in cases):.3f} | {seconds:.0f} | {cases[-1]['details']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--half", nargs="+", default=["second"], choices=("first", "second"))
    parser.add_argument("--servers", nargs="+", default=["honest", "malicious"], choices=list(SERVERS))
    parser.add_argument(
        "--attacks", nargs="+", default=["recit", "note", "tag", "lamp"], choices=list(ATTACKS)
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--cases", nargs="+", default=["1:16", "2:32", "4:32"], help="B:r")
    parser.add_argument("--people", type=int, default=4, help="of a seed and half")
    parser.add_argument("--steps", type=int, default=850, help="of the server's training, after 100")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    kept: dict[str, dict[str, object]] = {}
    if asked.out and asked.out.exists():
        kept = {str(one["case"]): one for one in map(json.loads, asked.out.read_text().splitlines())}
    print(
        "| attack | server | half | B | rank | numbers | by seed | digits | loss | CPU s |\n|" + "---|" * 10
    )
    kinds = [tuple(map(int, one.split(":"))) for one in asked.cases]
    for half, server, (size, rank), name in product(asked.half, asked.servers, kinds, asked.attacks):
        cases = []
        for seed in asked.seeds:
            key = [name, server, half, size, rank, asked.steps, asked.people, seed]
            one = kept.get(str(key)) or case(*key)
            if asked.out and str(key) not in kept:
                with asked.out.open("a") as file:
                    file.write(json.dumps(one) + "\n")
            cases.append(one)
        print(line(name, server, half, size, rank, cases), flush=True)


if __name__ == "__main__":
    main()
