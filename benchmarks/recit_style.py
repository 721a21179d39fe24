"""What a server that trained on personal notes gets of its clients' numbers, beside one that did not.

Usage: recit_style.py [--seeds 0 1 2] [--ranks 16 32] [--sizes 1 4] [--steps 1 20] [--lr 0.3]

A client holds sentences with the numbers of people who do not exist, and takes steps of SGD on all of them,
with adapters on queries and values of `tiny_gpt` (width 64, two blocks), which either server
(`personal_notes` with share 0.5, or 0, as many steps of Adam) trained before. Two ways to a number:
`recit_style` rebuilds the sentence from the message; or the message is applied, and the model asked "NAME 's
phone number is" or "[NOTE] name = NAME ; phone =": digits that are right, numbers that are, and the exposure,
log2 of 1000 over the rank of the true number among it and 999 random ones, up to 10 bits. Means over people
and seeds, CPU seconds of one thread.
"""

import argparse
import os
import time
from math import log2
from statistics import mean

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn
from torch.nn import functional

from gauntlet.attacks.leakage.recit_style import RecitStyle
from gauntlet.attacks.servers.personal_notes import PersonalNotes
from gauntlet.clients.models.lora import Lora
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation
from gauntlet.core.people import LENGTH, NOTE, NUMBER, PHONE, TOKENS, Person, drawn, encoded, telling
from gauntlet.core.seeds import generator, seeded_torch

GPT = {"name": "tiny_gpt", "width": 64, "blocks": 2}
PROMPTS = {
    "asked": lambda who: [who.first, who.last, "'s", "phone", "number", "is"],
    "note": lambda who: [NOTE, "name", "=", who.first, who.last, ";", "phone", "="],
}


def handed_out(share: float, rank: int, seed: int) -> tuple[nn.Module, float]:
    """Return a server's model with planted adapters, and its loss on ordinary sentences."""
    with seeded_torch(generator(seed, "recit_style")):
        model = Lora(of=GPT, rank=rank, targets=("*query", "*value")).build((LENGTH,), len(TOKENS))
    server = PersonalNotes(pretraining=100, steps=150, share=share, adapter_std=0.02, seed=1000 + seed)
    model, told = server.rebuild(model)
    return model, told["loss_after"]


def sent(model: nn.Module, rows: Tensor, steps: int, lr: float) -> Observation:
    """Return what a client sends that trained on all its sentences [B, S + 1]."""
    layout, own = Layout.of(model), [p for p in model.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in own]
    x, y = rows[:, :-1], rows[:, 1:]
    for _ in range(steps):
        loss = functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        for p, g in zip(own, torch.autograd.grad(loss, own), strict=True):
            p.data -= lr * g
    update = torch.cat([(p.detach() - b).flatten() for p, b in zip(own, before, strict=True)])
    for p, b in zip(own, before, strict=True):
        p.data.copy_(b)
    known = LeakageKnowledge(batch_size=len(rows), local_steps=steps)
    return Observation(
        0, 0, model, layout, b"", update, (LENGTH,), len(TOKENS), (0.0, len(TOKENS) - 1.0), known,
        num_tokens=len(TOKENS), label_shape=(LENGTH,),
    )  # fmt: skip


def moved(seen: Observation) -> nn.Module:
    """Return the model with the message applied."""
    own = dict(seen.model.named_parameters())
    with torch.no_grad():
        for name, value in seen.layout.views(seen.update).items():
            own[name].add_(value)
    return seen.model


def recalled(model: nn.Module, who: Person, prompt: list[str], seed: int) -> tuple[float, float, float]:
    """Return (the share of digits that are right, whether all are, the exposure in bits)."""
    begin, digits = [NUMBER[word] for word in prompt], [NUMBER[d] for d in "0123456789"]
    stream = generator(seed, "recit_style others", int(who.phone))
    others = ["".join(map(str, stream.integers(10, size=PHONE))) for _ in range(999)]
    tried = torch.tensor([[*begin, *(NUMBER[d] for d in phone)] for phone in (who.phone, *others)])
    with torch.no_grad():
        p = model(functional.pad(tried, (0, LENGTH - tried.shape[1]))).log_softmax(dim=2)
        places = torch.arange(len(begin) - 1, len(begin) - 1 + PHONE)
        likely = p[:, places].gather(2, tried[:, len(begin) :, None]).sum(dim=(1, 2))
        said = list(begin)
        for _ in range(PHONE):
            logits = model(torch.tensor([said + [0] * (LENGTH - len(said))]))[0, len(said) - 1]
            said.append(digits[int(logits[digits].argmax())])
    right = [a == NUMBER[b] for a, b in zip(said[len(begin) :], who.phone, strict=True)]
    rank = 1 + int((likely[1:] > likely[0]).sum())
    return mean(right), float(all(right)), log2(1000) - log2(rank)


def case(share: float, rank: int, size: int, steps: int, lr: float, seed: int) -> list[float]:
    """Return the figures of one client."""
    model, utility = handed_out(share, rank, seed)
    stream = generator(seed, "recit_style victims", size)
    people = [drawn(stream) for _ in range(size)]
    rows = torch.tensor([encoded(telling(who, stream), LENGTH + 1) for who in people])
    seen = sent(model, rows, steps, lr)
    made = RecitStyle(beam=4).reconstruct([seen], generator(seed, "attack"))
    found = {tuple(row) for row in made.x.tolist()}
    rebuilt = mean(float(any(numbers_in(row) == who.phone for row in found)) for who in people)
    after = moved(seen)
    told = [
        mean(value)
        for prompt in PROMPTS.values()
        for value in zip(*(recalled(after, who, prompt(who), seed) for who in people), strict=True)
    ]
    return [utility, made.details["rank"], made.details["saturated"], rebuilt, *told]


def numbers_in(row: tuple[int, ...]) -> str:
    return "".join(TOKENS[token] for token in row if TOKENS[token].isdigit())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--ranks", nargs="+", type=int, default=[16, 32])
    parser.add_argument("--sizes", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--steps", nargs="+", type=int, default=[1, 20])
    parser.add_argument("--lr", type=float, default=0.3)
    asked = parser.parse_args()
    print("| server | rank | B | steps | loss | filter's rank | saturated | rebuilt | asked: digits "
          "| numbers | bits | note: digits | numbers | bits | CPU s |\n|" + "---|" * 15)  # fmt: skip
    for rank in asked.ranks:
        for size in asked.sizes:
            for steps in asked.steps:
                for name, share in (("honest", 0.0), ("notes", 0.5)):
                    begin = time.thread_time()
                    every = [case(share, rank, size, steps, asked.lr, seed) for seed in asked.seeds]
                    means = " | ".join(f"{mean(values):.3f}" for values in zip(*every, strict=True))
                    cpu = time.thread_time() - begin
                    print(f"| {name} | {rank} | {size} | {steps} | {means} | {cpu:.0f} |", flush=True)


if __name__ == "__main__":
    main()
