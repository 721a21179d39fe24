"""What posterior samples say together, where a run kept some: how well they predict, how they mixed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..naming import run_names
from ..posterior import BY_SAMPLE, PARAMETERS
from .curves import Axes, Line, plot
from .markup import Markup, element, joined, section, table
from .reading import check_columns, column

if TYPE_CHECKING:
    from ..results import Run
    from .reading import Findings

_TOLD = (
    ("samples", "num_samples", "d"),
    ("log likelihood together", "predictive_log_likelihood", ".4f"),
    ("accuracy together", "predictive_accuracy", ".3f"),
    ("log likelihood of one sample, mean", "log_likelihood", ".4f"),
    ("posterior deviation, median", "median_std", ".3g"),
    ("effective samples, median", "median_effective_samples", ".3g"),
    ("effective samples, least", "least_effective_samples", ".3g"),
)
_SHOWN = 8  # parameters of a run, and runs whose parameters are listed
_LINES = 10


def sampled(findings: "Findings") -> Markup:
    """Return one row a run, the predictive by sample, and the first parameters; nothing without samples."""
    names = run_names(findings.runs) if findings.runs else []
    told = [(n, run) for n, run in zip(names, findings.runs, strict=True) if run.sampled is not None]
    if not told:
        return Markup("")
    rows = [_row(name, run) for name, run in told]
    return section(
        "posterior",
        "What posterior samples say",
        table(["run", "seed", *(title for title, *_ in _TOLD)], rows, "On the test set, at the end."),
        _predictive(told),
        joined(_parameters(name, run) for name, run in told[:_SHOWN]),
    )


def _row(name: str, run: "Run") -> list[Any]:
    said = run.sampled or {}
    return [name, int(run.manifest["seed"]), *(_number(said.get(key), form) for _, key, form in _TOLD)]


def _number(value: object, form: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "—"
    return format(int(value) if form == "d" else value, form)


def _predictive(told: "Sequence[tuple[str, Run]]") -> Markup:
    """Return the plot of the test log likelihood by how many samples predict together: a line a label."""
    firsts: dict[str, Run] = {}
    for name, run in told:
        firsts.setdefault(name, run)
    lines = []
    for name, run in list(firsts.items())[:_LINES]:
        if (found := run.predictive) is not None:
            check_columns(run, "predictive", found, BY_SAMPLE, BY_SAMPLE.names)
            lines.append(Line(name, column(found, "sample") + 1, column(found, "predictive_log_likelihood")))
    title = "Test log likelihood of the samples so far together"
    several = f"The first run of each of {len(lines)} labels." if len(lines) < len(told) else ""
    return plot(Axes("predictive", title, "samples", "log likelihood"), lines, several)


def _parameters(name: str, run: "Run") -> Markup:
    """Return the first parameters of a run, to be opened."""
    found = run.posterior
    if found is None:
        return Markup("")
    check_columns(run, "posterior", found, PARAMETERS, PARAMETERS.names)
    rows = [
        [
            row.parameter,
            f"{row.mean:.4g}",
            f"{row.std:.3g}",
            f"{row.autocorrelation:.2f}",
            f"{row.effective_samples:.3g}",
        ]
        for row in found.head(_SHOWN).itertuples()
    ]
    head = ["parameter", "mean", "deviation", "autocorrelation", "effective samples"]
    who = f"{name}, seed {run.manifest['seed']}"
    caption = f"{who}: the first {len(rows)} of {len(found)} parameters."
    return element("details", element("summary", f"Parameters of {who}"), table(head, rows, caption))
