"""The table that a run or a sweep ends with: one line for equal labels, the spread over seeds beside it."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .coverage import uncovered
from .measures import called, measured
from .naming import run_names, scenario_name
from .results import Run
from .spent import spent_so_far
from .spread import in_words, spread
from .terminal import cell_text, readable, wide_console
from .terms import TERMS, terms_in_words, terms_of
from .upwards import upwards


def summary_rows(runs: Sequence[Run], band: str = "range") -> list[dict[str, Any]]:
    """Return one row a name: means over its seeds, and their spread where there are several.

    The spread is half of the range, the standard deviation (``band = "std"``) or half of the 95 % confidence
    interval of the mean (``"ci"``).

    Keys: ``run``, ``seeds``, ``accuracy`` (None of a regression), ``rmse`` and ``mae`` (None of a
    classification), each with its ``_spread``, ``metrics`` (the same of what else a task measures, by name),
    ``loss``, ``epsilon`` (the largest of the seeds, or None), ``epsilon_reason``, those of ``terms.TERMS``
    (None without an epsilon), ``megabytes_up``, ``bytes_up`` and ``bytes_down`` (of all clients),
    ``virtual_seconds`` (None where the network takes no time), ``precision``, ``recall`` and
    ``false_positive_rate`` (over all rounds, None where nothing was ever flagged; the recall also where
    nobody ever attacked), ``psnr`` (of what was rebuilt best, dB) with ``psnr_mean``, ``psnr_median`` and
    ``psnr_worst`` of all that the same attack rebuilt, ``sok`` (how much that was told,
    by the SoK's letters; None in results of earlier versions), ``tokens`` (and so on) and ``tokens_sok`` (the
    same of sequences of tokens: the share that is right), ``oracle`` (whether one of the two was told more
    than any attacker in its place could know), ``rejected``, ``predictive``
    (test log likelihood of the posterior predictive, None where nothing was sampled), ``fallbacks`` (rounds
    whose aggregate was not the rule's own, since it could not judge the cohort), ``personal`` and
    ``personal_worst`` (accuracy of honest clients' own models on what these hold out), ``shared`` and
    ``shared_worst`` (of the global model there), each with ``_p10`` and ``_std``: the 10th percentile and
    the standard deviation over clients, means over seeds.
    """
    named: dict[str, list[Run]] = {}
    for name, run in zip(run_names(runs), runs, strict=True):
        named.setdefault(name, []).append(run)
    return [_row(name, same, band) for name, same in named.items()]


def _row(label: str, runs: Sequence[Run], band: str) -> dict[str, Any]:
    last = [run.rounds.iloc[-1] for run in runs]
    spent = [spent_so_far(run.manifest, run.rounds) for run in runs]
    budgets, reasons = ([one[key] for one in spent] for key in ("value", "reason"))
    private = all(b is not None for b in budgets)
    return {
        "run": label,
        "seeds": len(runs),
        **_mean_and_spread("accuracy", last, band),
        **_mean_and_spread("rmse", last, band),
        **_mean_and_spread("mae", last, band),
        "metrics": _metrics(runs, last, band),
        "loss": float(np.mean([row["loss"] for row in last])),
        "epsilon": max(budgets) if private else None,
        "epsilon_reason": None if private else next(filter(None, reasons), None),
        **(terms_of(runs) if private else dict.fromkeys(TERMS)),
        **_spent_on_wire(last),
        **_best_rebuilt(runs),
        "rejected": int(sum(run.rounds["rejected"].sum() for run in runs)),
        "fallbacks": sum(
            int(run.rounds["fallback"].notna().sum()) for run in runs if "fallback" in run.rounds
        ),
        **_detection(runs),
        **_sampled(runs),
        **_personal(runs),
    }


def _mean_and_spread(name: str, last: Sequence[Any], band: str) -> dict[str, float | None]:
    """Return the mean and the spread of a column over seeds; None where a seed has no such number."""
    values = np.array([row.get(name) for row in last], dtype=float)
    known, several = not np.isnan(values).any(), len(values) > 1
    return {
        name: float(values.mean()) if known else None,
        f"{name}_spread": half_band(values, band) if known and several else None,
    }


def _spent_on_wire(last: Sequence[Any]) -> dict[str, float | None]:
    """Return means over seeds of what was sent, and of the seconds of the simulated network."""
    up, down, clock = (
        float(np.mean([row.get(name, 0.0) for row in last]))
        for name in ("total_bytes_up", "total_bytes_down", "virtual_seconds")
    )
    return {
        "megabytes_up": up / 1e6,
        "bytes_up": up,
        "bytes_down": down,
        "virtual_seconds": clock if clock > 0 else None,
    }


def half_band(values: Any, band: str) -> float:
    """Return how far the ``band`` of several seeds' numbers reaches to either side, on average."""
    from .plots.base import half_width

    if band == "range":
        return float(np.ptp(values) / 2)
    return float(np.std(values, ddof=1)) * half_width(band, len(values))


def _metrics(runs: Sequence[Run], last: Sequence[Any], band: str) -> dict[str, dict[str, float | None]]:
    """Return by name the mean, and its spread, of what the tasks of all these runs measure besides."""
    return {name: _mean_and_spread(name, last, band) for name in measured(runs)}


def _sampled(runs: Sequence[Run]) -> dict[str, float | None]:
    """Return the posterior predictive's test log likelihood, and half its range over seeds."""
    found = [run.sampled["predictive_log_likelihood"] for run in runs if run.sampled is not None]
    spread = float(np.ptp(found) / 2) if len(found) > 1 else None
    return {"predictive": float(np.mean(found)) if found else None, "predictive_spread": spread}


def _personal(runs: Sequence[Run]) -> dict[str, float | None]:
    """Return how good the models of clients that never attacked are on what these hold out, at the end.

    The mean over clients and then seeds, and the worst client of any seed: of their own models, and of the
    global one.
    """
    found: dict[str, float | None] = {}
    for name, column in (("personal", "accuracy"), ("shared", "global_accuracy")):
        seeds = [_of_honest(run, column) for run in runs]
        known = all(len(scores) for scores in seeds)
        found[name] = float(np.mean([scores.mean() for scores in seeds])) if known else None
        found[f"{name}_worst"] = float(min(scores.min() for scores in seeds)) if known else None
        found[f"{name}_p10"] = float(np.mean([np.quantile(s, 0.1) for s in seeds])) if known else None
        found[f"{name}_std"] = float(np.mean([s.std() for s in seeds])) if known else None
    return found


def _of_honest(run: Run, column: str) -> Any:
    if run.personal is None:
        return np.empty(0)
    last = run.personal[run.personal["round"] == run.personal["round"].max()]
    return last.loc[~last["ever_attacked"], column].dropna().to_numpy()


def _detection(runs: Sequence[Run]) -> dict[str, float | None]:
    """Return precision, recall and false alarms as ``robustness.detection`` has them, of all rounds."""
    hits, alarms, misses, quiet, resting = (
        sum(int(run.rounds[name].sum()) for run in runs if name in run.rounds)  # the last: newer runs alone
        for name in (
            "true_positives", "false_positives", "false_negatives", "true_negatives", "resting_flagged"
        )
    )  # fmt: skip
    if hits + alarms + resting == 0:
        return dict.fromkeys(("precision", "recall", "false_positive_rate"))
    return {
        "precision": (hits + resting) / (hits + alarms + resting),
        "recall": hits / (hits + misses) if hits + misses else None,  # there was nobody to find
        "false_positive_rate": alarms / (alarms + quiet) if alarms + quiet else None,
    }


def _best_rebuilt(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the PSNR of what was rebuilt best, and how its attack did otherwise; of tokens likewise."""
    gallery = [item for run in runs for item in run.gallery()]
    pictures = _best_attack({"psnr": item.psnr, "of": item} for item in gallery if item.tokens is None)
    tokens = _best_attack({"psnr": item.tokens, "of": item} for item in gallery if item.tokens is not None)
    words = {"": "best", "_mean": "mean", "_median": "median", "_worst": "worst"}
    return {
        **{f"psnr{end}": pictures[name] for end, name in words.items()},
        **{f"tokens{end}": tokens[name] for end, name in words.items()},
        "sok": pictures["sok"],
        "oracle": pictures["oracle"] or tokens["oracle"],
        "tokens_sok": tokens["sok"],
    }


def _best_attack(found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the spread of the scores of the attack, with its options, that rebuilt an example best."""
    attacks: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        attacks.setdefault(f"{one['of'].attack} {sorted(one['of'].settings.items())}", []).append(one)
    spreads = [
        {
            **spread(np.concatenate([one["psnr"] for one in same]), "psnr"),
            "sok": same[0]["of"].sok,
            "oracle": any(one["of"].oracle for one in same),
        }
        for same in attacks.values()
    ]
    nothing = {**spread((), "psnr"), "sok": None, "oracle": False}
    return max((s for s in spreads if s["best"] is not None), key=lambda s: s["best"], default=nothing)


def print_summary(runs: Sequence[Run]) -> None:
    """Print the table; columns that say nothing about these runs are left out."""
    from rich.table import Table

    title, columns, rows = summary_table(runs)
    table = Table(title=cell_text(title), caption=cell_text(terms_in_words(summary_rows(runs))) or None)
    for column in columns:
        table.add_column(cell_text(column), justify="left" if column == "run" else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(cell_text, row))
    console = wide_console()
    console.print(table)
    for warning in warnings(runs):
        console.print(readable(f"warning: {warning}"), style="yellow", markup=False, highlight=False)


def summary_table(runs: Sequence[Run]) -> tuple[str, list[str], list[list[str]]]:
    """Return (title, columns, rows in words); columns that say nothing about these runs are left out."""
    rows = summary_rows(runs)
    names = ", ".join(dict.fromkeys(scenario_name(run) for run in runs))
    least, most = (f([len(run.rounds) for run in runs]) for f in (min, max))
    title = f"{names}: after {least if least == most else f'{least} to {most}'} rounds"
    shown = [c for c in _columns(rows) if any(c[1](row) for row in rows)]
    told = [[text(row) or "-" for _, text in shown] for row in rows]
    return title, [name for name, _ in shown], told


def warnings(runs: Sequence[Run]) -> list[str]:
    """Return what the runs' guarantees must be read with caution for, each line once."""
    told = [(run.manifest.get("guarantee") or {}).get("warning") for run in runs]
    told += [uncovered(run, [*run.gallery(), *run.attacked(), *run.inferences()]) for run in runs]
    return list(dict.fromkeys(line for line in told if line))


def _columns(rows: Sequence[dict[str, Any]]) -> list[tuple[str, Callable[[dict[str, Any]], str]]]:
    """Return the table's columns: a title, and what it says of a row, empty where that is nothing."""
    further = dict.fromkeys(name for row in rows for name in row["metrics"])
    return [
        ("run", lambda r: r["run"]),
        ("seeds", lambda r: str(r["seeds"]) if r["seeds"] > 1 else ""),
        ("accuracy", lambda r: _with_spread(r, "accuracy", ".3f")),
        ("RMSE", lambda r: _with_spread(r, "rmse", ".5g")),
        ("MAE", lambda r: _with_spread(r, "mae", ".5g")),
        *((called(name), partial(_metric, name)) for name in further),
        ("loss", lambda r: format(r["loss"], ".3f" if r["loss"] < 1000 else ".4g" if r["rmse"] else ".2g")),
        ("epsilon", _epsilon),
        ("delta", lambda r: r["delta"] or ""),
        ("MB sent", lambda r: f"{r['megabytes_up']:.2f}"),
        ("MB down", lambda r: _number(r["virtual_seconds"] and r["bytes_down"] / 1e6, ".2f")),
        ("simulated seconds", lambda r: _number(r["virtual_seconds"], ".4g")),
        ("precision", lambda r: _number(r["precision"], ".2f")),
        ("recall", lambda r: _number(r["recall"], ".2f")),
        ("false alarms", lambda r: _number(r["false_positive_rate"], ".2f")),
        ("best PSNR (dB)", lambda r: _number(r["psnr"], ".1f") + _told(r, "sok")),
        ("PSNR mean, median, worst", partial(_others, "psnr", ".1f")),
        ("tokens right, best", lambda r: _number(r["tokens"], ".2f") + _told(r, "tokens_sok")),
        ("tokens mean, median, worst", partial(_others, "tokens", ".2f")),
        ("predictive log lik.", _predictive),
        ("personal (worst)", lambda r: _with_worst(r, "personal")),
        ("shared (worst)", lambda r: _with_worst(r, "shared")),
        ("shared 10 %, std", lambda r: _spread_over_clients(r, "shared")),
        ("rejected", lambda r: str(r["rejected"]) if r["rejected"] else ""),
        ("fallback rounds", lambda r: str(r["fallbacks"]) if r["fallbacks"] else ""),
    ]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _spread_over_clients(row: dict[str, Any], name: str) -> str:
    if row[f"{name}_p10"] is None:
        return ""
    return f"{row[f'{name}_p10']:.3f}, {row[f'{name}_std']:.3f}"


def _with_spread(row: dict[str, Any], name: str, form: str) -> str:
    spread = row[f"{name}_spread"]
    return _number(row[name], form) + (f" ± {_number(spread, form)}" if spread is not None else "")


def _told(row: dict[str, Any], letter: str) -> str:
    """Return ``" (C)"``: how much the attack was told, and whether that is more than any attacker knows."""
    return f" ({row[letter]}{', oracle' if row['oracle'] else ''})" if row[letter] else ""


def _others(name: str, form: str, row: dict[str, Any]) -> str:
    """Return the mean, median and worst score beside the best one."""
    found = {word: row[f"{name}_{word}"] for word in ("mean", "median", "worst")}
    return in_words(found, form)


def _metric(name: str, row: dict[str, Any]) -> str:
    return _with_spread(row["metrics"][name], name, ".5g") if name in row["metrics"] else ""


def _with_worst(row: dict[str, Any], name: str) -> str:
    worst = row[f"{name}_worst"]
    return _number(row[name], ".3f") + (f" ({worst:.3f})" if worst is not None else "")


def _predictive(row: dict[str, Any]) -> str:
    spread = row["predictive_spread"]
    return _number(row["predictive"], ".4f") + (f" ± {spread:.4f}" if spread is not None else "")


def _epsilon(row: dict[str, Any]) -> str:
    if row["epsilon"] is not None:
        return upwards(row["epsilon"], ".2f" if row["epsilon"] >= 0.1 else ".2g")
    return "" if row["epsilon_reason"] == "no_mechanism" else f"none ({row['epsilon_reason']})"
