"""What eavesdroppers rebuilt, beside the truth: pictures, with scores in words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..naming import run_names
from ..plots.base import EXACT, Array
from ..plots.shades import known, scaled
from .markup import Markup, element, escaped, section, table
from .png import data_uri

if TYPE_CHECKING:
    import pandas as pd

    from ..rebuilt import Rebuilt
    from .reading import Findings

_MESSAGES = 24  # drawn
_EXAMPLES = 8  # of one message
_ROOM = 2_000_000  # letters of all pictures together

Message = tuple[str, int, "Rebuilt"]  # of which run by its name, of which seed, what was made of it


def leaked(findings: "Findings") -> Markup:
    """Return a gallery and a table of scores; nothing where nothing was rebuilt."""
    names = run_names(findings.runs) if findings.runs else []
    found = [
        (name, int(run.manifest["seed"]), item)
        for name, run in zip(names, findings.runs, strict=True)
        for item in [*run.gallery(), *run.attacked()]
    ]
    if not found:
        return Markup("")
    shown, left = list[Markup](), _ROOM
    for message in _first_of_each(found)[:_MESSAGES]:
        one = _drawn(*message)
        left -= len(one)
        if left < 0:
            break
        shown.append(one)
    cut = f"{len(shown)} of {len(found)} messages are drawn; none is chosen for its score."
    head = [
        "run",
        "seed",
        "attack",
        "told",
        "round",
        "client",
        "best PSNR (dB)",
        "mean PSNR (dB)",
        "best SSIM",
        "tokens right",
    ]
    return section(
        "leakage",
        "What eavesdroppers rebuilt",
        element("p", cut, class_="note") if len(shown) < len(found) else None,
        element("div", *shown, class_="gallery"),
        table(head, [_row(*message) for message in found], "The scores of every message that was attacked."),
    )


def _first_of_each(found: Sequence[Message]) -> list[Message]:
    """Return the messages so that every pair of run and attack comes once before any comes twice."""
    seen: dict[tuple[str, str], int] = {}
    order = []
    for place, (name, _, item) in enumerate(found):
        key = name, item.attack
        seen[key] = seen.get(key, 0) + 1
        order.append((seen[key], place))
    return [found[place] for _, place in sorted(order)]


def _drawn(name: str, seed: int, item: "Rebuilt") -> Markup:
    """Return one message: truth above, what was made of it below."""
    there, count = known(item), min(len(item.truth), _EXAMPLES)
    truth, made = scaled(item.truth[:count], item), scaled(item.rebuilt[:count], item)
    columns = [
        element(
            "li",
            _picture(truth[i], f"True example {i + 1}")
            if there
            else element("span", "not known", class_="unknown"),
            _picture(made[i], f"Rebuilt example {i + 1}, {_score(item, i)}"),
            element("span", _score(item, i), class_="score"),
        )
        for i in range(count)
    ]
    words = f"{name}, seed {seed}: {item.attack}{_told(item)}, round {item.round}, client {item.client_id}"
    more = f" ({count} of {len(item.truth)} examples)" if count < len(item.truth) else ""
    legend = element("span", "true above, rebuilt below", class_="note")
    if (rows := item.table()) is not None:
        return _as_table(f"{words}{more}", rows.head(2 * count), item)
    if item.tokens is not None:
        return token_figure(f"{words}{more}", item, count)
    return element(
        "figure",
        element("figcaption", words, more, element("br"), legend),
        element("ul", *columns),
        class_="rebuilt",
    )


def _as_table(words: str, rows: "pd.DataFrame", item: "Rebuilt") -> Markup:
    """Return the examples of a table by its columns' names, in their units."""
    shown = rows if known(item) else rows.xs("rebuilt", level="row", drop_level=False)
    body = [
        [f"{row} {example + 1}", *cells, _score(item, example) if row == "rebuilt" else ""]
        for (example, row), *cells in shown.itertuples()
    ]
    whole = table(["example", *map(str, rows.columns), "score"], body, f"{words}, in the units of the table")
    return element("figure", whole, class_="rebuilt rows")


def token_figure(words: str, item: "Rebuilt", count: int) -> Markup:
    """Return sequences by their tokens' numbers: true ones, below them those rebuilt, right ones marked."""
    there, rows = known(item), list[Markup]()
    for i in range(count):
        true, made = np.asarray(item.truth[i]).ravel(), np.asarray(item.rebuilt[i]).ravel()
        right = (true == made) & there
        shown = [
            element("mark", str(token)) if fits else element("span", str(token))
            for token, fits in zip(made.tolist(), right.tolist(), strict=True)
        ]
        if there:
            rows.append(element("p", f"true {i + 1}: {' '.join(map(str, true.tolist()))}"))
        spaced = [part for token in shown for part in (token, " ")]
        rows.append(element("p", f"rebuilt {i + 1}: ", *spaced, f"({_score(item, i)})"))
    legend = element("span", "numbers of tokens; those in their place are marked", class_="note")
    return element(
        "figure", element("figcaption", words, element("br"), legend), *rows, class_="rebuilt rows"
    )


def _picture(example: Array, words: str) -> Markup:
    height, width = example.shape[-2:] if example.ndim >= 2 else (1, example.size)
    wide = "strip" if width > 4 * height else None
    uri = data_uri(example)
    return Markup(f'<img src="{uri}" alt="{escaped(words)}"{" class=strip" if wide else ""}>')


def _score(item: "Rebuilt", i: int) -> str:
    if not known(item):
        return "no truth to compare with"
    if item.tokens is not None:
        return f"{100 * float(item.tokens[i]):.0f} % of tokens right"
    psnr, ssim = float(item.psnr[i]), float(item.ssim[i])
    words = "exact" if psnr >= EXACT else "not finite" if np.isnan(psnr) else f"{psnr:.1f} dB"
    return words if np.isnan(ssim) else f"{words}, SSIM {ssim:.2f}"


def _told(item: "Rebuilt") -> str:
    """Return what the attack was told, behind its name."""
    words = [item.sok] if isinstance(item.sok, str) else []
    words += ["knows the codec"] if item.codec_aware else []
    words += [f"oracle: {', '.join(map(str, item.oracle))}"] if item.oracle else []
    return f" ({', '.join(words)})" if words else ""


def _row(name: str, seed: int, item: "Rebuilt") -> list[Any]:
    return [
        name,
        seed,
        item.attack,
        _told(item).strip(" ()") or "—",
        item.round,
        item.client_id,
        _best(item.psnr, ".1f"),
        _mean(item.psnr, ".1f"),
        _best(item.ssim, ".2f"),
        "—" if item.tokens is None else _mean(item.tokens, ".2f"),
    ]


def _best(values: Array, form: str) -> str:
    there = values[np.isfinite(values)]
    return format(float(there.max()), form) if there.size else "—"


def _mean(values: Array, form: str) -> str:
    there = values[np.isfinite(values)]
    return format(float(there.mean()), form) if there.size else "—"
