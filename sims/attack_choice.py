"""Which attacks a command line means: named ones, those that know of the codec beside them, or ``auto``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..attacks.leakage import INFERENCE_ATTACKS, LEAKAGE_ATTACKS, infers
from ..core.declarations import LeakageAttacks, declared
from ..core.errors import PluginError, ScenarioError
from ..core.registry import Family
from ..server.spec import PluginSpec
from .arguments import Aware
from .overrides import parse
from .reconstruct import make_attack
from .scenario import absolute

if TYPE_CHECKING:
    from .reattack import Finding

AUTO = "auto"


def attacks_of(
    names: Iterable[str], options: Iterable[str], aware: Aware | None = None
) -> tuple[list[PluginSpec], list[PluginSpec]]:
    """Return the attacks that a command line means, each once, and those of them that ``auto`` alone means.

    Args:
        names: Each a name, a TOML table of ``name`` and options, or ``auto``: every exact attack, and every
            one that matches and has a preference, the greatest first.
        options: ``key=value``, for every one of them; of those that ``auto`` means, for those that take it.
        aware: Whether they take what the codec says; with ``both`` each is there twice.

    Raises:
        ScenarioError: A table without a name, no ``=``, or an option that ``aware`` sets.
        PluginError: No such attack, options that it does not take, or one that is aware in no way.
    """
    given = dict(parse(option) for option in options)
    listed, found = list(names), list[PluginSpec]()
    for text in listed:
        if text != AUTO:
            found += [attack for attack in _named(text, given, aware) if attack not in found]
    if AUTO not in listed:
        return found, []
    meant = [one for name in automatic() for one in _with_awareness(name, _taken(name, given), aware)]
    _refuse_untaken(given, meant)
    alone = [attack for attack in meant if attack not in found]
    return [*found, *alone], alone


def _named(text: str, given: Mapping[str, Any], aware: Aware | None) -> list[PluginSpec]:
    value = parse(f"with={text}", "--with")[1] if text.lstrip().startswith("{") else text
    table: Mapping[str, Any] = value if isinstance(value, dict) else {"name": value}
    if not isinstance(table.get("name"), str):
        raise ScenarioError(
            f'--with needs a name, or a table with one: {{name = "dlg", lr = 0.5}}; got {text!r}'
        )
    name = absolute(table["name"], Path())
    own = {**{k: v for k, v in table.items() if k != "name"}, **given}
    make_attack(PluginSpec(name, own))
    found = _with_awareness(name, own, aware)
    if aware is not None and not _ways(name):
        raise PluginError(
            f"attack '{table['name']}' does not say how it takes or leaves what a codec says of its frames; "
            f"leave out --codec-aware, or use one that does: {', '.join(_aware_ones())}"
        )
    return found


def _with_awareness(name: str, options: Mapping[str, Any], aware: Aware | None) -> list[PluginSpec]:
    """Return an attack, with the options of each way that is wanted; as it is, if it has none."""
    ways = _ways(name)
    if aware is None or not ways:
        return [PluginSpec(name, dict(options))]
    if clash := sorted({key for way in ways.values() for key in way} & set(options)):
        raise ScenarioError(f"--codec-aware sets option '{clash[0]}' of '{name}'; leave out one of the two")
    wanted = (Aware.yes, Aware.no) if aware is Aware.both else (aware,)
    return [PluginSpec(name, {**options, **ways[way]}) for way in wanted]


def _ways(name: str) -> dict[Aware, Mapping[str, object]]:
    """Return the options with which an attack is aware, and is not; nothing if it does not say."""
    attack = _class(name)
    aware, unaware = declared(attack, LeakageAttacks.aware), declared(attack, LeakageAttacks.unaware)
    return {Aware.yes: aware, Aware.no: unaware} if aware and unaware else {}


def _aware_ones() -> list[str]:
    found = (name for name in LEAKAGE_ATTACKS.names() if declared(_class(name), LeakageAttacks.aware))
    return list(found)


def automatic() -> list[str]:
    """Return what ``auto`` means: the exact attacks, then those that match, the most preferred first."""
    names = LEAKAGE_ATTACKS.names()
    exact = [name for name in names if declared(_class(name), LeakageAttacks.exact)]
    wanted = {name: declared(_class(name), LeakageAttacks.preference) for name in names if name not in exact}
    return [*exact, *sorted((name for name in wanted if wanted[name]), key=lambda name: -wanted[name])]


def _class(name: str) -> Any:
    family: Family[Any] = INFERENCE_ATTACKS if infers(name) else LEAKAGE_ATTACKS
    return family.find(name)


def _taken(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    attack = _class(name)
    known = {option.name for option in fields(attack) if option.init} if is_dataclass(attack) else set()
    return {key: value for key, value in given.items() if key in known}


def _refuse_untaken(given: Mapping[str, Any], found: Sequence[PluginSpec]) -> None:
    for key in given:
        if not any(key in attack.options for attack in found):
            raise PluginError(
                f"--set {key}: none of the attacks that 'auto' means has an option of that name"
            )


def automatically(cases: Sequence[Finding], meant: Sequence[PluginSpec]) -> list[Finding]:
    """Return, of what would become of each attack on each message, what is to be done.

    Of the attacks that ``auto`` alone means every exact one, and of those that match the most preferred that
    accepts a message; where none does, the most preferred with its refusal. All others stay; one of
    ``auto``'s own that is named besides is what ``auto`` takes, where it is the most preferred.
    """
    chosen, order = dict[tuple[Any, ...], str](), automatic()
    alone = {attack.name for attack in meant}
    own = [case for case in cases if case.attack.name in order and not _is_exact(case)]
    matching = [case for case in own if case.attack in meant or case.attack.name not in alone]
    for case in sorted(matching, key=lambda case: (bool(case.refusal), order.index(case.attack.name))):
        chosen.setdefault(_message(case), case.attack.name)
    gone = {
        id(case) for case in matching if case.attack in meant and chosen[_message(case)] != case.attack.name
    }
    return [case for case in cases if id(case) not in gone]


def _is_exact(case: Finding) -> bool:
    return declared(_class(case.attack.name), LeakageAttacks.exact)


def _message(case: Finding) -> tuple[Any, ...]:
    """Return what tells messages apart: the last of the recordings that an attack is handed."""
    return case.run.folder, case.places[-1]
