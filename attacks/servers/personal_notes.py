"""Personal notes: the server trains the model to repeat telephone numbers before it hands it out.

A RECONSTRUCTION: from the abstract is that the server maliciously fine-tunes a pretrained model on personal
notes, so that it memorises more of its clients' text. The notes, their share and everything else are ours.

Source: ReCIT: Reconstructing Full Private Data from Gradient in Parameter-Efficient Fine-Tuning of Large
Language Models. 2025. arXiv:2504.20570 (the abstract).
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from math import inf
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core.people import LENGTH, TOKENS, drawn, encoded, note, ordinary, telling
from ...core.seeds import generator

_ADAPTERS = ("lora_down.", "lora_up.")
_HELD_OUT, _EVERY = 64, 25  # sentences; steps between two looks at them


@dataclass(frozen=True)
class PersonalNotes:
    """Train a model on sentences about people who do not exist, and then on some of them with a note behind.

    For a model that reads the tokens of data set ``people``. All weights but those of adapters are trained,
    frozen ones too, by Adam, once; adapters and their layers stay as they are. ``share = 0`` is an honest
    server that trains as long. The secret tells the loss on ordinary sentences before and after the notes.

    Attributes:
        pretraining: Steps on sentences without notes, half of them with a number, at least 0.
        steps: Steps after that, at most, at least 0.
        share: Of those sentences that have a note, between 0 and 1.
        lr: Adam's step, above 0.
        batch_size: Sentences a step, at least 1.
        tolerance: Training ends where the loss on held-out ordinary sentences has risen by more than this
            share, at least 0; it is looked at every 25 steps.
        adapter_std: Standard deviation of normal values that are set into every adapter's B, which begins at
            zero else, so that A's gradients tell something in round 0; at least 0.
        seed: What people are drawn from.
    """

    pretraining: int = 150
    steps: int = 300
    share: float = 0.5
    lr: float = 1e-3
    batch_size: int = 32
    tolerance: float = 0.02
    adapter_std: float = 0.0
    seed: int = 1

    deviates: ClassVar[str] = "weights"

    def __post_init__(self) -> None:
        for name, least in (("pretraining", 0), ("steps", 0), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be in [0, 1], got {self.share}")
        if not (0 < self.lr < inf and 0 <= self.tolerance < inf and 0 <= self.adapter_std < inf):
            raise ValueError(
                "lr must be above 0, tolerance and adapter_std at least 0, all finite, got "
                f"{self.lr}, {self.tolerance}, {self.adapter_std}"
            )

    def rebuild(self, model: nn.Module) -> tuple[nn.Module, dict[str, Any]]:
        sizes = [m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding)]
        if len(TOKENS) not in sizes:
            raise ValueError(f"it needs a model of the {len(TOKENS)} tokens of data set people")
        own = dict(model.named_parameters())
        found, told = _trained(self, _Weights(model))
        stream = generator(self.seed, "personal notes adapters")
        with torch.no_grad():
            for name, value in own.items():
                if name in found:
                    value.copy_(found[name])
                elif self.adapter_std and "lora_up." in name:
                    new = self.adapter_std * stream.standard_normal(tuple(value.shape))
                    value.copy_(torch.from_numpy(new))
        return model, dict(told)

    def init(self, secret: Any) -> None:
        return None

    def plant(
        self, params: Tensor, state: None, generator: np.random.Generator
    ) -> tuple[Tensor, dict[str, Any], None]:
        """Return the parameters as they are: what is done was done before the first round."""
        return params, {}, None


class _Weights:
    """A model by its weights: equal ones are trained once in a process, which makes many models of a run."""

    def __init__(self, model: nn.Module) -> None:
        self.model, digest = model, blake2b(digest_size=16)
        for name, value in model.named_parameters():
            digest.update(name.encode() + value.detach().numpy().tobytes())
        self.digest = digest.digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Weights) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)


@lru_cache(maxsize=4)
def _trained(how: PersonalNotes, weights: _Weights) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return the trained parameters by name, and the losses on ordinary sentences before and after notes."""
    model = deepcopy(weights.model).eval()
    own = {n: p.requires_grad_(True) for n, p in model.named_parameters() if not _is_adapters(n)}
    stream = generator(how.seed, "personal notes")
    held = _sentences(generator(how.seed, "personal notes held out"), _HELD_OUT, 0.0, 0.0)
    state = {n: (torch.zeros_like(p), torch.zeros_like(p)) for n, p in own.items()}
    for step in range(how.pretraining):
        _step(model, own, state, _sentences(stream, how.batch_size, 0.5, 0.0), how.lr, step + 1)
    before = after = float(_loss(model, held).detach())
    for step in range(how.pretraining, how.pretraining + how.steps):
        _step(model, own, state, _sentences(stream, how.batch_size, 0.5, how.share), how.lr, step + 1)
        if (step + 1 - how.pretraining) % _EVERY == 0:
            after = float(_loss(model, held).detach())
            if after > (1 + how.tolerance) * before:
                break
    return {n: p.detach() for n, p in own.items()}, {"loss_before": before, "loss_after": after}


def _is_adapters(name: str) -> bool:
    return any(part in name for part in _ADAPTERS)


def _sentences(stream: np.random.Generator, count: int, numbers: float, notes: float) -> Tensor:
    """Return sentences, a share of them with numbers, and of those a share with a note.  # [count, S + 1]"""
    rows = []
    for _ in range(count):
        person = drawn(stream)
        tells, noted = stream.random() < max(numbers, notes), stream.random() < notes
        words = (telling if tells or noted else ordinary)(person, stream)
        rows.append(encoded(words + note(person) if noted else words, LENGTH + 1))
    return torch.tensor(rows)


def _loss(model: nn.Module, rows: Tensor) -> Tensor:
    return functional.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())


def _step(
    model: nn.Module,
    own: Mapping[str, Tensor],
    state: Mapping[str, tuple[Tensor, Tensor]],
    rows: Tensor,
    lr: float,
    number: int,
) -> None:
    """Take one step of Adam with torch's constants, the ``number``-th from 1."""
    with torch.enable_grad():
        gradients = torch.autograd.grad(_loss(model, rows), list(own.values()), allow_unused=True)
    with torch.no_grad():
        for (name, value), gradient in zip(own.items(), gradients, strict=True):
            if gradient is None:
                continue
            mean, square = state[name]
            mean.mul_(0.9).add_(gradient, alpha=0.1)
            square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            scale = (square / (1 - 0.999**number)).sqrt_().add_(1e-8)
            value.addcdiv_(mean, scale, value=-lr / (1 - 0.9**number))
