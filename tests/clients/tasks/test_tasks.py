"""What each task is told, minimises and measures, against hand calculations."""

import pickle
from dataclasses import dataclass
from math import e, exp, log

import numpy as np
import pytest
import torch
from torch.nn import functional

from gauntlet.clients.data.base import Targets
from gauntlet.clients.tasks import task_of
from gauntlet.clients.tasks.fitted import fitted
from gauntlet.clients.tracing.example_step import ExampleStep
from gauntlet.clients.tracing.losses import ExampleForm
from gauntlet.clients.tracing.stack_step import StackedStep
from gauntlet.core.contracts import ClassScore, DataFacts
from gauntlet.core.errors import PluginError, ScenarioError

TEN = DataFacts("digits", (64,), (), 10)
TWO = DataFacts("waves", (4,), (2,), 0, 0, Targets(("up", "down"), 0.0))
TEXT = DataFacts("text", (3,), (3,), 4, 4)


def test_the_next_tokens_loss_is_the_mean_cross_entropy_of_the_positions():
    """By hand: logits (0, 0, 0, 0) cost ln 4; (ln 3, 0, 0, 0) give the first token 3/6 and the others 1/6."""
    task = fitted("language_model", {}, TEXT)
    outputs = torch.zeros(1, 3, 4)
    outputs[0, 1, 0] = outputs[0, 2, 0] = log(3)
    labels = torch.tensor([[2, 0, 1]])

    (loss,) = task.task.loss("cross_entropy", outputs, labels).tolist()

    assert loss == pytest.approx((log(4) + log(2) + log(6)) / 3)
    assert task.outputs == (3, 4)
    assert task.num_outputs == 4


def test_perplexity_is_e_to_the_mean_loss_and_accuracy_counts_positions():
    """A model that knows nothing of V = 4 tokens has perplexity 4; 2 of 6 tokens are right."""
    task = fitted("language_model", {}, TEXT)
    answers = torch.tensor([[0, 1, 2], [3, 3, 3]])
    labels = torch.tensor([[0, 0, 2], [0, 1, 2]])

    found = task.measure(answers, labels, log(4))

    assert found.metrics["perplexity"] == pytest.approx(4)
    assert found.accuracy == pytest.approx(2 / 6)
    assert task.measure(answers, labels, 1.0).metrics["perplexity"] == pytest.approx(e)
    assert task.measure(answers, labels, 1e9).metrics["perplexity"] == pytest.approx(exp(700))


def test_a_batch_of_sequences_is_scored_as_torch_scores_all_its_positions():
    """torch's cross-entropy over all positions of all sequences, whose lengths are equal."""
    task = fitted("language_model", {}, TEXT)
    stream = torch.Generator().manual_seed(0)
    outputs = torch.randn(5, 3, 4, generator=stream)
    labels = torch.randint(0, 4, (5, 3), generator=stream)
    wanted = functional.cross_entropy(outputs.reshape(15, 4), labels.reshape(15))

    form = task.form()
    target = form.targets(labels, torch.full((5,), 1 / 5), 4)
    terms, factors = form.parts(outputs, target)

    assert float(form.mean(outputs, labels)) == pytest.approx(float(wanted))
    assert float((terms * factors).sum()) == pytest.approx(float(wanted), rel=1e-6)
    assert torch.equal(task.task.answer(outputs), outputs.argmax(dim=-1))


def differentiated(step, form, model, x, y):
    """Return the gradients of a stack of one client, and autograd's own."""
    params = [p.detach()[None] for p in model.parameters()]
    with torch.no_grad():
        found, _ = step(params, x[None], form.targets(y, torch.full((len(y),), 1 / len(y)), 4)[None])
    wanted = torch.autograd.grad(form.mean(model(x), y), list(model.parameters()))
    return found, wanted


def test_a_loss_that_writes_over_what_was_there_is_differentiated_right():
    """torch takes binary cross-entropy apart into steps in place; of a stack, and example by example."""
    form = ExampleForm(Thresholds(), "", (), True)
    stream = torch.Generator().manual_seed(0)
    model, x = torch.nn.Sequential(torch.nn.Linear(3, 4)), torch.randn(5, 3, generator=stream)
    y = torch.randint(0, 5, (5,), generator=stream)
    names = [name for name, _ in model.named_parameters()]

    stacked, wanted = differentiated(StackedStep(model, names, form), form, model, x, y)
    single, _ = differentiated(ExampleStep(model, names, form), form, model, x, y)

    for one, each, w in zip(stacked, single, wanted, strict=True):
        written = torch.bmm(*one) if isinstance(one, tuple | list) else one
        summed = torch.zeros_like(w)[None]
        each.add_to(summed, torch.ones(1, 5))
        assert torch.allclose(written[0], w, atol=1e-6)
        assert torch.allclose(summed[0], w, atol=1e-6)


