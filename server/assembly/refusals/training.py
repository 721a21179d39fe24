"""Ways of training that are asked for and cannot be; samplers and data that do not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....core.declarations import Algorithms, ClientData, DataAttacks, UpdateAttacks, declared
from ....core.errors import ScenarioError

if TYPE_CHECKING:
    from ..fitted import Fitted
    from ..parts import Parts


def a_cohort_above_the_population(parts: Parts) -> ScenarioError | None:
    """A sampler that cannot sample so many clients, and says so."""
    plain = getattr(parts.sampler, "__wrapped__", parts.sampler)
    try:
        plain.sampling(parts.population)
    except ValueError as error:
        refusal = ScenarioError(f"{parts.spec.sampler.name}: {error}")
        refusal.__cause__ = error
        return refusal
    except KeyboardInterrupt:
        raise
    except BaseException:  # a fault of the plug-in, which its guard names
        return None
    return None


def stacking_of_an_algorithm_of_its_own_way(parts: Parts) -> ScenarioError | None:
    """``vectorize = on`` with an algorithm that runs a client in a way of its own."""
    if not parts.brings(Algorithms.work) or parts.spec.vectorize != "on":
        return None
    return ScenarioError(f"vectorize = on cannot be: {own_way(parts)}; use auto or off")


def compiling_of_private_steps(parts: Parts) -> ScenarioError | None:
    """``compile = on`` with a privacy mechanism that works inside of local steps."""
    if not parts.in_steps or parts.spec.compile != "on":
        return None
    return ScenarioError(f"compile = on cannot be: {in_steps(parts)}, uncompiled; use auto or off")


def own_way(parts: Parts) -> str:
    """Return why clients cannot be stacked."""
    return f"algorithm '{parts.spec.algorithm.name}' runs a client in a way of its own"


def in_steps(parts: Parts) -> str:
    """Return why clients train on the CPU."""
    return f"privacy '{parts.spec.privacy.name}' works inside of local steps on the CPU"


def given_data_without_a_root(fitted: Fitted) -> ScenarioError | None:
    """Data made elsewhere that hold no examples for the server, which the run has."""
    asked = fitted.parts.spec.root_examples
    if not asked or declared(fitted.data, ClientData.root) is not None:
        return None
    return ScenarioError(f"root_examples is {asked}, but the given data hold none")


def samples_of_what_has_no_probability(fitted: Fitted) -> ScenarioError | None:
    """An algorithm that keeps posterior samples, where outputs are no logits of the labels."""
    if not fitted.parts.brings(Algorithms.posterior) or fitted.task.gives_logits:
        return None
    return ScenarioError(
        f"algorithm '{fitted.parts.spec.algorithm.name}' keeps samples, which are asked for the labels' "
        f"probabilities, and task '{fitted.task.name}' has outputs {list(fitted.task.outputs)} for "
        f"{fitted.task.facts.labels}; it goes with classification and language_model"
    )


def attacks_on_inputs_that_are_tokens(fitted: Fitted) -> ScenarioError | None:
    """An attack that changes inputs that are floats, where they are tokens."""
    if not fitted.task.facts.num_tokens:
        return None
    poisons, _ = fitted.parts.roles
    changing = [role for role in poisons if not declared(role.attack, DataAttacks.tokens)]
    if not changing:
        return None
    return ScenarioError(
        f"attack '{changing[0].kind}' changes inputs that are floats, and those of {fitted.data.name} are "
        "tokens; attacks on updates, such as sign_flip, go with any data"
    )


def attacks_on_labels_that_are_no_classes(fitted: Fitted) -> ScenarioError | None:
    """An attack that needs a class an example, where labels are something else."""
    facts = fitted.task.facts
    if fitted.task.by_class:
        return None
    poisons, attacks = fitted.parts.roles
    by_label = [role for role in poisons if not declared(role.attack, DataAttacks.label_free)]
    by_label += [role for role in attacks if declared(role.attack, UpdateAttacks.goal)]
    if not by_label:
        return None
    return ScenarioError(
        f"attack '{by_label[0].kind}' works on labels, and {facts.name} has {facts.labels}; "
        "attacks on updates, such as sign_flip, go with any data"
    )
