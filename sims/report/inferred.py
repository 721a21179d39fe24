"""What eavesdroppers inferred without rebuilding anything: membership, labels, properties of the data."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..naming import run_names
from .markup import Markup, element, section, table

if TYPE_CHECKING:
    from ..inferred import Inferred
    from .reading import Findings

Answer = tuple[str, int, "Inferred"]  # of which run by its name, of which seed, what was answered
_HEAD = ("run", "seed", "attack", "told", "round", "rounds", "client")


def inferred(findings: "Findings") -> Markup:
    """Return one table a kind of question; nothing where nothing was asked."""
    names = run_names(findings.runs) if findings.runs else []
    found = [
        (name, int(run.manifest["seed"]), one)
        for name, run in zip(names, findings.runs, strict=True)
        for one in run.inferences()
    ]
    return section(
        "inferences",
        "What eavesdroppers inferred",
        _told(found, "auc", _MEMBERS, "Was a record among the client's? An AUC of 0.5 is guessing."),
        _told(
            found, "label_accuracy", _LABELS, "Which labels did the client train on? Shares that are right."
        ),
        _told(found, "property_share", _PROPERTY, "How common is a property among the client's records?"),
    )


def _told(found: Sequence[Answer], key: str, columns: "_Columns", caption: str) -> Markup | None:
    """Return the table of the answers that have this score, with their best first line in words."""
    asked = [answer for answer in found if key in answer[-1].scores]
    if not asked:
        return None
    rows = [[*_who(answer), *(tell(answer[-1]) for _, tell in columns)] for answer in asked]
    shown = table([*_HEAD, *(title for title, _ in columns)], rows, caption)
    known = [one.scores[key] for *_, one in asked if one.scores[key] is not None]
    if key != "auc" or not known:
        return shown
    best = max(value for value in known if value is not None)
    words = f"The best AUC of {len(asked)} is {best:.2f}, the mean {_mean(known):.2f}."
    return Markup(f"{element('p', words)}{shown}")


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known)


def _who(answer: Answer) -> list[Any]:
    name, seed, one = answer
    told = [one.sok] if isinstance(one.sok, str) else []
    told += [f"oracle: {', '.join(one.oracle)}"] if one.oracle else []
    options = ", ".join(f"{key} = {value}" for key, value in one.options.items())
    attack = f"{one.attack} ({options})" if options else one.attack
    return [name, seed, attack, "; ".join(told) or "—", one.round, one.rounds, one.client_id]


def _score(name: str, form: str = ".2f") -> "Callable[[Inferred], str]":
    def tell(one: "Inferred") -> str:
        value = one.scores.get(name)
        return "—" if value is None else format(value, form)

    return tell


def _counts(one: "Inferred") -> str:
    return "—" if one.members is None else f"{one.members} / {one.others}"


_Columns = Sequence[tuple[str, "Callable[[Inferred], str]"]]
_MEMBERS: _Columns = (
    ("members / others", _counts),
    ("AUC", _score("auc")),
    *(
        (f"found at {100 * float(rate):g} % false alarms", _score(f"tpr_at_{rate}"))
        for rate in ("1e-1", "1e-2", "1e-3")
    ),
)
_LABELS: _Columns = (
    ("labels", _score("label_accuracy")),
    ("classes there or not", _score("existence_accuracy")),
    ("numbers of classes", _score("count_accuracy")),
)
_PROPERTY: _Columns = (
    ("its score", _score("property_score", ".3g")),
    ("true share", _score("property_share")),
)
