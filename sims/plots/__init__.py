"""Pictures of results: a name -> a function from runs to (figure, the tidy numbers behind it).

Importing this package loads neither matplotlib nor pandas.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import ResultsError, ScenarioError, unknown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from .base import RunLike
    from .look import Look

PLOTS: Mapping[str, str] = {
    "accuracy": "gauntlet.sims.plots.learning:accuracy",
    "accuracy_by_bytes": "gauntlet.sims.plots.learning:accuracy_by_bytes",
    "accuracy_by_epsilon": "gauntlet.sims.plots.privacy:accuracy_by_epsilon",
    "audit": "gauntlet.sims.plots.leakage:audit",
    "bits": "gauntlet.sims.plots.layers:bits",
    "clip_norm": "gauntlet.sims.plots.clip_norm:clip_norm",
    "codec-leakage": "gauntlet.sims.plots.codec_leakage:codec_leakage",
    "compression": "gauntlet.sims.plots.compression:compression",
    "detection": "gauntlet.sims.plots.detection:detection",
    "gallery": "gauntlet.sims.plots.rows:gallery",
    "gantt": "gauntlet.sims.plots.work:gantt",
    "leakage-batch": "gauntlet.sims.plots.leakage_batch:leakage_batch",
    "leakage-epsilon": "gauntlet.sims.plots.leakage_epsilon:leakage_epsilon",
    "leakage-frontier": "gauntlet.sims.plots.frontier:leakage_frontier",
    "leakage-time": "gauntlet.sims.plots.leakage_time:leakage_time",
    "leakage_by_accuracy": "gauntlet.sims.plots.leakage:leakage_by_accuracy",
    "loss": "gauntlet.sims.plots.learning:loss",
    "mae": "gauntlet.sims.plots.learning:mae",
    "metrics": "gauntlet.sims.plots.learning:metrics",
    "plan": "gauntlet.sims.plots.layers:plan",
    "posterior": "gauntlet.sims.plots.posterior:posterior",
    "reconstructions": "gauntlet.sims.plots.gallery:reconstructions",
    "rmse": "gauntlet.sims.plots.learning:rmse",
    "staleness": "gauntlet.sims.plots.work:staleness",
    "summary": "gauntlet.sims.plots.summary:summary",
    "timeline": "gauntlet.sims.plots.timeline:timeline",
    "utility_by_epsilon": "gauntlet.sims.plots.utility:utility_by_epsilon",
}

SETS: Mapping[str, tuple[str, ...]] = {
    "leakage": ("leakage-frontier", "leakage-time", "leakage-batch", "leakage-epsilon", "reconstructions"),
    "privacy-utility": ("utility_by_epsilon", "clip_norm", "leakage_by_accuracy", "audit"),
}
"""Names for several plots that belong together."""

_METADATA: Mapping[str, Mapping[str, None]] = {  # what would differ between two saves of one picture
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".svg": {"Date": None, "Creator": None},
}
_LETTERS: dict[Any, Any] = {  # journals refuse Type 3 fonts; the letters of an SVG stay letters
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "gauntlet",
}


def find(name: str) -> Callable[..., "tuple[Figure, pd.DataFrame]"]:
    """Return the function behind a plot's name.

    Raises:
        ScenarioError: No plot of that name.
    """
    if name not in PLOTS:
        raise ScenarioError(unknown("plot", name, PLOTS))
    module, _, attribute = PLOTS[name].partition(":")
    found: Callable[..., tuple[Figure, pd.DataFrame]] = getattr(import_module(module), attribute)
    return found


def taking(option: str) -> list[str]:
    """Return the plots whose function has an option of that name."""
    return [name for name in PLOTS if option in signature(find(name)).parameters]


def draw(name: str, runs: "Sequence[RunLike]", look: "Look | None" = None, **options: Any) -> "Figure":
    """Return the figure ``name`` of ``runs``; options are the plot function's own, such as ``by``.

    Raises:
        ScenarioError: No such plot, an option that it does not take, a label that it does not have, or the
            runs hold nothing to draw; the message says which would.
    """
    from ..notebook import pictured

    return pictured(_drawn(name, runs, look, options)[0])


def _drawn(
    name: str, runs: "Sequence[RunLike]", look: "Look | None", options: Mapping[str, Any]
) -> "tuple[Figure, pd.DataFrame | None]":
    from .look import Look, drawn_as, finish

    function = find(name)
    for option in options:
        if option not in signature(function).parameters:
            raise ScenarioError(refusal(f"the plot '{name}'", option))
    look = look or Look()
    with drawn_as(look):
        return finish(*function(runs, **options), look)


def refusal(what: str, option: str) -> str:
    """Return the message for something that draws, and has no option of that name."""
    return f"{what} takes no '{option}'; plots that take it: {', '.join(taking(option)) or 'none'}"


def draw_set(
    names: "Sequence[str]",
    runs: "Sequence[RunLike]",
    to: Callable[[str], Sequence[Path]],
    look: "Look | None" = None,
    **options: Any,
) -> list[Path]:
    """Draw those of ``names`` that the runs allow, each to the places that ``to`` gives it; return these.

    Options go to those that take them.

    Raises:
        ScenarioError: The runs allow none of them: what the first one misses.
    """
    drawn: list[Path] = []
    refused: list[ScenarioError] = []
    for name in names:
        try:
            own = {k: v for k, v in options.items() if name in taking(k)}
            figure, data = _drawn(name, runs, look, own)
        except ScenarioError as error:
            refused.append(error)
            continue
        drawn += [save(figure, path, data, look) for path in to(name)]
    if not drawn and refused:
        raise refused[0]
    return drawn


def draw_to(
    path: Path, name: str, runs: "Sequence[RunLike]", look: "Look | None" = None, **options: Any
) -> Path:
    """Draw ``name`` and save it with the numbers behind it; return the picture's path.

    Raises:
        ScenarioError: As ``draw`` and ``save``.
    """
    figure, data = _drawn(name, runs, look, options)
    return save(figure, path, data, look)


def save(
    figure: "Figure", path: Path, data: "pd.DataFrame | None" = None, look: "Look | None" = None
) -> Path:
    """Write the picture (.png at 150 dots an inch, .pdf or .svg), and ``data`` as .csv beside it.

    Small print that a picture of an asked size leaves out stands in a .txt beside it; such a .png has 300
    dots an inch.

    Each file appears whole or not at all, and equal pictures give equal bytes. A PDF embeds TrueType fonts;
    in an SVG, text is text.

    Raises:
        ResultsError: The disk is full or not writable.
        ScenarioError: Another kind of file.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in _METADATA:
        raise ScenarioError(f"a picture is saved as .png, .pdf or .svg, got '{path.name}'")
    path.parent.mkdir(parents=True, exist_ok=True)
    from matplotlib import rc_context

    from .look import Look, drawn_as

    look = look or Look()
    dots = 300 if look.size else 150
    with drawn_as(look), rc_context(_LETTERS):
        metadata = dict(_METADATA[kind])
        _write(path, lambda part: figure.savefig(part, format=kind[1:], dpi=dots, metadata=metadata))
    if look.size and figure.get_label():
        caption = str(figure.get_label()) + "\n"
        _write(path.with_suffix(".txt"), lambda part: part.write_text(caption, encoding="utf-8"))
    if data is not None:
        _write(path.with_suffix(".csv"), lambda part: data.to_csv(part, index=False, lineterminator="\n"))
    return path


def _write(path: Path, write: Callable[[Path], object]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        os.replace(part, path)
    except OSError as error:
        raise ResultsError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
