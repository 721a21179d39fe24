"""One table: Gauntlet's robust rules against ByzFL's, on the same matrix, from one sitting.

Usage: aggregators.py [REPEATS [RULE ...]]. K = 50 updates of P = 1,000,000 coordinates, float32, 10 of them
malicious, 2 threads, or one under OMP_NUM_THREADS=1: then a turn is processor time, which other processes
disturb little. Both take turns; a ratio is the median over the turns, after one that is not counted,
and beside it that of the fastest turns; ms are of our fastest turn.
ByzFL is timed on the tensor and on the same matrix as a numpy array; what would take it minutes is left out.
Two of its rules write into what they are given: beside them stand ours against theirs on a copy, which they
then make within the time, since whoever needs the messages afterwards has to.
Memory is the growth of the largest resident set, in a process of its own that runs the rule once, as a
multiple of the matrix, which is counted in. Run it on an idle machine.
"""

import importlib
import importlib.util
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from asked import words

CLIENTS, PARAMETERS, MALICIOUS = 50, 1_000_000, 10
THREADS = min(2, torch.get_num_threads())
CLOCK = time.process_time if THREADS == 1 else time.perf_counter
F: dict[str, Any] = {"num_byzantine": MALICIOUS}

RULES: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "mean": ("mean", {"weighting": "uniform"}, "Average", {}),
    "median": ("median", {}, "Median", {}),
    "trimmed_mean": ("trimmed_mean", F, "TrMean", {"f": MALICIOUS}),
    "meamed": ("meamed", F, "Meamed", {"f": MALICIOUS}),
    "krum": ("krum", {**F, "neighbours": "byzfl"}, "Krum", {"f": MALICIOUS}),
    "multi_krum": ("multi_krum", {**F, "neighbours": "byzfl"}, "MultiKrum", {"f": MALICIOUS}),
    "geometric_median, 3 steps": ("geometric_median", {"preset": "byzfl"}, "GeometricMedian", {}),
    "geometric_median, converged": ("geometric_median", {}, "", {}),
    "centered_clipping": ("centered_clipping", {"clip_norm": 100.0}, "CenteredClipping", {}),
    "monna": ("monna", F, "MoNNA", {"f": MALICIOUS}),
    "norm_clipping": ("norm_clipping", {}, "", {}),
    "bulyan": ("bulyan", F, "", {}),
    "mda": ("mda", F, "", {}),
    "caf": ("caf", F, "", {}),
    "nnm": ("nnm", F, "NNM", {"f": MALICIOUS}),
    "arc": ("arc", F, "ARC", {"f": MALICIOUS}),
    "clipping": ("clipping", {"clip_norm": 900.0}, "Clipping", {"c": 900.0}),
    "arc, copied": ("arc", F, "ARC", {"f": MALICIOUS}),
    "clipping, copied": ("clipping", {"clip_norm": 900.0}, "Clipping", {"c": 900.0}),
    "bucketing": ("bucketing", {}, "Bucketing", {"s": 2}),
    "zeno": ("zeno", F, "", {}),
    **{name: (name, {}, "", {}) for name in ("pcgrad", "gradient_calibration", "mgda", "orthogonal")},
    **{name: (name, {}, "", {}) for name in ("foolsgold", "flame", "signguard", "clipped_clustering", "rlr")},
    "smea, f = 2": ("smea", {"num_byzantine": 2}, "", {}),
    "clustering": ("clustering", {}, "", {}),
    "residual": ("residual", {}, "", {}),
    "spectral_screen": ("spectral_screen", {}, "", {}),
    "backdoor_indicator": ("backdoor_indicator", {}, "", {}),
    "fedguard": ("fedguard", {"steps": 1}, "", {}),
    "crfl": ("crfl", {}, "", {}),
    "deepsight, 20 inputs": ("deepsight", {"num_inputs": 20}, "", {}),
    "alignins": ("alignins", {}, "", {}),
    "freqfed": ("freqfed", {}, "", {}),
    "multi_metrics": ("multi_metrics", {}, "", {}),
    "multi_metrics, pairs": ("multi_metrics", {"metrics": "pairs"}, "", {}),
    "rflbat": ("rflbat", {}, "", {}),
    "sign_majority": ("sign_majority", {}, "", {}),
}
TOLD = ("crfl", "spectral_screen")  # the model's parameters and its layers' shapes, that is
OVERWRITES = ("ARC", "Clipping")  # what they are given: they get a copy


@cache
def byzfl() -> ModuleType:
    """Return ByzFL's aggregators without its plotting and vision imports."""
    spec = importlib.util.find_spec("byzfl")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("byzfl is not installed (pip install --no-deps byzfl)")
    package = ModuleType("byzfl")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["byzfl"] = package
    return importlib.import_module("byzfl.aggregators")


def matrix() -> torch.Tensor:
    """Return the updates.  # [K, P]"""
    stream = np.random.default_rng(0)
    return torch.from_numpy(stream.standard_normal((CLIENTS, PARAMETERS), dtype=np.float32))


