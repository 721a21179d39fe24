"""Messages that leakage attacks are tried on: one SGD step of a small smooth network on one random image.

For an attack that rebuilds tokens alone, it is a step of a small reader, or of one with attention, on one
sequence of 5 of 10 tokens.
"""

import copy
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ....core.contracts import MaliciousServer, Secret
from ....core.declarations import LeakageAttacks, declared
from ....core.errors import GauntletError
from ....core.layout import Layout
from ....core.leakage_knowledge import LeakageKnowledge, Level, Records
from ....core.observation import Observation, Truth
from ....core.seeds import generator, seeded_torch
from ...servers import SERVERS
from ..parts.requirements import least_levels

SHAPE, CLASSES, LR, LENGTH = (1, 8, 8), 10, 0.5, 5
Network = Literal["smooth", "rectified", "normed"]
NETWORKS: tuple[Network, ...] = get_args(Network)
"""The networks that an attack is tried on: the first that it does not refuse."""


class Reader(nn.Module):
    """From tokens [B, 5] to the logits of 10 tokens at every position [B, 5, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(CLASSES, 8), nn.Embedding(LENGTH, 8)
        self.inner, self.head = nn.Linear(8, 16), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(LENGTH).expand_as(x)
        logits: Tensor = self.head(self.inner(self.tokens(x) + self.positions(places)).tanh())
        return logits


class Attending(nn.Module):
    """The reader with two blocks of causal attention in the place of its inner layer, 32 wide."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(CLASSES, 32), nn.Embedding(LENGTH, 32)
        self.layers = nn.ModuleList(nn.Linear(32, 96) for _ in range(2))
        self.head = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.tokens(x) + self.positions(torch.arange(LENGTH).expand_as(x))
        for layer in self.layers:
            query, key, value = layer(h).chunk(3, dim=2)
            h = h + functional.scaled_dot_product_attention(query, key, value, is_causal=True).tanh()
        logits: Tensor = self.head(h)
        return logits


def example(
    number: int = 0,
    rounds: int = 1,
    server: tuple[str, MaliciousServer] | None = None,
    tokens: bool = False,
    network: Network = "smooth",
) -> tuple[list[Observation], Truth]:
    """Return a client's messages of some rounds and the truth behind them; equal arguments give equal ones.

    The client takes one step on the same image (with ``tokens`` on the same sequence) in every round, and the
    model moves in between. A malicious server's model stays as it plants it.
    """
    stream = generator(0, "leakage_contract", number)
    if tokens:
        return _read(number, rounds, stream, network)
    with seeded_torch(stream):
        model = _network(network)
    x = torch.from_numpy(stream.random((1, *SHAPE))).float()
    y = torch.from_numpy(stream.integers(CLASSES, size=1))
    if server is not None:
        name, plugin = server
        made, secret = planted_model(model, plugin)
        told = {"server": name, **secret}
        return [message(made, x, y, number, r, told) for r in range(rounds)], Truth(x, y)
    seen = [message(model if r == 0 else moved(model, stream), x, y, number, r, {}) for r in range(rounds)]
    return seen, Truth(x, y)


def _network(kind: Network) -> nn.Module:
    if kind == "normed":
        first, norm = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        return nn.Sequential(first, norm, nn.Sigmoid(), nn.Flatten(), nn.Linear(512, CLASSES))
    between = nn.ReLU() if kind == "rectified" else nn.Sigmoid()
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), between, nn.Linear(32, CLASSES))


def refuses(attack: object, observation: Observation) -> bool:
    """Return whether an attack's own check refuses a message's model."""
    check = declared(attack, LeakageAttacks.check)
    try:
        if check is not None:
            check(observation)
    except GauntletError:
        return True
    return False


def _read(
    number: int, rounds: int, stream: np.random.Generator, network: Network
) -> tuple[list[Observation], Truth]:
    """Return ``example`` of a sequence of tokens."""
    with seeded_torch(stream):
        model = Reader() if network == "smooth" else Attending()
    sequence = torch.from_numpy(stream.integers(CLASSES, size=(1, LENGTH + 1)))
    x, y = sequence[:, :-1].clone(), sequence[:, 1:].clone()
    seen = [message(model if r == 0 else moved(model, stream), x, y, number, r, {}) for r in range(rounds)]
    return seen, Truth(x, y)


def undoes(attack: object) -> bool:
    """Return whether an attack needs to know what clients do against it."""
    return "client_defense" in least_levels(attack)


