"""What worked on each message: which attacks came nearer to the truth than whoever saw no message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .attack_table import attack_named, message_named
from .plain import read_json

if TYPE_CHECKING:
    from .reattack import Finding

_SCORES = (("token_accuracy", 1.0, "{:.0%} of tokens"), ("mse", -1.0, "MSE {:.2g}"))


def verdicts(found: Sequence[Finding]) -> list[str]:
    """Return one line a message: what rebuilt it, the nearest first, what did not, and what was refused.

    An attack rebuilt it if its mean error over the batch is below that of every baseline of its report.
    Where the truth is not known, nothing is said of it.
    """
    lines: dict[str, list[tuple[float, str, bool]]] = {}
    refused: dict[str, int] = {}
    for one in found:
        name = message_named(one)
        lines.setdefault(name, [])
        if one.result is None:
            refused[name] = refused.get(name, 0) + 1
        elif one.result.is_dir():
            report = read_json((one.result / "reconstruction.json").read_text(encoding="utf-8"))
            if (judged := _judged(report)) is not None:
                error, words, worked = judged
                lines[name].append((error, f"{attack_named(one.attack)} ({words})", worked))
    return [f"{name}: {_said(sorted(rows), refused.get(name, 0))}" for name, rows in lines.items()]


def _said(rows: Sequence[tuple[float, str, bool]], refused: int) -> str:
    rebuilt = [words for _, words, worked in rows if worked]
    missed = [words for _, words, worked in rows if not worked]
    parts = [f"rebuilt by {', '.join(rebuilt)}" if rebuilt else "nothing rebuilt it"]
    parts += [f"no nearer than a guess: {', '.join(missed)}"] if missed else []
    parts += [f"{refused} refused"] if refused else []
    return "; ".join(parts)


def _judged(report: Mapping[str, Any]) -> tuple[float, str, bool] | None:
    """Return a result's mean error, it in words, and whether it is below that of every guess."""
    for score, sign, words in _SCORES:
        mean = _mean(report.get(score))
        if mean is not None:
            guesses = [guess.get(score) for guess in report.get("baselines", {}).values()]
            worked = all(-sign * mean < -sign * guess for guess in guesses if guess is not None)
            return -sign * mean, words.format(mean), worked
    return None


def _mean(values: Any) -> float | None:
    known = [value for value in values or () if value is not None]
    return sum(known) / len(known) if known else None
