"""Tasks by name: what is learnt from the data, and how a model's outputs are measured."""

from ...core.contracts import Task
from ...core.declarations import Tasks
from ...core.registry import Family
from .fitted import FittedTask, facts_of, task_of

__all__ = ["TASKS", "FittedTask", "facts_of", "task_of"]

TASKS: Family[Task] = Family(
    "tasks",
    "task",
    ("outputs", "loss", "answer", "measure"),
    {
        "classification": "gauntlet.clients.tasks.classification:Classification",
        "regression": "gauntlet.clients.tasks.regression:Regression",
        "language_model": "gauntlet.clients.tasks.language_model:LanguageModel",
    },
    declares=Tasks,
)