def mirrored(observations: list[Observation], truth: Truth) -> tuple[list[Observation], Truth]:
    """Return messages of a client whose defense mirrors values, so that 1 - x is what it has.

    The defense tells attackers how that is undone.
    """
    seen = [
        replace(o, undo=_unmirror, knowledge=replace(o.knowledge, client_defense="mirror"))
        for o in observations
    ]
    return seen, Truth(1 - truth.x, truth.y)


def _unmirror(seen: Sequence[Tensor], *_: object) -> tuple[Tensor, float]:
    return 1 - seen[-1], 0.0


def reads_tokens(attack: object) -> bool:
    """Return whether an attack rebuilds tokens and nothing else."""
    return tuple(declared(attack, LeakageAttacks.inputs)) == ("tokens",)


def server_of(attack: object) -> tuple[str, MaliciousServer] | None:
    """Return the malicious server whose secret an attack reads, by its name; None where it reads none.

    One from outside is a class of that name beside the attack's own.

    Raises:
        PluginError: There is none of that name.
    """
    name: Any = declared(attack, LeakageAttacks.only).get("server")
    if name is None:
        return None
    module = sys.modules.get(type(getattr(attack, "__wrapped__", attack)).__module__)
    beside: Any = getattr(module, name, None)
    return name, (beside() if isinstance(beside, type) else SERVERS.build(name))


def planted_model(model: nn.Module, server: MaliciousServer) -> tuple[nn.Module, Secret]:
    """Return the network as a malicious server hands it out, with its secret."""
    with seeded_torch(generator(0, "leakage_contract_server")):
        made, secret = server.rebuild(copy.deepcopy(model))
    layout, own = Layout.of(made), dict(made.named_parameters())
    stream = generator(0, "leakage_contract_planted")
    params, told, _ = server.plant(layout.flatten(own), server.init(secret), stream)
    with torch.no_grad():
        for name, value in layout.views(params).items():
            own[name].copy_(value)
    return made, {**secret, **told}


def message(
    model: nn.Module, x: Tensor, y: Tensor, client_id: int, round_: int, planted: Secret
) -> Observation:
    layout, local = Layout.of(model), copy.deepcopy(model)  # a step moves buffers
    loss = functional.cross_entropy(local(x).flatten(0, -2), y.flatten())
    gradients = torch.autograd.grad(loss, list(local.parameters()))
    buffers = layout.flatten_buffers(dict(local.named_buffers()))
    sent: dict[str, Any] = {"num_examples": 1, **({"buffers": buffers} if len(buffers) else {})}
    update = -LR * torch.cat([g.reshape(-1) for g in gradients])
    plain = "identity", "none", "sgd", 0.0, "cross_entropy"
    labels = (int(y),) if y.ndim == 1 else None
    knowledge = LeakageKnowledge(
        1,
        labels,
        1,
        LR,
        *plain,
        planted.get("server"),
        momentum=0.0,
        local_lr=LR,
        batches=((0,),),
        dropout_masks=(),
        candidates=_records(x, y, client_id, "candidates", 4),
        auxiliary=_records(x[:0], y[:0], client_id, "auxiliary", 40),
        levels={"dropout_masks": Level.ORACLE},
    )
    tokens = 0 if x.is_floating_point() else CLASSES
    values = 0.0, CLASSES - 1.0 if tokens else 1.0
    return Observation(
        round_, client_id, model, layout, b"", update, tuple(x.shape[1:]), CLASSES, values, knowledge,
        releases=sent, planted=planted, num_tokens=tokens, label_shape=tuple(y.shape[1:]),
    )  # fmt: skip


def _records(x: Tensor, y: Tensor, number: int, name: str, count: int) -> Records:
    """Return a client's examples, and after them random ones of their kind, ``count`` of them together."""
    stream = generator(0, f"leakage_contract_{name}", number)
    missing = count - len(x)
    if x.is_floating_point():
        others = torch.from_numpy(stream.random((missing, *x.shape[1:]))).float()
    else:
        others = torch.from_numpy(stream.integers(CLASSES, size=(missing, *x.shape[1:])))
    labels = torch.from_numpy(stream.integers(CLASSES, size=(missing, *y.shape[1:])))
    return Records(torch.cat([x, others]), torch.cat([y, labels]))


def moved(model: nn.Module, stream: np.random.Generator) -> nn.Module:
    """Return a copy as far from the model as others' updates may have moved it."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.from_numpy(0.02 * stream.standard_normal(parameter.shape)).float())
    return other