def ours(rule: str) -> Callable[[torch.Tensor], Any]:
    """Return Gauntlet's rule, as a function of the matrix."""
    from gauntlet.core.declarations import Defenses, declared
    from gauntlet.core.updates import Updates
    from gauntlet.defenses import DEFENSES, PRE_AGGREGATIONS

    name, options, _, _ = RULES[rule]
    counts = torch.ones(CLIENTS, dtype=torch.int64)
    if name in PRE_AGGREGATIONS.table:
        before = PRE_AGGREGATIONS.build(name, options)
        return lambda x: before.transform(Updates(x, torch.arange(CLIENTS), counts), before.init())
    defense, who = DEFENSES.build(name, options), (torch.arange(CLIENTS), counts)
    prepare = declared(defense, Defenses.prepare)

    def run(x: torch.Tensor) -> Any:
        told, state = context(x.shape[1]), defense.init()
        if prepare is not None:
            state = torch.ones(x.shape[1])  # as if something were planted
        return defense.aggregate(Updates(x, *who, context=told), state)

    told = (
        declared(defense, Defenses.runs_models) or declared(defense, Defenses.beside_params) or name in TOLD
    )
    return run if told else lambda x: defense.aggregate(Updates(x, *who), defense.init())


@cache
def context(size: int) -> Any:
    """Return what a server with 100 examples knows of a dense layer of so many parameters."""
    from gauntlet.clients.scoring.candidates import CandidateModels
    from gauntlet.core.updates import Context, Layout, OwnExamples

    classes = next(c for c in (10, *range(9, 0, -1)) if size % c == 0)
    model, loss = torch.nn.Linear(size // classes - 1, classes), torch.nn.functional.cross_entropy
    layout, stream = Layout.of(model), np.random.default_rng(1)
    x = torch.from_numpy(stream.standard_normal((100, size // classes - 1), dtype=np.float32))
    trials = CandidateModels(model, "of this benchmark", loss, OwnExamples(x, torch.arange(100) % classes))
    params = 0.1 * torch.from_numpy(stream.standard_normal(size, dtype=np.float32))
    known = 0, params, layout, 0, None
    tried = trials.forward(torch.zeros(0)), trials.examples, trials.loss
    return Context(*known, *tried, torch.zeros(1, size // classes - 1))


def seconds(function: Callable[[Any], Any], x: Any) -> float:
    """Return how long one call takes."""
    begin = CLOCK()
    function(x)
    return CLOCK() - begin


def compare(rule: str, x: torch.Tensor, repeats: int) -> dict[str, list[float]]:
    """Return the seconds of every turn but the first: ours, and ByzFL's on a tensor and on an array."""
    _, _, theirs, options = RULES[rule]
    mine, found = ours(rule), {"ours": [], "tensor": [], "array": []}
    for turn in range(repeats + 1):
        found["ours"].append(seconds(mine, x))
        for kind, given in (("tensor", x), ("array", x.numpy())) if theirs else ():
            if theirs == "NNM" and (kind == "array" or turn > 2):
                continue  # many seconds, and several times the matrix in memory
            function = getattr(byzfl(), theirs)(**options)
            if rule.endswith(", copied"):
                found[kind].append(seconds(lambda rows, run=function: run(clone(rows)), given))
            else:
                found[kind].append(seconds(function, clone(given) if theirs in OVERWRITES else given))
    return {kind: took[1:] for kind, took in found.items()}


def clone(given: Any) -> Any:
    """Return a copy of a tensor or an array."""
    return given.clone() if isinstance(given, torch.Tensor) else given.copy()


def ratios(found: dict[str, list[float]], kind: str) -> list[str]:
    """Return ByzFL's time over ours: the median over the turns, and of the fastest turns."""
    if not found[kind]:
        return ["", ""]
    turns = [b / a for a, b in zip(found["ours"], found[kind], strict=False)]
    return [f"{statistics.median(turns):.1f}", f"{min(found[kind]) / min(found['ours']):.1f}"]


def memory(rule: str) -> float:
    """Return the peak memory of one call, as a multiple of the matrix, measured in a process of its own."""
    script = f"import aggregators; print(aggregators.peak({rule!r}))"
    here = Path(__file__).parent
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=here
    )
    return float(printed.stdout)


def peak(rule: str) -> float:
    """Return the growth of the largest resident set over one call, plus the matrix, over the matrix."""
    torch.set_num_threads(THREADS)
    function, small = ours(rule), torch.randn(CLIENTS, 30_000)
    function(small)  # loads the code, starts the threads and fills the scratch
    x = matrix()
    before = largest()
    function(x)
    return 1 + (largest() - before) / (x.numel() * x.element_size())


def largest() -> int:
    """Return the largest resident set so far, in bytes (``ru_maxrss`` would start at the parent's)."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def main() -> None:
    """Measure, and print a Markdown table."""
    given = words(__doc__, repeats=7, rules=list(RULES))
    torch.set_num_threads(THREADS)
    x = matrix()
    versions = ", ".join(f"{p} {version(p)}" for p in ("torch", "numpy", "byzfl"))
    print(f"{platform.machine()}, {THREADS} thread(s), Python {platform.python_version()}, {versions}\n")
    print("| rule | ms | ByzFL (tensor) / ours | fastest | ByzFL (array) / ours | fastest | memory |")
    print("|---|---|---|---|---|---|---|")
    for rule in given.rules:
        found = compare(rule, x, given.repeats)
        cells = ratios(found, "tensor") + ratios(found, "array")
        fastest = 1000 * min(found["ours"])
        print(f"| {rule} | {fastest:.0f} | {' | '.join(cells)} | {memory(rule):.2f} |", flush=True)


if __name__ == "__main__":
    main()
