"""What attacks may return, and what is no result: plug-ins written into files."""

from pathlib import Path

RETURNS = """
import numpy as np
import torch
from gauntlet.core.observation import Progress, Reconstruction

def good(**changes):
    facts = dict(x=torch.zeros(2, 1, 8, 8), y=torch.zeros(2).long(), cost=0.0, trace=(0.0,), stopped="plateau", details={})
    return Reconstruction(**{**facts, **changes})

def steps(count=3, **changes):
    each = tuple(range(count))
    facts = dict(x=torch.zeros(count, 2, 1, 8, 8), cost=each, closures=each, seconds=each)
    found = Progress(**facts)
    for name, value in changes.items():
        object.__setattr__(found, name, value)
    return good(progress=found)

WHAT = {
    "None": lambda: None,
    "a list": lambda: [torch.zeros(2, 1, 8, 8)],
    "a bare tensor": lambda: torch.zeros(2, 1, 8, 8),
    "numpy x": lambda: good(x=np.zeros((2, 1, 8, 8))),
    "numpy y": lambda: good(y=np.zeros(2)),
    "None in x": lambda: good(x=None),
    "flat x": lambda: good(x=torch.zeros(2, 64)),
    "three examples": lambda: good(x=torch.zeros(3, 1, 8, 8), y=torch.zeros(3).long()),
    "a number for x": lambda: good(x=torch.tensor(1.0)),
    "whole x": lambda: good(x=torch.zeros(2, 1, 8, 8).long()),
    "complex x": lambda: good(x=torch.zeros(2, 1, 8, 8, dtype=torch.complex64)),
    "sparse x": lambda: good(x=torch.zeros(2, 1, 8, 8).to_sparse()),
    "NaN x": lambda: good(x=torch.full((2, 1, 8, 8), float("nan"))),
    "infinite in float32": lambda: good(x=torch.full((2, 1, 8, 8), 1e300, dtype=torch.float64)),
    "float y": lambda: good(y=torch.zeros(2)),
    "boolean y": lambda: good(y=torch.zeros(2).bool()),
    "no class": lambda: good(y=torch.tensor([0, 10])),
    "negative y": lambda: good(y=torch.tensor([0, -1])),
    "short y": lambda: good(y=torch.zeros(1).long()),
    "cost in words": lambda: good(cost="low"),
    "cost as tensor": lambda: good(cost=torch.tensor([1.0, 2.0])),
    "trace of None": lambda: good(trace=None),
    "unknown stop": lambda: good(stopped="bored"),
    "unhashable stop": lambda: good(stopped=["nan"]),
    "details": lambda: good(details={"loss": torch.zeros(3)}),
    "keys": lambda: good(details={1: 1.0}),
    "x without values": lambda: good(x=torch.zeros(2, 1, 8, 8, device="meta")),
    "y without values": lambda: good(y=torch.zeros(2, device="meta").long()),
    "cost beyond floats": lambda: good(cost=10**400),
    "trace beyond floats": lambda: good(trace=[10**5000]),
    "details beyond floats": lambda: good(details={"loss": 10**5000}),
    "progress in words": lambda: good(progress="fine"),
    "steps of one example": lambda: steps(x=torch.zeros(3, 1, 1, 8, 8)),
    "fewer steps than figures": lambda: steps(x=torch.zeros(2, 2, 1, 8, 8)),
    "whole steps": lambda: steps(x=torch.zeros(3, 2, 1, 8, 8).long()),
    "complex steps": lambda: steps(x=torch.zeros(3, 2, 1, 8, 8, dtype=torch.complex64)),
    "steps without values": lambda: steps(x=torch.zeros(3, 2, 1, 8, 8, device="meta")),
    "numpy steps": lambda: steps(x=np.zeros((3, 2, 1, 8, 8))),
    "a cost of None": lambda: steps(cost=(0.0, None, 0.0)),
    "two seconds": lambda: steps(seconds=(0.0, 1.0)),
    "time that runs backwards": lambda: steps(seconds=(0.0, 2.0, 1.0)),
    "closures below 0": lambda: steps(closures=(-1, 0, 1)),
    "endless seconds": lambda: steps(seconds=(0.0, 1.0, float("inf"))),
    "closures beyond floats": lambda: steps(closures=(0, 1, 10**400)),
    "exact": lambda: good(x=torch.zeros(2, 1, 8, 8, dtype=torch.float64, requires_grad=True), cost=np.float32(1), details={"n": np.int64(3), "bad": float("nan")}, y=torch.zeros(2, dtype=torch.int32)),
    "says nan": lambda: good(x=torch.full((2, 1, 8, 8), float("nan")), stopped="nan", cost=float("nan")),
}

class Returns:
    def __init__(self, what: str):
        self.what = what
    def reconstruct(self, observation, generator):
        return WHAT[self.what]()
"""  # noqa: E501

SCORES = """
import numpy as np
import torch

WHAT = {
    "None": lambda: None,
    "a list": lambda: [[0.0] * 10],
    "numpy": lambda: np.zeros((1, 10)),
    "one row": lambda: torch.zeros(10),
    "two rows": lambda: torch.zeros(2, 10),
    "no hypothesis": lambda: torch.zeros(1, 0),
    "NaN": lambda: torch.full((1, 10), float("nan")),
    "infinite": lambda: torch.full((1, 10), float("inf")),
    "whole numbers": lambda: torch.zeros(1, 10).long(),
    "a dictionary": lambda: {0: 1.0},
    "a number": lambda: 0.5,
    "without values": lambda: torch.zeros(1, 10, device="meta"),
}

class Scores:
    def __init__(self, what: str):
        self.what = what
    def infer(self, observations):
        return WHAT[self.what]()
"""

FINE = ("exact", "says nan")


def names_in(source: str) -> list[str]:
    """Return the keys of a source's table of lambdas."""
    return [
        line.split('"')[1] for line in source.splitlines() if line.startswith('    "') and "lambda" in line
    ]


CASES = [("returns", "Returns", what) for what in names_in(RETURNS) if what not in FINE]
CASES += [("scores", "Scores", what) for what in names_in(SCORES)]


def plugin_of(folder: Path, kind: str, name: str) -> str:
    """Write a plug-in file into a folder, and return the name of a class in it."""
    path = folder / f"{kind}.py"
    path.write_text({"returns": RETURNS, "scores": SCORES}[kind])
    return f"{path}:{name}"
