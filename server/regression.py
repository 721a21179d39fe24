"""What goes with labels alone is refused where the targets are real numbers."""

from ..clients.data.base import FederatedData, targets_of
from ..core.declarations import DataAttacks, declared
from ..core.errors import ScenarioError
from .plan import Plan


def refuse_labels_only(plan: Plan, data: FederatedData) -> None:
    """Raise ``ScenarioError`` where an attack needs labels and the data are a regression's."""
    if targets_of(data) is None:
        return
    by_label = [role for role in plan.poisons if not declared(role.attack, DataAttacks.label_free)]
    by_label += [role for role in plan.attacks if declared(role.attack, DataAttacks.goal)]
    if by_label:
        raise ScenarioError(
            f"attack '{by_label[0].kind}' works on labels, and {data.name} has real-valued targets; attacks "
            "on updates, such as sign_flip, go with any data"
        )
