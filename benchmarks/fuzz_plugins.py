"""Plug-ins of every family that hand back something else than they owe, or leave the process."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_cases import SMALL, first_round, pick

from gauntlet.sims.scenario import make_scenario

PLUGIN = """
import sys
import numpy as np
import torch
from dataclasses import dataclass, replace
from {module} import {cls} as Base

def recursion(): return recursion()
def double(v):
    if isinstance(v, tuple): return tuple(map(double, v))
    return v.double() if isinstance(v, torch.Tensor) else v
def half(v):
    if isinstance(v, tuple): return tuple(map(half, v))
    return v[: len(v) // 2] if isinstance(v, torch.Tensor | np.ndarray | list) else v
def raises(error): raise error

@dataclass(frozen=True)
class Wrong(Base):
    def {verb}(self, *a, **k):
        base = super().{verb}(*a, **k)
        return {reply}
"""
REPLIES = (
    "None", "1", "3.5", "'x'", "[]", "{}", "()", "(None, None)", "(1, 2, 3)", "torch.zeros(3)",
    "torch.zeros(0)", "(torch.zeros(3), None)", "np.zeros(3)", "(np.zeros(3), np.zeros(2))", "float('nan')",
    "object()", "Base", "self", "double(base)", "half(base)", "[base]", "(base, base)",
    "base[::-1] if isinstance(base, tuple) else [base, base]", "sys.exit(0)", "raises(SystemExit)",
    "raises(MemoryError())", "raises(GeneratorExit())", "recursion()", "1/0",
    "raises(BaseException('x' * 10**6))", "raises(StopIteration())", "torch.zeros(2**60)",
    "np.zeros(2**50)", "(replace(base[0], **{k: None for k in list(vars(base[0]))[:1]}), None)",
    "(replace(base[0], **{k: 7 for k in list(vars(base[0]))[-2:]}), None)",
)  # fmt: skip
WHERE = {
    "defense": (
        "gauntlet.defenses.mean",
        "Mean",
        ("aggregate", "init", "counts", "denominator", "sensitivity"),
    ),
    "codec": (
        "gauntlet.clients.codecs.terngrad",
        "TernGrad",
        ("encode", "decode", "records", "max_body", "ideal_bits", "init"),
    ),
    "network": ("gauntlet.server.networks.links", "Links", ("deliver",)),
    "sampler": ("gauntlet.server.samplers.full", "Full", ("sample", "sampling")),
    "server_optimizer": ("gauntlet.server.optimizers.sgd", "SGD", ("step", "init")),
    "privacy": ("gauntlet.privacy.no_privacy", "NoPrivacy", ("privatize", "clip", "noise", "event", "init")),
    "algorithm": ("gauntlet.clients.algorithms.fedprox", "FedProx", ("schedule", "correct")),
    "data": ("gauntlet.clients.data.synthetic", "SyntheticPopulation", ("populate",)),
    "pre_aggregations": ("gauntlet.defenses.nnm", "NNM", ("transform", "init")),
    "attacks": ("gauntlet.attacks.poisoning.sign_flip", "SignFlip", ("corrupt", "init")),
    "model": ("gauntlet.clients.models.logistic_regression", "LogisticRegression", ("build",)),
}
"""From a section to a built-in of its family (module, class), and the verbs that are made to go wrong."""


def wrong_plugin(stream: np.random.Generator, scratch: Path) -> tuple[Callable[[], object], str]:
    section = pick(stream, list(WHERE))
    module, cls, verbs = WHERE[section]
    verb, reply = pick(stream, verbs), pick(stream, REPLIES)
    path = scratch / "wrong.py"
    path.write_text(PLUGIN.format(module=module, cls=cls, verb=verb, reply=reply))
    told: Any = {"name": f"{path}:Wrong"}
    if section == "attacks":
        told = [{**told, "count": 2}]
    elif section == "pre_aggregations":
        told = [{**told, "num_byzantine": 1}]
    elif section == "data":
        told = {**dict(SMALL["data"]), **told}
    raw = {**SMALL, section: told}
    return partial(first_round, lambda: make_scenario(raw)), f"{section}.{verb} returns {reply}"
