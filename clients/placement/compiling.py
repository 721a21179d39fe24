"""Whether the step of a stack is compiled by ``torch.compile``: a rule, never a measurement.

The trace of a step is tidied already, so that a compiler finds little to do: it gains about a fifth where
many small convolutional models are stacked, nothing elsewhere, and costs the time of dozens of stacks
for every shape (docs/performance.md). A compiled step agrees with the traced one to rounding.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn

from ...core.errors import ScenarioError
from .stackable import Choice, convolves

if TYPE_CHECKING:
    from ...core.contracts import Switch

REPAID = (
    10_000  # stacks trained in a run: twenty shapes, each dear as a hundred stacks, for a fifth of the time
)
HIGH = 10  # clients: lower stacks gain nothing


def compile_stacks(setting: Switch, choice: Choice, model: nn.Module, stacks: float) -> Choice:
    """Return the choice, compiled where that is asked for, or with ``"auto"`` where it pays.

    Args:
        setting: What the scenario wants.
        choice: How clients are stacked.
        model: Their model.
        stacks: How many stacks are trained in the whole run.

    Raises:
        ScenarioError: ``"on"`` where clients are not stacked, or without a compiler for the CPU.
    """
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")  # as torch has it
    obstacle = None if choice.stacked else choice.reason
    if obstacle is None and choice.device == "cpu" and shutil.which(compiler) is None:
        obstacle = f"there is no compiler '{compiler}' on this machine"
    if setting == "on" and obstacle:
        raise ScenarioError(f"compile = on cannot be: {obstacle}; use auto or off")
    pays = choice.device == "cpu" and convolves(model) and choice.height >= HIGH and stacks >= REPAID
    if setting == "off" or obstacle or (setting == "auto" and not pays):
        return choice
    return replace(choice, reason=f"{choice.reason}, compiled", compiled=True)
