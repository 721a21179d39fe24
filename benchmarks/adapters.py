"""Full training, LoRA, LoRA-GA and LoRA-Pro on SST-2: accuracy at each one's own best step, bytes, leakage.

Usage: adapters.py [--methods full lora ...] [--lrs ...] [--seeds 0 1 2] [--tuning 10] [--rounds 10]

`tiny_bert` (width 64, two blocks, sentences of 20 tokens) is trained on 12 000 phrases of at most four words
of SST-2. Ten clients hold the whole sentences that are left of 6920 once the server has 200 of its own; each
takes 5 steps of Adam on 16 of them in every round, and all take part. The step is the best mean of the tuning
seeds, for products that of factors; accuracies on the treebank's 1821 test sentences are of the other seeds.
Every seed draws its own base, clients and adapters. With adapters the head is trained whole, and embeddings
are frozen.

Leakage: the gradient of one sentence at the broadcast of the first and of the last round, 8 test sentences a
seed, by `dager`: the share that is rebuilt exactly. CPU seconds of one thread.
"""

import argparse
import os
import time
from functools import cache
from pathlib import Path
from statistics import mean, median
from tempfile import mkdtemp

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn
from torch.nn import functional

from gauntlet.attacks.leakage.dager import DAGER
from gauntlet.clients.data import DATASETS
from gauntlet.clients.data.base import Dataset
from gauntlet.clients.data.files import find_folder
from gauntlet.clients.data.sentences import words_of
from gauntlet.clients.models.tiny_bert import TinyBert
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation
from gauntlet.core.seeds import generator, seeded_torch
from gauntlet.server.assembly.ingredients import make_data, make_model
from gauntlet.server.simulation import prepare
from gauntlet.sims.scenario import make_scenario

LENGTH, WORDS, RANK, PHRASE, PHRASES = 20, 2000, 8, 4, 12_000
BERT = {"name": "tiny_bert", "width": 64, "blocks": 2, "inner": 128}
LORA = {"name": "lora", "of": BERT, "rank": RANK, "alpha": 16.0, "trained": ["head.*"]}
METHODS = {
    "full": {"model": BERT},
    "lora": {"model": LORA},
    "lora, products": {"model": LORA, "defense": "lora_product"},
    "lora_ga": {"model": LORA | {"start": "lora_ga"}},
    "lora_pro": {"model": LORA | {"gradient": "lora_pro"}},
    "lora_pro, products": {"model": LORA | {"gradient": "lora_pro"}, "defense": "lora_product"},
    "lora_ga, lora_pro": {"model": LORA | {"start": "lora_ga", "gradient": "lora_pro"}},
    "lora, nf4": {"model": LORA | {"base": "nf4"}},
}
SCRATCH = Path(mkdtemp(prefix="adapters"))


@cache
def words() -> str:
    """Return a file of the most frequent words of SST-2's training sentences."""
    folder, counts = find_folder("sst2", ["sentences_train.tsv"]), dict[str, int]()
    assert folder is not None, "SST-2 is not on this machine"
    for line in (folder / "sentences_train.tsv").read_text(encoding="utf-8").splitlines():
        for word in words_of(line.partition("\t")[0]):
            counts[word] = counts.get(word, 0) + 1
    ranked = sorted(counts, key=lambda word: (-counts[word], word))[:WORDS]
    (SCRATCH / "words.txt").write_text("\n".join(ranked), encoding="utf-8")
    return str(SCRATCH / "words.txt")


@cache
def sentences(phrases: bool = False) -> Dataset:
    return DATASETS.build("sst2", {"length": LENGTH, "tokenizer": words(), "phrases": phrases}).load()


@cache
def base(seed: int) -> str:
    """Return a file of the model's weights after a pass over short phrases by Adam."""
    data = sentences(True)
    with seeded_torch(generator(seed, "adapters_base")):
        model = TinyBert(**{k: v for k, v in BERT.items() if k != "name"}).build(
            (LENGTH,), 2, data.num_tokens
        )
        adam, x, y = (
            torch.optim.Adam(model.parameters(), 1e-3),
            torch.from_numpy(data.x),
            torch.from_numpy(data.y),
        )
        for _ in range(2):
            for rows in torch.randperm(len(x)).split(32):
                adam.zero_grad()
                functional.cross_entropy(model(x[rows]), y[rows]).backward()
                adam.step()
    from safetensors.torch import save_file

    save_file(model.state_dict(), SCRATCH / f"base-{seed}.safetensors")
    return str(SCRATCH / f"base-{seed}.safetensors")


