"""The fixed cases that a leakage attack must rebuild, one for each kind of message that it says it works on.

A case is one message and what must come out at least. An attack is tried on the first network of a kind that
its own check accepts, and must be tried on one case at least.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ....core.declarations import LeakageAttacks, declared
from ....core.errors import PluginError
from ....core.observation import Observation, Truth
from ....core.registry import require
from ....core.seeds import generator, seeded_torch
from ..parts.metrics import score
from ..parts.requirements import least_levels, refuse_unmet, rounds_of
from .specimens import (
    CLASSES,
    example,
    message,
    mirrored,
    moved,
    planted_model,
    reads_tokens,
    server_of,
    undoes,
)

if TYPE_CHECKING:
    from ....core.contracts import LeakageAttack
    from ....core.observation import Reconstruction

LEAST_PSNR, LEAST_EXACT, LEAST_TOKENS = 20.0, 60.0, 0.9
_FEATURES = 12


@dataclass(frozen=True, eq=False)
class Case:
    """One message to be rebuilt.

    Attributes:
        kind: ``image``, ``rows``, ``tokens``, ``aggregate`` or ``coded frame``.
        observations: What the attack is handed.
        truth: What must come out.
        options: The options that the attack is given for it, as it declares them.
        least_psnr: How near at least, in dB: 60 where an attack says that it is exact, else 20.
    """

    kind: str
    observations: Sequence[Observation]
    truth: Truth
    options: Mapping[str, object] = field(default_factory=dict)
    least_psnr: float = LEAST_PSNR

    def judge(self, found: Reconstruction) -> tuple[float, float, str]:
        """Return how near a reconstruction comes, what is expected, and of what: the mean over examples."""
        scores = score(found, self.truth, self.observations[-1].value_range)
        if self.kind == "tokens":
            return float(scores.token_accuracy.mean()), LEAST_TOKENS, "of the tokens right"
        return float(scores.psnr.mean()), self.least_psnr, "dB of PSNR"


def cases_of(attack: LeakageAttack) -> list[Case]:
    """Return the cases of the kinds that an attack says it works on, and does not refuse.

    Raises:
        PluginError: It refuses them all.
    """
    found, refusals = list[Case](), list[str]()
    for kind in (_images, _rows, _tokens, _aggregates):
        for case in kind(attack):
            case = _as_told(attack, case)
            try:
                for observation in case.observations:
                    refuse_unmet(attack, observation)
            except PluginError as error:
                refusals.append(str(error))
                continue
            found.append(case)
            break
    require(bool(found), f"it refuses every case that it could be tried on: {(refusals or ['none'])[0]}")
    if options := declared(attack, LeakageAttacks.aware):
        found += [replace(_as_told(attack, case), options=options) for case in _coded(attack)]
    return found


def with_options(attack: LeakageAttack, options: Mapping[str, object]) -> LeakageAttack:
    """Return an attack with other values of some options."""
    if not options or not is_dataclass(attack) or isinstance(attack, type):
        return attack
    return replace(attack, **options)


def _as_told(attack: LeakageAttack, case: Case) -> Case:
    """Return a case with the labels that the attack needs, and none that it could do without."""
    if undoes(attack):
        seen, truth = mirrored(list(case.observations), case.truth)
        case = replace(case, observations=seen, truth=truth)
    if declared(attack, LeakageAttacks.exact):
        case = replace(case, least_psnr=LEAST_EXACT)
    if "labels" in least_levels(attack):
        return case
    seen = [replace(o, knowledge=replace(o.knowledge, labels=None)) for o in case.observations]
    return replace(case, observations=seen)


def picture(number: int = 0) -> Tensor:
    """Return a picture of three soft spots on a dark ground, the same for the same number.  # [1, 1, 8, 8]"""
    stream = generator(0, "leakage_contract_picture", number)
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    image = torch.zeros(8, 8)
    for row, column in stream.uniform(1, 6, (3, 2)).tolist():
        image = image + torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 3)
    return (image / image.max()).view(1, 1, 8, 8)


def _mlp(between: type[nn.Module], inputs: int = 64) -> nn.Module:
    layers = nn.Linear(inputs, 64), between(), nn.Linear(64, 64), between(), nn.Linear(64, CLASSES)
    return nn.Sequential(nn.Flatten(), *layers)


