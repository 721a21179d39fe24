"""How much more an attacker rebuilds that takes what the codec says of its frames than one that does not.

Usage: leakage_codecs.py [SETTING ...] [--victims N] [--first I] [--codecs NAME ...] [--attack NAME]. Settings
are digits (8 x 8, MLP 64-128-128-10 with GELU), mnist and fashion (LeNet with sigmoid); with ``-4`` four
examples, with ``-trained`` a model that was trained before; by default digits. A victim is one step of SGD,
lr 0.1, float32, on test images from number I (default 0); its model has the victim's number as its seed.
Labels are told. Digits by ``inverting_gradients`` (500 iterations, no total variation), LeNet by ``dlg``
(L-BFGS with line search, 60 iterations, uniform start, 2 restarts), unless the attack is chosen:
``inverting_gradients`` is then with total variation (``SMOOTH``). Prints means, medians, worst and best, and
CPU seconds a victim; to the standard error stream each victim's two results.
"""

import argparse
import statistics
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gauntlet.attacks.leakage.dlg import DLG
from gauntlet.attacks.leakage.inverting_gradients import InvertingGradients
from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.clients.codecs import CODECS
from gauntlet.clients.codecs.parts.wire import decode_frame, encode_cohort, mismatch_of, support_of
from gauntlet.clients.data import DATASETS
from gauntlet.clients.models import MODELS
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.frames import Envelope
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation, Truth
from gauntlet.core.seeds import generator, seeded_torch
from gauntlet.core.updates import Updates

LR = 0.1
CODED: dict[str, tuple[str, dict[str, Any]]] = {
    "top-k 10 %": ("topk", {"density": 0.1}),
    "top-k 1 %": ("topk", {"density": 0.01}),
    "stc 1 %": ("stc", {"density": 0.01}),
    "terngrad, no clip": ("terngrad", {"clip": 0.0}),
    "terngrad": ("terngrad", {}),
    "fp16": ("fp16", {}),
}
ONE_BYTE: dict[str, tuple[str, dict[str, Any]]] = {
    "10 bytes": ("one_byte", {"scalars_per_round": 10, "unit": 1e-3}),
    "100 bytes": ("one_byte", {"scalars_per_round": 100, "unit": 1e-3}),
    "1000 bytes": ("one_byte", {"scalars_per_round": 1000, "unit": 1e-3}),
}
LBFGS = DLG(line_search=True, init="uniform", max_iterations=60, restarts=2)
ATTACKS = {
    "digits": InvertingGradients(max_iterations=500, tv=(0.0, 0.0), schedule="steps"),
    "mnist": LBFGS,
    "fashion": LBFGS,
}
SMOOTH = InvertingGradients(tv=(1.0, 0.05), tv_bound=None)  # chosen on MNIST's victims 10 to 12
DATA = {"digits": "digits", "mnist": "mnist", "fashion": "fashion_mnist"}


def images(pixels: np.ndarray[Any, Any]) -> Tensor:
    """Return pixels as floats from 0 to 1, channels first.  # [B, 1, height, width]"""
    scale = 255 if pixels.dtype == np.uint8 else 1
    values = torch.from_numpy(pixels.astype(np.float32)) / scale
    return values if values.ndim == 4 else values.unsqueeze(1)


def make_model(data: str, seed: int) -> nn.Module:
    with seeded_torch(generator(seed, "leakage_codecs model")):
        if data == "digits":
            layers = nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 128), nn.GELU(), nn.Linear(128, 10)
            return nn.Sequential(nn.Flatten(), *layers)
        return MODELS.build("lenet_sigmoid").build((1, 28, 28), 10)


