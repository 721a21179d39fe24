"""What leakage attacks rebuilt, arranged for pictures: an entry an attack and message, and what it knew.

Results of a run's own probes and of ``gauntlet attack`` count alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...attacks.leakage import LEAKAGE_ATTACKS
from ...clients.client_defenses import CLIENT_DEFENSES
from ...core.declarations import LeakageAttacks, attackers, declared
from ...core.errors import PluginError, ScenarioError
from ...core.outside import only_our_own
from ..adaptive import asked, knows
from ..plain import plugin_table
from ..terminal import readable
from .base import EXACT, Array, RebuiltLike, RunLike, groups
from .gallery import differing, results_of, said

_WHY = "a picture runs none"
CLOSE = 30.0  # dB above which an example counts as recovered
Attackers = tuple[Mapping[str, object], ...]
MASKED = "masked"
"""The option by which an attack leaves out what was not sent, whoever left it out."""


@dataclass(frozen=True)
class Leak:
    """What one attack made of one message.

    Attributes:
        label: Which run it is of, and those that differ from it in their seed alone.
        seed: That run's seed.
        run: The run.
        item: What was rebuilt, beside the truth.
        attack: The attack as a legend names it: with the options in which its results differ.
        plain: The same without the options by which it knows of a defense or codec.
        adapted: Whether it knows of what the clients do against it; None where they do nothing that an
            attack could know of.
    """

    label: str
    seed: int
    run: RunLike
    item: RebuiltLike
    attack: str
    plain: str
    adapted: bool | None

    @property
    def psnr(self) -> Array:
        """PSNR of each example, in dB, at most ``EXACT``.  # [B]"""
        return np.asarray(np.minimum(np.asarray(self.item.psnr, float), EXACT))


def leaks_of(runs: Sequence[RunLike]) -> list[Leak]:
    """Return what was rebuilt and can be measured in dB, in the order of the runs and their messages.

    Where runs have several client defenses, an attack behind one is another than behind the next.

    Raises:
        ScenarioError: There is nothing; or a client defense was attacked by nobody who knows of it, and its
            worth would be that of a surprise.
    """
    found = [
        (label, run, item) for label, same in groups(runs).items() for run in same for item in results_of(run)
    ]
    found = [one for one in found if not np.isnan(np.asarray(one[2].psnr, float)).all()]
    if not found:
        raise ScenarioError(
            "there is no leakage to draw: no run holds a reconstruction that can be measured in dB; a run "
            "with [[probes]] has some, and 'gauntlet attack' makes some of the messages that a run recorded"
        )
    apart = differing([item for _, _, item in found])
    wanted = {id(run): adaptive_of(run) for _, run, _ in found}
    several = len({defense_of(run) for _, run, _ in found}) > 1
    leaks = [_leak(label, run, item, apart, wanted, several) for label, run, item in found]
    for run in {id(one.run): one.run for one in leaks}.values():
        _refuse_unadapted([one for one in leaks if one.run is run], wanted[id(run)])
    return leaks


def _leak(
    label: str,
    run: RunLike,
    item: RebuiltLike,
    apart: Mapping[str, Sequence[str]],
    wanted: Mapping[int, Attackers],
    several: bool,
) -> Leak:
    tables = [table for named in wanted.values() for table in named]
    knowing = {MASKED, *_aware_options(item.attack), *(key for table in tables for key in table)}
    keys = apart[item.attack]
    adaptive = wanted[id(run)]
    adapted = _knows(item, adaptive, lossy(run)) if adaptive or lossy(run) else None
    behind = f" behind {defense_of(run)}" if several and defense_of(run) != "none" else ""
    attack = _named(item, keys) + behind
    plain = _named(item, [key for key in keys if key not in knowing]) + behind
    return Leak(label, int(run.manifest["seed"]), run, item, attack, plain, adapted)


def adapted(run: RunLike, item: RebuiltLike) -> bool:
    """Return whether an attack knew of what stands before a message: a client defense, a lossy codec."""
    return _knows(item, adaptive_of(run), lossy(run))


def _knows(item: RebuiltLike, adaptive: Attackers, coded: bool) -> bool:
    masked = bool(item.settings.get(MASKED))
    return (
        is_adaptive(item, adaptive)
        or (coded and item.codec_aware is True)
        or (masked and (coded or any(MASKED in one for one in adaptive)))
    )


def _named(item: RebuiltLike, keys: Sequence[str]) -> str:
    options = ", ".join(
        f"{key} = {said(item.settings, key)}" for key in keys if item.settings.get(key, False) is not False
    )
    name = item.attack.rpartition(":")[2]
    return f"{name} ({options})" if options else name


def _aware_options(attack: str) -> list[str]:
    """Return the options by which an attack is told to take what the codec says."""
    try:
        with only_our_own(_WHY):
            return list(declared(LEAKAGE_ATTACKS.find(attack), LeakageAttacks.aware))
    except PluginError:
        return []


def adaptive_of(run: RunLike) -> Attackers:
    """Return the attacks with one of which a run's client defense is to be shown; none where it names none.

    Code from outside the package is not run for that.
    """
    defense = _defense(run)
    return () if defense is None else attackers(defense)


def defense_of(run: RunLike) -> str:
    """Return the name of a run's client defense."""
    return str(_table(run)["name"]).rpartition(":")[2]


def _table(run: RunLike) -> dict[str, Any]:
    return dict(plugin_table(run.manifest["scenario"].get("client_defense", "none")))


def _defense(run: RunLike) -> object:
    table = _table(run)
    try:
        with only_our_own(_WHY):
            return CLIENT_DEFENSES.build(table.pop("name"), table)
    except PluginError:
        return None


def is_adaptive(item: RebuiltLike, adaptive: Attackers) -> bool:
    """Return whether an attack is one of those, with its options at least, and none of outside in them."""
    try:
        with only_our_own(_WHY):
            return knows(adaptive, item.attack, item.settings)
    except PluginError:
        return False


def lossy(run: RunLike) -> bool:
    """Return whether clients send through a codec that an attack could reckon with."""
    codec = plugin_table(run.manifest["scenario"].get("codec", "identity"))
    return codec.get("name") not in ("identity", "none")


def refuse_alone(run: RunLike) -> None:
    """Raise ``ScenarioError`` where a run's client defense was attacked by nobody who knows of it."""
    adaptive, items = adaptive_of(run), results_of(run)
    if adaptive and items and not any(is_adaptive(item, adaptive) for item in items):
        who = readable(run.manifest["label"]) or readable(run.manifest["scenario"]["name"])
        raise ScenarioError(_alone(who, [item.attack for item in items], adaptive))


def _alone(label: str, attacks: Sequence[str], adaptive: Attackers) -> str:
    names = ", ".join(dict.fromkeys(attacks))
    return (
        f"'{label}' shows a client defense that was attacked by {names} alone, and "
        f"nobody who knows of it: attack what was recorded with {asked(adaptive)}, and draw again"
    )


def _refuse_unadapted(leaks: Sequence[Leak], adaptive: Attackers) -> None:
    if not adaptive or any(is_adaptive(one.item, adaptive) for one in leaks):
        return
    raise ScenarioError(_alone(leaks[0].label, [one.attack for one in leaks], adaptive))