@dataclass(frozen=True)
class Thresholds:
    """A sum of binary cross-entropies, as an ordinal regression has it."""

    def loss(self, name, outputs, labels):
        above = (labels[:, None] > torch.arange(4)).float()
        return functional.binary_cross_entropy_with_logits(outputs, above, reduction="none").sum(dim=1)


def test_a_classification_counts_every_class():
    """By hand: labels 0 0 1, answers 0 1 1."""
    task = fitted("classification", {}, DataFacts("three", (2,), (), 2))
    found = task.measure(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), 0.5)

    assert found.accuracy == pytest.approx(2 / 3)
    assert found.classes == (ClassScore(2, 1, 1), ClassScore(1, 2, 1))


def test_a_regression_is_off_by_root_mean_squares_output_by_output():
    """By hand: off by 3 and 4 in the first output, by 0 in the second, where -1 counts as the least, 0."""
    task = fitted("regression", {}, TWO)
    answers, labels = torch.tensor([[3.0, -1.0], [5.0, 2.0]]), torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    first, second = task.measure(answers, labels, 0.0).outputs

    assert (first.output, first.rmse, first.mae) == ("up", pytest.approx((25 / 2) ** 0.5), pytest.approx(3.5))
    assert (second.output, second.rmse, second.mae) == ("down", 0, 0)


@pytest.mark.parametrize(
    ("name", "facts", "words"),
    [
        ("classification", TWO, "an example must have one class, and waves has real-valued targets"),
        ("classification", TEXT, r"text has labels of shape \[3\]"),
        ("regression", TEN, "must be real-valued targets, and digits has labels"),
        ("language_model", TEN, "digits has inputs .* of no tokens and labels"),
        ("language_model", DataFacts("text", (3,), (3,), 4, 5), "sequences of tokens"),
    ],
)
def test_a_task_says_what_it_cannot_be_learnt_from(name, facts, words):
    with pytest.raises(ScenarioError, match=words):
        fitted(name, {}, facts)


def test_data_name_their_task_and_whoever_runs_them_may_name_another():
    class Labelled:
        name, input_shape, num_classes = "these", (2,), 3

    class Numbers:
        name, input_shape, targets = "those", (2,), Targets(("y",))

    assert task_of(Labelled()).name == "classification"
    assert task_of(Numbers()).name == "regression"
    with pytest.raises(ScenarioError, match="task 'regression' does not go with these: the labels must be"):
        task_of(Labelled(), "regression")
    with pytest.raises(PluginError, match="unknown task 'clasification'; did you mean 'classification'"):
        task_of(Labelled(), "clasification")


def test_a_loss_that_a_task_has_not_is_refused():
    with pytest.raises(ScenarioError, match="'mse' does not go with labels; allowed here: auto, cross_entr"):
        fitted("classification", {}, TEN).form("mse")


def test_a_task_without_a_loss_or_with_measures_that_it_does_not_declare_is_refused(tmp_path):
    (tmp_path / "mine.py").write_text(MUTE)
    task = fitted(f"{tmp_path}/mine.py:Mute", {}, TEN)

    with pytest.raises(PluginError, match=r"mine.py:Mute' declares no losses: at least one name is needed"):
        task.form()
    with pytest.raises(PluginError, match=r"the metrics that it declares \(none\), got error"):
        task.measure(torch.zeros(2), torch.zeros(2), 1.0)


MUTE = """
from dataclasses import dataclass
from gauntlet.core.contracts import Measured

@dataclass(frozen=True)
class Mute:
    def outputs(self, facts): return (3,)
    def loss(self, name, outputs, labels): return outputs.sum(dim=1)
    def answer(self, outputs): return outputs
    def measure(self, answers, labels, loss, facts): return Measured(metrics={"error": 1.0})
"""


def test_a_task_goes_to_another_process_by_its_name():
    task = fitted("language_model", {}, TEXT)
    again = pickle.loads(pickle.dumps(task))

    assert (again.name, again.facts, again.outputs) == (task.name, task.facts, task.outputs)
    assert again.form().key == task.form().key


def test_room_for_answers_has_their_shape_and_type():
    assert fitted("language_model", {}, TEXT).blank_answers(7).shape == (7, 3)
    assert fitted("classification", {}, TEN).blank_answers(7).numpy().dtype == np.int64
    assert fitted("regression", {}, TWO).blank_answers(7).shape == (7, 2)
