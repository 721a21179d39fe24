"""The page as a whole: its parts in order, its style and script within, and what it may not do.

A Content-Security-Policy allows the one style and the one script that stand in the page, by their hashes, and
pictures that stand in it: no address is opened, whatever a result folder holds.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from ...core.errors import GauntletError
from ...core.version import VERSION
from .costs import costs
from .detection import detected
from .fields import fields
from .inferred import inferred
from .leakage import leaked
from .markup import Markup, element, joined, section, trusted
from .overview import cautions, results, settings
from .privacy import promises
from .repeat import again
from .sampled import sampled
from .utility import curves

if TYPE_CHECKING:
    from .reading import Findings

PARTS: Sequence[Callable[["Findings"], Markup]] = (
    cautions,
    results,
    fields,
    curves,
    sampled,
    promises,
    detected,
    leaked,
    inferred,
    costs,
    settings,
    again,
)
SCRIPTS = ("tables.js", "plots.js", "theme.js")


def page(findings: "Findings", further: str = "", bar: Markup | None = None) -> str:
    """Return the page of what was found.

    Args:
        findings: What it shows.
        further: A script beside the page's own, of a page that is served: it may ask its own server.
        bar: What stands above all parts.
    """
    style, script = _asset("page.css"), "".join([*map(_asset, SCRIPTS), further])
    body = joined(
        [_header(findings), bar or Markup(""), element("main", body_of(findings), id="main"), _footer()]
    )
    head = joined(
        [
            element("meta", charset="utf-8"),
            element(
                "meta", http_equiv="Content-Security-Policy", content=policy(style, script, bool(further))
            ),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="referrer", content="no-referrer"),
            element("meta", name="color-scheme", content="light dark"),
            element("title", f"{findings.title}: Gauntlet"),
            element("style", trusted(style)),
        ]
    )
    script_ = element("script", trusted(script))
    whole = element("html", element("head", head), element("body", body, script_), lang="en")
    return f"<!DOCTYPE html>\n{whole}\n"


def body_of(findings: "Findings") -> Markup:
    """Return the parts that these results have, with a list of them to jump to.

    A part that cannot be made of what a folder holds says so in its place.
    """
    parts = [_made(part, findings) for part in PARTS]
    return joined(parts)


def _made(part: Callable[["Findings"], Markup], findings: "Findings") -> Markup:
    try:
        return part(findings)
    except (GauntletError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        words = f"This part cannot be shown: {' '.join(str(error).split()) or type(error).__name__}"
        return section(part.__name__, part.__name__.capitalize(), element("p", words, class_="warnings"))


def policy(style: str, script: str, served: bool) -> str:
    """Return what the page may load: nothing but what stands in it; a served one asks its own server."""
    allowed = [
        "default-src 'none'",
        "img-src data:",
        f"style-src {_hash(style)}",
        f"script-src {_hash(script)}",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return "; ".join([*allowed, *(["connect-src 'self'"] if served else [])])


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _header(findings: "Findings") -> Markup:
    runs = len(findings.runs)
    kind = {"run": "Run", "sweep": "Sweep", "matrix": "Matrix"}.get(findings.kind, "Comparison")
    count = "" if findings.kind == "run" else f" of {runs} run{'' if runs == 1 else 's'}"
    return element(
        "header",
        element("a", "To the results", href="#main", class_="skip"),
        element("p", f"Gauntlet · {kind}{count}", class_="kind"),
        element("h1", findings.title),
        element("button", "Dark or light", type="button", id="theme", hidden=""),
    )


def _footer() -> Markup:
    words = f"Made by gauntlet {VERSION}. This page is one file: it opens no address and needs no network."
    return element("footer", element("p", words))