def train(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """Take 200 steps of Adam, on 64 examples each."""
    adam, stream = torch.optim.Adam(model.parameters(), lr=1e-3), generator(0, "leakage_codecs batches")
    for _ in range(200):
        batch = torch.from_numpy(stream.integers(len(x), size=64))
        adam.zero_grad()
        functional.cross_entropy(model(x[batch]), y[batch]).backward()
        adam.step()
    model.zero_grad()


def observe(model: nn.Module, x: Tensor, y: Tensor, name: str, options: dict[str, Any]) -> Observation:
    """Return what a server sees of one step, as a codec lets it through."""
    codec, layout, streams = CODECS.build(name, options), Layout.of(model), CodecStreams(0, 0)
    named = dict(model.named_parameters())
    loss = functional.cross_entropy(model(x), y)
    gradients = torch.autograd.grad(loss, [named[slot.name] for slot in layout.parameters])
    before = layout.flatten(named)
    update = (before - LR * torch.cat([g.flatten() for g in gradients])) - before
    one = torch.tensor([0])
    (frame,), _ = encode_cohort(codec, Updates(update[None], one, one + 1), layout, 9, codec.init(), streams)
    envelope, context = Envelope(codec.codec_id, 0, 0, 9), streams.context(0)
    return Observation(
        0, 0, model, layout, frame,
        decode_frame(codec, frame, envelope, layout, context),
        tuple(x.shape[1:]), 10, (0.0, 1.0),
        LeakageKnowledge(len(y), tuple(y.tolist()), 1, LR, name, "none", "sgd", 0.0, "cross_entropy"),
        support=support_of(codec, frame, envelope, layout),
        mismatch=mismatch_of(codec, frame, envelope, layout, context),
    )  # fmt: skip


Attack = DLG | InvertingGradients


def compare(setting: str, victims: int, first: int, codecs: list[str], attack: Attack) -> None:
    parts = setting.split("-")
    found = DATASETS.build(DATA[parts[0]]).load()
    size = 4 if "4" in parts else 1
    for label in codecs:
        rows: dict[str, list[float]] = {"plain": [], "auto": []}
        spent = dict.fromkeys(rows, 0.0)
        for victim in range(first, first + victims):
            where = slice(victim * size, (victim + 1) * size)
            x, y = images(found.test_x[where]), torch.from_numpy(found.test_y[where])
            model = make_model(parts[0], victim)
            if "trained" in parts:
                train(model, images(found.x[:10000]), torch.from_numpy(found.y[:10000]))
            seen = observe(model, x, y, *{**CODED, **ONE_BYTE}[label])
            for objective, psnr in rows.items():
                began = time.process_time()
                made = replace(attack, objective=objective).reconstruct([seen], generator(victim, "attack"))
                spent[objective] += time.process_time() - began
                psnr.append(float(score(made, Truth(x, y), (0.0, 1.0)).psnr.mean()))
            print(
                f"{label}, victim {victim}: {rows['plain'][-1]:.1f}, {rows['auto'][-1]:.1f}", file=sys.stderr
            )
        words = [
            f"{sum(r) / len(r):.1f}, {statistics.median(r):.1f} ({min(r):.1f} to {max(r):.1f})"
            for r in rows.values()
        ]
        cost = " | ".join(f"{s / victims:.1f}" for s in spent.values())
        print(f"| {setting} | {label} | {words[0]} | {words[1]} | {cost} |", flush=True)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("settings", nargs="*", default=["digits"])
    asked.add_argument("--victims", type=int, default=10)
    asked.add_argument("--first", type=int, default=0)
    asked.add_argument("--codecs", nargs="*", default=list(CODED), choices=[*CODED, *ONE_BYTE])
    asked.add_argument("--attack", choices=["inverting_gradients"])
    given = asked.parse_args()
    torch.set_num_threads(1)
    print("| setting | codec | unaware: dB, mean, median (worst to best) | aware | CPU s | CPU s, aware |")
    print("|---|---|---|---|---|---|")
    for setting in given.settings:
        attack = SMOOTH if given.attack else ATTACKS[setting.split("-")[0]]
        compare(setting, given.victims, given.first, given.codecs, attack)


if __name__ == "__main__":
    main()
