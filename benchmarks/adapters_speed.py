"""Clients of LoRA a second, beside a plain loop over peft's adapters on the same model, sentences and steps.

Usage: adapters_speed.py [--pairs 5] [--ranks 4 8] [--clients 20] [--lr 0.1]

`tiny_bert` at its defaults (width 128, two blocks), sentences of SST-2 of 20 tokens of 2000 words. Each
client takes 5 steps of SGD on all of its 16 sentences; every linear layer but the head has an adapter, the
head is trained whole and the embeddings are frozen. The loop loads the mean of all that is trained, trains
with torch's SGD, and adds up what came out; a round of ours is all of it, from the sampler to the mean, but
no score. Both begin at the same factors, and after the first round they must agree. CPU seconds of one
thread, in turn; the first pair is not counted. Ratios above 1: ours is faster; the median, the least and the
largest of the pairs. One line says so where peft is not installed (extra `text`).
"""

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn
from torch.nn import functional

from gauntlet.clients.data import DATASETS
from gauntlet.clients.data.base import Dataset
from gauntlet.server.assembly.ingredients import make_data, make_model
from gauntlet.server.simulation import Simulation, prepare
from gauntlet.sims.scenario import make_scenario

LENGTH, WORDS, SENTENCES, STEPS, ALPHA = 20, 2000, 16, 5, 16.0
TARGETS = ["blocks.*", "pooler"]
EVERY = Path(__file__)


@dataclass(frozen=True)
class FirstSentences:
    """The first sentences of SST-2, as many as the clients need, their rarer words unknown.

    Attributes:
        number: How many.
    """

    number: int = 320

    def load(self) -> Dataset:
        data: Dataset = DATASETS.build("sst2", {"length": LENGTH, "phrases": False}).load()
        x, test = (part.copy() for part in (data.x[: self.number], data.test_x))
        for part in (x, test):
            part[part >= WORDS] = 1
        return replace(data, x=x, y=data.y[: self.number], test_x=test, num_tokens=WORDS)


def scenario(rank: int, clients: int, lr: float, rounds: int, vectorize: str) -> Any:
    return make_scenario({
        "name": "adapters_speed", "rounds": rounds, "num_clients": clients, "vectorize": vectorize,
        "data": {"name": f"{EVERY}:FirstSentences", "number": SENTENCES * clients},
        "model": {"name": "lora", "of": "tiny_bert", "rank": rank, "alpha": ALPHA, "targets": TARGETS,
                  "trained": ["head.*"]},
        "training": {"local_steps": STEPS, "batch_size": SENTENCES, "lr": lr},
        "evaluation": {"every": rounds + 1}, "runtime": {"pool": "serial"},
    })  # fmt: skip


class Peft:
    """FedAvg over peft's adapters, a client after the other."""

    def __init__(self, simulation: Simulation, clients: int, lr: float) -> None:
        import peft

        ours = make_model(simulation.spec, make_data(simulation.spec))
        self.lr, self.clients = lr, [simulation.data.client(n) for n in range(clients)]
        names = [n for n, m in ours.named_modules() if type(m).__name__ == "Adapted"]
        config = peft.LoraConfig(r=ours.get_submodule(names[0]).lora_down.out_features, lora_alpha=ALPHA,
                                 target_modules=names)  # fmt: skip
        base = make_model(
            replace(simulation.spec, model=replace(simulation.spec.model, name="tiny_bert", options={})),
            make_data(simulation.spec),
        )
        own = dict(ours.named_parameters())
        base.load_state_dict({n: own[n] for n in base.state_dict()})
        self.model: nn.Module = peft.get_peft_model(base, config)
        self.named = {ours_of(n): p for n, p in self.model.named_parameters() if "lora" in n or "head" in n}
        for name, parameter in self.named.items():
            parameter.requires_grad_(True)
            parameter.data.copy_(own[name].data)
        self.mean = [p.detach().clone() for p in self.named.values()]

    def round(self) -> None:
        own, total = list(self.named.values()), [torch.zeros_like(m) for m in self.mean]
        for x, y in self.clients:
            with torch.no_grad():
                for parameter, value in zip(own, self.mean, strict=True):
                    parameter.copy_(value)
            optimizer = torch.optim.SGD(own, self.lr)
            for _ in range(STEPS):
                optimizer.zero_grad()
                functional.cross_entropy(self.model(x), y).backward()
                optimizer.step()
            for part, parameter in zip(total, own, strict=True):
                part += parameter.detach()
        self.mean = [part / len(self.clients) for part in total]


def ours_of(name: str) -> str:
    """Return our name of peft's parameter."""
    short = name.removeprefix("base_model.model.").replace(".default", "")
    return short.replace("lora_A", "lora_down").replace("lora_B", "lora_up")


def timed(step: Any) -> tuple[float, Any]:
    begin = time.process_time()
    found = step()
    return time.process_time() - begin, found


def check(simulation: Simulation, params: Tensor, loop: Peft) -> None:
    """Raise unless the loop's first round is ours."""
    moved = simulation.plan.layout.views(params - simulation.first.params)
    first = simulation.plan.layout.views(simulation.first.params)
    theirs = torch.cat([(m - first[n]).flatten() for n, m in zip(loop.named, loop.mean, strict=True)])
    ours = torch.cat([moved[name].flatten() for name in loop.named])
    if float((theirs - ours).norm()) > 1e-3 * float(ours.norm()):
        raise SystemExit("peft's first round is not ours")


Measured = tuple[str, list[float], dict[str, list[float]]]


def measure(rank: int, clients: int, lr: float, pairs: int) -> Measured:
    """Return how ours were stacked, the loop's clients a second, and by way of training ours over these."""
    rounds: dict[str, Iterator[Any]] = {}
    made = {way: prepare(scenario(rank, clients, lr, pairs + 2, way).run_spec()) for way in ("auto", "off")}
    for way, simulation in made.items():
        rounds[way] = iter(simulation.steps(simulation.serial_pool()))
    loop, rates, ratios = Peft(made["auto"], clients, lr), list[float](), {way: list[float]() for way in made}
    for number in range(pairs + 1):
        plain, _ = timed(loop.round)
        for way, steps in rounds.items():
            spent, step = timed(lambda steps=steps: next(steps))
            if number == 0:
                check(made[way], step.state.params, loop)
            else:
                ratios[way].append(plain / spent)
        rates += [clients / plain] if number else []
    return made["auto"].choice.reason, rates, ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--ranks", nargs="+", type=int, default=[4, 8])
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--lr", type=float, default=0.1)
    asked = parser.parse_args()
    if find_spec("peft") is None:
        print("adapters_speed: peft is not installed (pip install gauntlet[text]); nothing was measured")
        return
    torch.set_num_threads(1)
    print("| rank | ours | clients a second over peft's: median, least, largest | pairs |\n|---|---|---|---|")
    for rank in asked.ranks:
        reason, rates, ratios = measure(rank, asked.clients, asked.lr, asked.pairs)
        for way, found in ratios.items():
            what = reason if way == "auto" else "one client at a time"
            spread = f"{median(found):.2f}, {min(found):.2f}, {max(found):.2f}"
            print(f"| {rank} | {what} | {spread} | {len(found)} |", flush=True)
        print(f"(peft's loop: {median(rates):.1f} clients a CPU second)", flush=True)


if __name__ == "__main__":
    main()
