"""What rounds of one client tell together under error feedback, and what single messages tell.

Usage: leakage_feedback.py [--victims N] [--first I] [--rounds T] [--codecs NAME ...] [--attacks NAME ...]. A
victim is one test digit (8 x 8), one step of SGD a round, lr 0.1, float32, through a codec under error
feedback (top-k unless others are named), or EF21; the model (MLP 64-128-128-10 with GELU, its seed the
victim's number) moves by what the message decodes to. The label is read. All attacks take 300 steps of signed
Adam: on the last message alone as it decodes, on the first as its codec says it fits, on all messages each
for itself, on their sum, and on what the client had to encode. Prints mean PSNR, worst and best, and CPU
seconds a victim; to the standard error stream each victim's.
"""

import argparse
import copy
import sys
import time
from dataclasses import replace
from typing import Any

import torch
from leakage_codecs import LR, images, make_model
from torch.nn import functional

from gauntlet.attacks.leakage.inverting_gradients import InvertingGradients
from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.attacks.leakage.summed_rounds import SummedRounds
from gauntlet.clients.codecs import CODECS
from gauntlet.clients.codecs.parts.between_rounds import settled, shared_by
from gauntlet.clients.codecs.parts.wire import decode_frame, encode_cohort, mismatch_of, support_of
from gauntlet.clients.data import DATASETS
from gauntlet.core.contracts import Codec, CodecStreams
from gauntlet.core.declarations import Codecs, declared
from gauntlet.core.frames import Envelope
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation, Truth
from gauntlet.core.seeds import generator
from gauntlet.core.updates import Updates

PLAIN = InvertingGradients(objective="plain", tv=(1e-5, 1e-5), schedule="steps")
ATTACKS = {
    "last message": (PLAIN, slice(-1, None)),
    "first message, codec-aware": (replace(PLAIN, objective="auto"), slice(1)),
    "all, each for itself": (SummedRounds(objective="plain"), slice(None)),
    "all, their sum": (SummedRounds(objective="sum"), slice(None)),
    "all, what was encoded": (SummedRounds(), slice(None)),
}


CODECS_INSIDE: dict[str, dict[str, Any]] = {
    "top-k 1 %": {"name": "topk", "density": 0.01},
    "top-k 10 %": {"name": "topk", "density": 0.1},
    "stc 1 %": {"name": "stc", "density": 0.01},
    "sign": {"name": "sign"},
    "powersgd, rank 2": {"name": "powersgd", "rank": 2},
    "ef21, top-k 10 %": {"name": "ef21", "codec": {"name": "topk", "density": 0.1}},
}


def codec_of(inside: dict[str, Any]) -> Codec:
    """Return error feedback around a codec; EF21, which is one of its kind, as it is."""
    if inside["name"] == "ef21":
        return CODECS.build("ef21", {"codec": inside["codec"]})
    return CODECS.build("error_feedback", {"codec": inside})


def messages(victim: int, rounds: int, inside: dict[str, Any]) -> tuple[list[Observation], Truth]:
    """Return what one client sends in so many rounds, each message counted, and its example."""
    data = DATASETS.build("digits").load()
    x = images(data.test_x[victim : victim + 1])
    y = torch.from_numpy(data.test_y[victim : victim + 1])
    codec = codec_of(inside)
    model, state, found, one = make_model("digits", victim), codec.init(), [], torch.tensor([0])
    for t in range(rounds):
        layout, named = Layout.of(model), dict(model.named_parameters())
        loss = functional.cross_entropy(model(x), y)
        gradients = torch.autograd.grad(loss, [named[slot.name] for slot in layout.parameters])
        before = layout.flatten(named).detach()
        update = (before - LR * torch.cat([g.flatten() for g in gradients])) - before
        streams = CodecStreams(0, t, shared_by(codec, before, update, state))
        (frame,), state = encode_cohort(codec, Updates(update[None], one, one + 1), layout, 9, state, streams)
        state = settled(codec, state, [0])
        envelope, context = Envelope(codec.codec_id, t, 0, 9), streams.context(0)
        decoded = decode_frame(codec, frame, envelope, layout, context)
        told = LeakageKnowledge(1, None, 1, LR, "error_feedback", "none", "sgd", 0.0, "cross_entropy")
        seen = Observation(t, 0, model, layout, frame, decoded, tuple(x.shape[1:]), 10, (0.0, 1.0), told)
        found.append(
            replace(
                seen,
                support=support_of(codec, frame, envelope, layout),
                mismatch=mismatch_of(codec, frame, envelope, layout, context),
                carries=declared(codec, Codecs.carries),
            )
        )
        model = copy.deepcopy(model)
        with torch.no_grad():
            for name, value in layout.views(decoded).items():
                model.get_parameter(name).add_(value)
    return found, Truth(x, y)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--victims", type=int, default=10)
    asked.add_argument("--first", type=int, default=0)
    asked.add_argument("--rounds", type=int, default=4)
    asked.add_argument("--codecs", nargs="*", default=["top-k 1 %", "top-k 10 %"], choices=CODECS_INSIDE)
    asked.add_argument("--attacks", nargs="*", default=list(ATTACKS), choices=ATTACKS)
    given = asked.parse_args()
    torch.set_num_threads(1)
    print("| codec | attack on | dB, mean (worst to best) | CPU s |\n|---|---|---|---|")
    for label in given.codecs:
        psnr: dict[str, list[float]] = {name: [] for name in given.attacks}
        spent = dict.fromkeys(given.attacks, 0.0)
        for victim in range(given.first, given.first + given.victims):
            seen, truth = messages(victim, given.rounds, CODECS_INSIDE[label])
            for name in given.attacks:
                attack, which = ATTACKS[name]
                began = time.process_time()
                made = attack.reconstruct(seen[which], generator(victim, "attack"))
                spent[name] += time.process_time() - began
                psnr[name].append(float(score(made, truth, (0.0, 1.0)).psnr.mean()))
            words = ", ".join(f"{values[-1]:.1f}" for values in psnr.values())
            print(f"{label}, victim {victim}: {words}", file=sys.stderr, flush=True)
        for name, r in psnr.items():
            figures = f"{sum(r) / len(r):.1f} ({min(r):.1f} to {max(r):.1f}) | {spent[name] / len(r):.1f}"
            print(f"| {label} | {name} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
