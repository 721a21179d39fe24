"""Every client defense keeps the contract, and every check rejects one that is broken on purpose."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from gauntlet.clients.client_defenses import CLIENT_DEFENSES, contract
from gauntlet.clients.client_defenses.contract import CHECKS
from gauntlet.core.declarations import attackers
from gauntlet.core.errors import PluginError
from gauntlet.core.guards import guard
from gauntlet.core.replies import REPLIES

OTHER_OPTIONS = [
    ("gradient_pruning", {"rate": 0.0}),
    ("gradient_pruning", {"rate": 0.99, "per": "update"}),
    ("soteria", {"rate": 0.1, "layer": "1"}),
    ("soteria", {"rate": 0.0, "offset": 0.0}),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", CLIENT_DEFENSES.table)
def test_every_defense_keeps_the_contract(name, check):
    check(guard(CLIENT_DEFENSES.build(name), name, REPLIES["client_defenses"]))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("name", "options"), OTHER_OPTIONS, ids=str)
def test_other_options_keep_it_too(name, options, check):
    check(CLIENT_DEFENSES.build(name, options))


@dataclass(frozen=True)
class Half:
    """A correct defense, of which each broken twin spoils one thing."""

    looks_at_examples = False
    adaptive: ClassVar[dict] = {"name": "dlg"}

    def change(self, update, visit):
        return update / 2


class RefusesEverything(Half):
    def check(self, model, input_shape):
        raise PluginError("no")


class ReturnsDoubles(Half):
    def change(self, update, visit):
        return update.double()


class MakesNaN(Half):
    def change(self, update, visit):
        return update / 0 * 0


class DoesNothing(Half):
    def change(self, update, visit):
        noise = torch.from_numpy(visit.stream(0).standard_normal(update.shape)).float()
        return torch.where(noise > 100, noise, update)


class SaysThatItIsPassive(Half):
    passive = True


class LooksAtOthers(Half):
    def change(self, update, visit):
        return update - update.mean(dim=0) / 3


class DrawsFromTorch(Half):
    def change(self, update, visit):
        return update + torch.randn_like(update)


class WritesIntoWhatItIsHanded(Half):
    def change(self, update, visit):
        return update.mul_(0.5)


class WritesIntoTheModel(Half):
    def change(self, update, visit):
        next(visit.model.parameters()).data.zero_()
        return update / 2


class Repairs(Half):
    def change(self, update, visit):
        return torch.nan_to_num(update / 2, nan=0.0, posinf=0.0)


class LooksInSecret(Half):
    def change(self, update, visit):
        return torch.stack([u * visit.batch(row)[0].mean() for row, u in enumerate(update)])


class IsShownAlone(Half):
    adaptive: ClassVar[dict] = {}


class NamesNoAttack(Half):
    adaptive: ClassVar[tuple] = ({"name": "dlg"}, {"likelihood": "laplace"})


class NamesOneTwice(Half):
    adaptive: ClassVar[tuple] = ({"name": "dlg"}, {"name": "idlg"}, {"name": "dlg"})


class IsAnsweredAndNot(Half):
    unanswered: ClassVar[bool] = True


class DropsAnExample(Half):
    def examples(self, x, y, generator):
        return x[1:], y[1:]


class MixesInSecret(Half):
    def examples(self, x, y, generator):
        return (x + x.flip(0)) / 2, y


class ShufflesInPlace(Half):
    def examples(self, x, y, generator):
        return x.mul_(0.5), y


class UndoesOneTooFew(Half):
    def examples(self, x, y, generator):
        return 1 - x, y

    def undo(self, seen, value_range, generator):
        return 1 - seen[-1][1:], 0.0


class UndoesInPlace(UndoesOneTooFew):
    def undo(self, seen, value_range, generator):
        return seen[-1].mul_(-1).add_(1), 0.0


class UndoesNothing(Half):
    def undo(self, seen, value_range, generator):
        return seen[-1], 0.0


class WrapsIntoFeatures(Half):
    def wrap(self, model):
        return nn.Sequential(*list(model)[:-1])


class WrapsOtherwiseEachTime(Half):
    def wrap(self, model):
        layer = nn.Linear(5, 5)
        with torch.no_grad():
            layer.bias.add_(len(SEEN))
        SEEN.append(layer)
        return nn.Sequential(model, layer)


SEEN = []


class ComplainsAtLength(Half):
    def check(self, model, input_shape):
        if any(isinstance(m, nn.Conv2d) for m in model):
            raise PluginError("no\nand no again")


BROKEN = [
    (contract.works_on_a_small_classifier, RefusesEverything),
    (contract.lets_out_finite_rows_like_those_that_came, ReturnsDoubles),
    (contract.lets_out_finite_rows_like_those_that_came, MakesNaN),
    (contract.lets_out_finite_rows_like_those_that_came, WritesIntoWhatItIsHanded),
    (contract.lets_out_finite_rows_like_those_that_came, WritesIntoTheModel),
    (contract.lets_out_something_else_or_says_that_it_does_not, DoesNothing),
    (contract.lets_out_something_else_or_says_that_it_does_not, SaysThatItIsPassive),
    (contract.defends_each_client_by_itself, LooksAtOthers),
    (contract.draws_from_the_clients_own_streams_alone, DrawsFromTorch),
    (contract.an_update_that_is_not_finite_stays_so, Repairs),
    (contract.says_whether_it_looks_at_examples, LooksInSecret),
    (contract.says_whether_it_looks_at_examples, MixesInSecret),
    (contract.names_the_attack_that_it_is_shown_beside, IsShownAlone),
    (contract.names_the_attack_that_it_is_shown_beside, NamesNoAttack),
    (contract.names_the_attack_that_it_is_shown_beside, NamesOneTwice),
    (contract.names_the_attack_that_it_is_shown_beside, IsAnsweredAndNot),
    (contract.alters_examples_one_for_one, DropsAnExample),
    (contract.alters_examples_one_for_one, ShufflesInPlace),
    (contract.what_was_trained_on_is_undone_as_declared, UndoesOneTooFew),
    (contract.what_was_trained_on_is_undone_as_declared, UndoesInPlace),
    (contract.what_was_trained_on_is_undone_as_declared, UndoesNothing),
    (contract.wraps_a_classifier_into_a_classifier, WrapsIntoFeatures),
    (contract.wraps_a_classifier_into_a_classifier, WrapsOtherwiseEachTime),
    (contract.says_in_one_line_what_it_cannot_work_on, ComplainsAtLength),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_unbroken_twin_keeps_the_contract(check):
    check(Half())


@pytest.mark.parametrize(("check", "twin"), BROKEN, ids=lambda x: x.__name__)
def test_a_broken_twin_is_rejected(check, twin):
    with pytest.raises(PluginError):
        check(twin())


@pytest.mark.parametrize(
    ("adaptive", "named"),
    [({}, 0), ((), 0), ({"name": "dlg"}, 1), (({"name": "dlg"}, {"name": "dlg", "masked": True}), 2)],
)
def test_a_defense_names_one_attack_or_several(adaptive, named):
    """One alone stands for a tuple of one; the same attack with other options is another."""
    told = type("Told", (Half,), {"adaptive": adaptive})()
    assert len(attackers(told)) == named
    if named:
        contract.names_the_attack_that_it_is_shown_beside(told)


@pytest.mark.parametrize("adaptive", ["dlg", ("dlg",), ({},), {"name": ""}, {"masked": True}, {"name": 3}])
def test_what_names_no_attack_is_refused(adaptive):
    told = type("Told", (Half,), {"adaptive": adaptive})()
    with pytest.raises(PluginError, match="adaptive must be a leakage attack as its name and options, or"):
        attackers(told)


def test_no_check_is_without_a_twin_that_it_rejects():
    assert {check for check, _ in BROKEN} == set(CHECKS)


def test_examples_are_not_handed_to_a_defense_that_declares_to_look_at_none():
    """A guarantee for single examples counts on that."""
    with pytest.raises(PluginError, match="LooksInSecret declares looks_at_examples = False, and asked"):
        contract._changed(LooksInSecret(), contract._updates(contract._model()))
