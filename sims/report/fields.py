"""A matrix: what every attack leaves of every defense, one table a share of malicious clients."""

from typing import TYPE_CHECKING

import numpy as np

from ..matrix_file import with_somebody_to_find
from ..matrix_table import NO_ATTACK, WORST
from .markup import Content, Markup, captioned, element, section, table
from .reading import column, table_of

if TYPE_CHECKING:
    import pandas as pd

    from .reading import Findings

_TOLD = (
    ("best_accuracy", "best accuracy"),
    ("accuracy", "accuracy at the end"),
    ("drop", "lost to the attack"),
    ("attack_success_rate", "attack success"),
    ("precision", "precision"),
    ("recall", "recall"),
)


def fields(findings: "Findings") -> Markup:
    """Return the heat map of best accuracies, and all columns as one table; nothing of other folders."""
    if findings.kind != "matrix" or findings.folder is None:
        return Markup("")
    found = table_of(findings.folder / "matrix.csv")
    if found is None:
        return section("matrix", "Attacks against defenses", element("p", "The matrix is not finished yet."))
    found = with_somebody_to_find(found)
    known = [(name, words) for name, words in _TOLD if name in found and found[name].notna().any()]
    head = ["defense", "share", "attack", *(words for _, words in known), "why blank"]
    rows = [
        [
            row["defense"],
            f"{float(row['share']):g}",
            row["attack"],
            *(_number(row[n]) for n, _ in known),
            _reason(row),
        ]
        for _, row in found.iterrows()
    ]
    maps = [_map(share, part) for share, part in found.groupby("share", sort=True)]
    whole = element(
        "details", element("summary", "All numbers"), table(head, rows, "Every field of the matrix.")
    )
    return section("matrix", "Attacks against defenses", *maps, whole)


def _map(share: object, part: "pd.DataFrame") -> Markup:
    """Return one table of best accuracies, defenses down and attacks across, darker where less is left."""
    if "best_accuracy" not in part:
        return Markup("")
    attacks = sorted(dict.fromkeys(part["attack"].map(str)), key=_last)
    cells = {
        (str(d), str(a)): v
        for d, a, v in zip(part["defense"], part["attack"], column(part, "best_accuracy"), strict=True)
    }
    head = element(
        "tr", element("th", "defense", scope="col"), *(element("th", a, scope="col") for a in attacks)
    )
    rows = [
        element(
            "tr", element("th", d, scope="row"), *(_cell(cells.get((d, a), float("nan"))) for a in attacks)
        )
        for d in dict.fromkeys(part["defense"].map(str))
    ]
    caption = f"Best accuracy over the rounds, {100 * float(str(share)):g} % malicious clients."
    whole = element(
        "table", captioned(caption), element("thead", head), element("tbody", *rows), class_="heat"
    )
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _last(attack: str) -> int:
    return {NO_ATTACK: -1, WORST: 1}.get(attack, 0)


def _cell(value: float) -> Markup:
    if not np.isfinite(value):
        return element("td", "—", class_="number")
    return element("td", f"{value:.3f}", class_=f"number heat-{min(9, max(0, int(10 * value)))}")


def _number(value: object) -> Content:
    return f"{value:.3f}" if isinstance(value, int | float) and np.isfinite(value) else "—"


def _reason(row: "pd.Series") -> str:
    found = row.get("reason")
    return found if isinstance(found, str) else ""