def run(method: str, lr: float, seed: int, rounds: int, tuning: bool = False) -> dict[str, object]:
    """Return the accuracy, bytes a client sends in a round, the gap of factors, and the messages' models."""
    how = METHODS[method]
    values = {
        "name": "adapters", "seed": seed, "rounds": rounds, "num_clients": 10, "root_examples": 200,
        "data": {"name": "sst2", "phrases": False, "length": LENGTH, "tokenizer": words()},
        "training": {"local_steps": 5, "batch_size": 16, "lr": lr, "optimizer": "adam"},
        "evaluation": {"every": rounds}, "runtime": {"pool": "serial"},
        **how, "model": {**how["model"], "init": base(seed)},
    }  # fmt: skip
    spec = make_scenario(values).run_spec()
    simulation = prepare(spec)
    gaps, sent, step = [], 0, None
    for step in simulation.steps(simulation.serial_pool()):
        details = step.outcome.verdict.details
        gaps += [details[0]["factor_gap"]] if details else []
    assert step is not None
    sent = step.state.bytes_up // (10 * rounds)
    model, layout = make_model(spec, make_data(spec)), simulation.plan.layout
    own = dict(model.named_parameters())
    messages: list[float] = []
    for params in () if tuning else (simulation.first.params, step.state.params):
        with torch.no_grad():
            for name, value in layout.views(params).items():
                own[name].copy_(value)
        messages.append(leaked(model, seed))
    loss = step.score.loss
    return {
        "accuracy": step.score.accuracy if loss == loss else 0.0, "bytes": sent, "gaps": gaps,
        "leaked": messages,
    }  # fmt: skip


def leaked(model: nn.Module, seed: int) -> float:
    """Return the share of eight sentences that are rebuilt exactly, each from one step on it alone."""
    data = sentences()
    rows = generator(seed, "adapters_victims").permutation(len(data.test_x))[:8]
    return mean(float(found(model, torch.from_numpy(data.test_x[[n]]), data.test_y[n])) for n in rows)


def found(model: nn.Module, x: Tensor, label: int) -> bool:
    layout, own = Layout.of(model), [p for p in model.parameters() if p.requires_grad]
    loss = functional.cross_entropy(model(x), torch.tensor([label]))
    sent = -torch.cat([g.flatten() for g in torch.autograd.grad(loss, own)])
    tokens = sentences().num_tokens
    seen = Observation(
        0, 0, model, layout, b"", sent, (LENGTH,), 2, (0.0, tokens - 1.0),
        LeakageKnowledge(batch_size=1, local_steps=1), kind="gradient", num_tokens=tokens,
    )  # fmt: skip
    rebuilt = DAGER(max_candidates=2000).reconstruct([seen], generator(0, "attack"))
    length = int((x != 0).sum())
    return bool(torch.equal(rebuilt.x[0, :length], x[0, :length]))


@cache
def steps(method: str, lrs: tuple[float, ...], seeds: tuple[int, ...], rounds: int) -> dict[float, float]:
    """Return the mean accuracy of each step size over the tuning seeds; of a single one nothing is tried."""
    if len(lrs) == 1:
        return dict.fromkeys(lrs, float("nan"))
    every = {lr: [run(method, lr, seed, rounds, tuning=True)["accuracy"] for seed in seeds] for lr in lrs}
    return {lr: mean(float(str(value)) for value in found) for lr, found in every.items()}


def row(method: str, asked: argparse.Namespace) -> str:
    begin = time.process_time()
    tuned = steps(method.removesuffix(", products"), tuple(asked.lrs), tuple(asked.tuning), asked.rounds)
    best = max(tuned, key=tuned.__getitem__)
    runs = [run(method, best, seed, asked.rounds) for seed in asked.seeds]
    every = [float(str(one["accuracy"])) for one in runs]
    gaps = [gap for one in runs for gap in one["gaps"]]
    first, last = (mean(one["leaked"][n] for one in runs) for n in (0, 1))
    gap = f"{min(gaps):.2f} to {max(gaps):.2f}" if gaps else ""
    values = ", ".join(f"{value:.3f}" for value in tuned.values())
    return (
        f"| {method} | {values} | {best:g} | {mean(every):.3f}, {median(every):.3f}, {max(every):.3f}, "
        f"{min(every):.3f} | {runs[0]['bytes']} | {gap} | {first:.2f} | {last:.2f} "
        f"| {time.process_time() - begin:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--lrs", nargs="+", type=float, default=[0.0003, 0.001, 0.003])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--tuning", nargs="+", type=int, default=[10])
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    lrs = " ".join(map(str, asked.lrs))
    print(f"| method | tuning, steps {lrs} | step | accuracy: mean, median, best, worst "
          "| bytes a message | gap | leaked, first | last | CPU s |\n|" + "---|" * 9)  # fmt: skip
    for method in asked.methods:
        print(row(method, asked), flush=True)


if __name__ == "__main__":
    main()
