"""Every member of both families meets its contract, and every check catches an attack that breaks it."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file

from gauntlet.attacks.leakage import INFERENCE_ATTACKS, LEAKAGE_ATTACKS, contract
from gauntlet.attacks.leakage.bias_trick import BiasTrick
from gauntlet.core.errors import PluginError
from gauntlet.core.observation import Reconstruction

OPTIONS: dict[str, dict[str, object]] = {
    "property_inference": {"column": 5, "batches": 10, "trees": 10},
}
SEARCHES = (
    "altered_examples",
    "bayes",
    "dia",
    "film",
    "gradinversion",
    "inverting_gradients",
    "lamp",
    "sme",
    "summed_rounds",
    "tag",
    "unrolled",
    "wiig",
)
"""Whose promises do not depend on how long they search, but for those on what is rebuilt."""
OUTCOMES = (contract.the_self_check_beats_a_constant_image, contract.the_fixed_case_of_its_kind_is_rebuilt)
KEPT = [check for check in contract.CHECKS if check not in OUTCOMES]


def options_of(name, iterations):
    """Return options with which a search, or the one inside, takes so many iterations."""
    if name == "altered_examples":
        return {"attack": {"name": "inverting_gradients", "max_iterations": iterations}}
    return {"max_iterations": iterations} if name in SEARCHES else None


@pytest.mark.parametrize("check", KEPT, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", LEAKAGE_ATTACKS.table)
def test_every_leakage_attack_keeps_the_contract(name, check):
    check(LEAKAGE_ATTACKS.build(name, options_of(name, 10)))


@pytest.mark.parametrize("check", OUTCOMES, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", [name for name in LEAKAGE_ATTACKS.table if name not in SEARCHES])
def test_every_other_attack_rebuilds_its_fixed_case(name, check):
    check(LEAKAGE_ATTACKS.build(name))


@pytest.mark.slow
@pytest.mark.parametrize("check", OUTCOMES, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_rebuilds_its_fixed_case(name, check):
    """With 150 iterations, and the two whose steps are cheap as they are: of a coded frame 60 are too few."""
    cheap = name in ("bayes", "inverting_gradients")
    check(LEAKAGE_ATTACKS.build(name, None if cheap else options_of(name, 150)))


@pytest.mark.parametrize("check", contract.INFERENCE_ATTACK_CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", INFERENCE_ATTACKS.table)
def test_every_inference_attack_keeps_the_contract(name, check):
    check(INFERENCE_ATTACKS.build(name, OPTIONS.get(name)))


def honest(observations, generator):
    return BiasTrick().reconstruct(observations, generator)


@dataclass(frozen=True)
class Broken:
    """An honest attack with one fault."""

    fault: str
    requires: ClassVar[dict[str, str]] = {"batch_size": "exact", "local_steps": "exact"}
    uses: ClassVar[tuple[str, ...]] = ()

    def check(self, observation):
        if self.fault == "refuses_all":
            raise PluginError("it works on nothing")
        if self.fault == "checks_by_training":
            with torch.no_grad():
                next(observation.model.parameters()).add_(1)

    def reconstruct(self, observations, generator):
        return getattr(self, self.fault)(observations[-1], honest(observations, generator))

    def flattens(self, observation, found):
        return with_x(found, found.x.flatten())

    def drops_the_batch_from_y(self, observation, found):
        return Reconstruction(found.x, found.y[0], found.cost, (), found.stopped, {})

    def invents_a_class(self, observation, found):
        return Reconstruction(found.x, found.y + 10, found.cost, (), found.stopped, {})

    def hides_nan(self, observation, found):
        return Reconstruction(found.x, found.y, found.cost, (), "closed_form", {})

    def draws_from_torch(self, observation, found):
        return with_x(found, found.x + 0.01 * torch.randn(found.x.shape))

    def reads_the_global_state(self, observation, found):
        return with_x(found, found.x + 1e-9 * torch.initial_seed())

    def trains_the_model(self, observation, found):
        with torch.no_grad():
            next(observation.model.parameters()).add_(1)
        return found

    def switches_the_mode(self, observation, found):
        observation.model.eval()
        return found

    def leaves_gradients_on(self, observation, found):
        next(observation.model.parameters()).requires_grad_()
        return found

    def leaves_a_hook(self, observation, found):
        observation.model.register_forward_hook(lambda *_: None)
        return found

    def changes_the_update(self, observation, found):
        observation.update.zero_()
        return found

    def peeks_at_the_label(self, observation, found):
        label = observation.knowledge.labels
        return with_x(found, found.x + (0.0 if label is None else 0.1))

    def needs_the_step_size(self, observation, found):
        return with_x(found, found.x * observation.knowledge.lr)

    def drops_the_label(self, observation, found):
        return Reconstruction(found.x, 0 * found.y, found.cost, found.trace, found.stopped, found.details)

    def opens_the_truth(self, observation, found):
        found_truth = sorted(Path.cwd().rglob("truth.safetensors"))
        return with_x(found, load_file(found_truth[0])["x"] if found_truth else found.x)

    def reads_what_was_not_sent(self, observation, found):
        raw = sorted(Path.cwd().rglob("update.safetensors"))
        return with_x(found, found.x + (1e-9 * load_file(raw[0])["update"].sum() if raw else 0))

    def rebuilds_a_constant(self, observation, found):
        return with_x(found, torch.full_like(found.x, 0.5))

    def blurs(self, observation, found):
        return with_x(found, found.x + 0.11)


def with_x(found, x):
    return Reconstruction(x, found.y, found.cost, found.trace, found.stopped, found.details)


@pytest.mark.parametrize(
    ("fault", "check", "complaint"),
    [
        ("flattens", contract.a_reconstruction_has_the_shape_of_the_batch, "x must be"),
        ("drops_the_batch_from_y", contract.a_reconstruction_has_the_shape_of_the_batch, "y must be"),
        ("invents_a_class", contract.a_reconstruction_has_the_shape_of_the_batch, "class numbers"),
        ("hides_nan", contract.a_reconstruction_is_finite_or_says_nan, "update of zeros"),
        ("draws_from_torch", contract.equal_generators_give_equal_reconstructions, "global generator"),
        ("reads_the_global_state", contract.equal_generators_give_equal_reconstructions, "two different"),
        ("trains_the_model", contract.the_observation_is_left_as_it_was, "1.weight was changed"),
        ("switches_the_mode", contract.the_observation_is_left_as_it_was, "mode"),
        ("leaves_gradients_on", contract.the_observation_is_left_as_it_was, "gradients on"),
        ("leaves_a_hook", contract.the_observation_is_left_as_it_was, "hook"),
        ("changes_the_update", contract.the_observation_is_left_as_it_was, "update was changed"),
        ("peeks_at_the_label", contract.knowledge_that_is_not_declared_changes_nothing, "changed the rec"),
        ("refuses_all", contract.the_check_accepts_an_easy_victim, "works on nothing"),
        ("checks_by_training", contract.the_check_accepts_an_easy_victim, "check changed"),
        ("needs_the_step_size", contract.knowledge_that_is_not_declared_changes_nothing, "TypeError"),
        ("opens_the_truth", contract.the_truth_behind_the_message_changes_nothing, "looked at the client's"),
        ("reads_what_was_not_sent", contract.the_truth_behind_the_message_changes_nothing, "was not sent"),
        ("rebuilds_a_constant", contract.the_self_check_beats_a_constant_image, "constant image"),
        ("rebuilds_a_constant", contract.the_fixed_case_of_its_kind_is_rebuilt, r"'image' it rebuilds \d"),
        ("blurs", contract.the_fixed_case_of_its_kind_is_rebuilt, "dB of PSNR, expected at least 20"),
        ("refuses_all", contract.the_fixed_case_of_its_kind_is_rebuilt, "it works on nothing"),
    ],
)
def test_the_check_catches(fault, check, complaint):
    with pytest.raises(PluginError, match=complaint):
        check(Broken(fault))


def test_the_check_catches_labels_that_are_declared_and_not_taken():
    class Deaf(Broken):
        uses: ClassVar[tuple[str, ...]] = ("labels",)

    with pytest.raises(PluginError, match=r"it was told label \d, and returned \[0\]"):
        contract.labels_that_are_told_are_taken(Deaf("drops_the_label"))
    contract.labels_that_are_told_are_taken(Broken("drops_the_label"))  # it declares nothing


def test_the_check_catches_a_requirement_that_is_no_knowledge():
    class Misspelt:
        requires: ClassVar = {"batch_sise": "exact"}

    with pytest.raises(PluginError, match="no knowledge: batch_sise"):
        contract.knowledge_that_is_missing_is_refused_by_name(Misspelt())


def test_an_attack_that_says_it_is_exact_must_be_nearer():
    class Exact(Broken):
        exact: ClassVar[bool] = True

        def blurs(self, observation, found):
            return with_x(found, found.x + 0.01)  # 40 dB, more where it is cut off

    with pytest.raises(PluginError, match=r"rebuilds 40.1 dB of PSNR, expected at least 60"):
        contract.the_fixed_case_of_its_kind_is_rebuilt(Exact("blurs"))


def test_an_attack_on_sums_must_rebuild_one():
    class OnSums(Broken):
        kinds: ClassVar[tuple[str, ...]] = ("aggregate",)

        def reconstruct(self, observations, generator):
            size = observations[-1].knowledge.batch_size
            return Reconstruction(
                torch.zeros(size, 1, 8, 8), torch.zeros(size).long(), 0, (), "converged", {}
            )

    with pytest.raises(PluginError, match="of the fixed case 'aggregate' it rebuilds"):
        contract.the_fixed_case_of_its_kind_is_rebuilt(OnSums("none"))


def test_an_attack_that_knows_of_codecs_must_rebuild_a_coded_frame():
    class Deaf(Broken):
        uses: ClassVar[tuple[str, ...]] = ("codec",)
        aware: ClassVar[dict[str, str]] = {"fault": "none"}

        def none(self, observation, found):
            return found

    with pytest.raises(PluginError, match="of the fixed case 'coded frame' it rebuilds"):
        contract.the_fixed_case_of_its_kind_is_rebuilt(Deaf("none"))


class Scores:
    """An inference attack with one fault."""

    requires: ClassVar = {}

    def __init__(self, fault):
        self.fault = fault

    def infer(self, observations):
        rows = torch.stack([o.update[:10] for o in observations])
        if self.fault == "one row":
            return rows[:1]
        if self.fault == "not finite":
            return rows / 0
        if self.fault == "order":
            return rows.cumsum(dim=0)
        if self.fault == "peeks":
            return rows + len(observations[0].knowledge.labels or ())
        if self.fault == "opens the truth" and Path("truth.safetensors").exists():
            return rows + load_file("truth.safetensors")["y"]
        return rows


@pytest.mark.parametrize(
    ("fault", "check", "complaint"),
    [
        ("one row", contract.scores_stand_in_one_row_an_observation, "scores must be"),
        ("not finite", contract.scores_stand_in_one_row_an_observation, "finite"),
        ("order", contract.scores_stand_in_one_row_an_observation, "order of the observations"),
        ("peeks", contract.undeclared_knowledge_changes_no_score, "does not declare"),
        ("opens the truth", contract.the_truth_behind_the_message_changes_no_score, "looked at the client's"),
    ],
)
def test_the_check_catches_scores(fault, check, complaint):
    contract.scores_stand_in_one_row_an_observation(Scores("none"))
    with pytest.raises(PluginError, match=complaint):
        check(Scores(fault))