def _lenet() -> nn.Module:
    conv = (
        nn.Conv2d(1, 12, 5, stride=2, padding=2),
        nn.Sigmoid(),
        nn.Conv2d(12, 12, 5, padding=2),
        nn.Sigmoid(),
    )
    model = nn.Sequential(*conv, nn.Flatten(), nn.Linear(192, CLASSES))
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -0.5, 0.5)
    return model


def _normed() -> nn.Module:
    first = nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.Sigmoid()
    other = nn.Conv2d(12, 12, 3, padding=1), nn.BatchNorm2d(12), nn.Sigmoid()
    return nn.Sequential(*first, *other, nn.Flatten(), nn.Linear(768, CLASSES))


def _images(attack: LeakageAttack) -> Iterator[Case]:
    for make in (partial(_mlp, nn.GELU), partial(_mlp, nn.ReLU), _lenet, _normed):
        yield _seen(attack, "image", make, picture())


def _rows(attack: LeakageAttack) -> Iterator[Case]:
    row = torch.from_numpy(generator(0, "leakage_contract_row").random((1, _FEATURES))).float()
    for between in (nn.GELU, nn.ReLU):
        yield _seen(attack, "rows", partial(_mlp, between, _FEATURES), row)


def _tokens(attack: LeakageAttack) -> Iterator[Case]:
    if reads_tokens(attack):
        for network in ("smooth", "rectified"):
            yield Case("tokens", *example(0, _rounds(attack), None, tokens=True, network=network))


def _seen(attack: LeakageAttack, kind: str, make: Callable[[], nn.Module], x: Tensor) -> Case:
    """Return the message of one step on inputs [1, ...], of a network as the attack's server plants it."""
    stream = generator(0, "leakage_contract_case")
    with seeded_torch(stream):
        model = make()
    y, server, told = torch.tensor([3]), server_of(attack), {}
    if server is not None:
        model, secret = planted_model(model, server[1])
        told = {"server": server[0], **secret}
    rounds = range(_rounds(attack))
    models = [model if r == 0 or server is not None else moved(model, stream) for r in rounds]
    return Case(kind, [message(m, x, y, 0, r, told) for r, m in enumerate(models)], Truth(x, y))


def _aggregates(attack: LeakageAttack) -> Iterator[Case]:
    """Yield the sum of two clients' messages, on a picture each."""
    if "aggregate" not in declared(attack, LeakageAttacks.kinds):
        return
    one = _seen(attack, "aggregate", partial(_mlp, nn.ReLU), picture(0))
    other = _seen(attack, "aggregate", partial(_mlp, nn.ReLU), picture(1))
    sums = [
        replace(
            a,
            update=a.update + b.update,
            kind="aggregate",
            contributors=2,
            knowledge=replace(a.knowledge, batch_size=2, labels=(3, 3)),
            releases={"num_examples": 2},
        )
        for a, b in zip(one.observations, other.observations, strict=True)
    ]
    truth = Truth(torch.cat([one.truth.x, other.truth.x]), torch.tensor([3, 3]))
    yield Case("aggregate", sums, truth)


def _rounds(attack: LeakageAttack) -> int:
    least, most = rounds_of(attack)
    return max(least, min(most, 2))


def _coded(attack: LeakageAttack) -> Iterator[Case]:
    """Yield a frame of which a tenth of the coordinates was sent, and what its codec would say of it."""
    whole = _seen(attack, "coded frame", partial(_mlp, nn.GELU), picture())
    yield replace(whole, observations=[_tenth(o) for o in whole.observations])


def _tenth(observation: Observation) -> Observation:
    sizes = observation.update.abs()
    sent = sizes >= sizes.sort().values[-(len(sizes) // 10)]
    update = observation.update * sent
    known = replace(observation.knowledge, codec="topk density=0.1")
    return replace(
        observation, update=update, support=sent, mismatch=_OnSupport(update), lossy=True, knowledge=known
    )


@dataclass(frozen=True, eq=False)
class _OnSupport:
    """1 - cos on what was sent; no codec of the house is imported here."""

    sent: Tensor
    scale_free: bool = True

    def __call__(self, updates: Tensor) -> Tensor:
        seen = updates * (self.sent != 0)
        cosine: Tensor = (seen @ self.sent) / (seen.norm(dim=-1) * self.sent.norm()).clamp(min=1e-30)
        return 1 - cosine
