"""A model's answers to the test set are those of one plain forward pass, however the set is cut."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.data.base import Dataset, inputs
from gauntlet.clients.data.federate import federate
from gauntlet.clients.data.iid import Iid
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.pools.serial import SerialPool
from gauntlet.clients.scoring import scorer as scoring
from gauntlet.clients.scoring.scorer import ScoredExamples, Scorer
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout


@dataclass(frozen=True)
class Pictures:
    """Random pixels; so many of them in the test set."""

    tested: int

    def load(self) -> Dataset:
        stream = np.random.default_rng(0)
        x = stream.integers(0, 256, (self.tested, 2, 12, 12), dtype=np.uint8)
        y = stream.integers(0, 10, self.tested)
        return Dataset("pictures", x[:8], y[:8], x, y, num_classes=10)


def pictures(tested):
    return federate(Pictures(tested), Iid(), 1, seed=0)


def convolving():
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 2), nn.ReLU()),
        *(
            nn.MaxPool2d(2, stride=1),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(72, 32),
            nn.ReLU(),
            nn.Linear(32, 10),
        ),
    )


def dense():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(288, 32), nn.ReLU(), nn.Linear(32, 10))


def broadcast(model):
    layout = Layout.of(model)
    return Broadcast(
        3,
        layout.flatten(dict(model.named_parameters())),
        layout.flatten_buffers(dict(model.named_buffers())),
    )


def answers(model, examples):
    sent = broadcast(model)
    for value in model.parameters():  # what a model holds itself does not matter
        value.data.fill_(7.0)
    return SerialPool(None, scorer=Scorer(model, examples)).score(sent)


@pytest.mark.parametrize("make", [convolving, dense])
@pytest.mark.parametrize("tested", [1, 3, 101, 999, 1001, 2345])
def test_answers_are_those_of_a_plain_forward_pass_of_a_thousand_at_a_time(make, tested):
    """To the last bit, as scores were counted before models were asked in smaller parts: oracle is torch."""
    data = pictures(tested)
    examples, _ = ScoredExamples.of(data)
    model = make().eval()
    x, y = data.test()
    with torch.no_grad():
        expected = [model(part) for part in x.split(1000)]
    losses = [
        float(nn.functional.cross_entropy(out.double(), labels, reduction="sum"))
        for out, labels in zip(expected, y.split(1000), strict=True)
    ]

    found = answers(model, examples)

    assert torch.equal(found.predicted, torch.cat(expected).argmax(dim=1))
    assert found.losses.tolist() == losses


@pytest.mark.parametrize("make", [convolving, dense])
def test_one_block_and_many_give_the_same_score(make, monkeypatch):
    """Predictions are equal one by one; of losses, sums of the same terms in another order."""
    examples, _ = ScoredExamples.of(pictures(777))
    whole = answers(make(), examples)
    monkeypatch.setattr(scoring, "BLOCK", 64)
    many = answers(make(), examples)

    assert (len(whole), len(many)) == (1, 13)
    assert torch.equal(many.predicted, whole.predicted)
    assert float(many.losses.sum()) == pytest.approx(float(whole.losses.sum()), rel=1e-6)


def test_blocks_may_be_done_in_any_order():
    examples, _ = ScoredExamples.of(pictures(2500))
    model = convolving()
    sent, scorer = broadcast(model), Scorer(model, examples)
    forth = SerialPool(None, scorer=scorer).score(sent)
    back = scoring.Answers(examples)
    for number in reversed(range(len(back))):
        for home, part in zip(
            back.homes(number), scorer.score(sent, np.array([number])).arrays(), strict=True
        ):
            home[...] = part

    assert torch.equal(back.predicted, forth.predicted)
    assert torch.equal(back.losses, forth.losses)


def test_the_next_model_is_asked_with_its_own_parameters():
    """A scorer keeps the last model: another broadcast of the same round is another model."""
    examples, _ = ScoredExamples.of(pictures(50))
    model = dense()
    first = broadcast(model)
    second = Broadcast(first.round, first.params * 2, first.buffers)
    pool = SerialPool(None, scorer=Scorer(model, examples))
    losses = [float(pool.score(sent).losses[0]) for sent in (first, second, first)]

    assert losses[0] != losses[1]
    assert losses[2] == losses[0]


def test_inputs_that_the_test_set_has_are_asked_once():
    """Of a goal's inputs those of the test set, and repeated ones, have the place of the first of them."""
    data = pictures(6)
    x, _ = data.test()
    new = x[2:4] + 0.5
    examples, places = ScoredExamples.of(data, [x[[4, 1, 1]], torch.cat([new, x[:1]]), new[1:], x[:0]])

    assert [of_set.tolist() for of_set in places] == [[4, 1, 1], [6, 7, 0], [7], []]
    assert torch.equal(torch.from_numpy(examples.more), new)
    assert [(rows.start, rows.stop) for rows in examples.cut] == [(0, 6), (6, 8)]
    assert torch.equal(examples.inputs(slice(0, 6)), inputs(data.test_x))
    assert torch.equal(examples.inputs(slice(6, 8)), new)


def test_what_is_asked_besides_the_test_set_is_answered_without_a_loss():
    data = pictures(30)
    more = torch.rand(1200, 2, 12, 12)
    examples, (places,) = ScoredExamples.of(data, [more])
    model = convolving().eval()
    with torch.no_grad():
        expected = torch.cat([model(part) for part in more.split(1000)]).argmax(dim=1)
    found = answers(model, examples)

    assert torch.equal(found.predicted[places], expected)
    assert found.losses[1:].tolist() == [0.0, 0.0]


class Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        raise ZeroDivisionError("nothing to divide by")


def test_a_model_that_raises_is_named_in_one_line():
    examples, _ = ScoredExamples.of(pictures(5))
    scorer = Scorer(Broken(), examples, name="my.py:Broken")
    expected = "model 'my.py:Broken' cannot be evaluated: ZeroDivisionError: nothing to divide by"
    with pytest.raises(PluginError, match=expected):
        scorer.score(broadcast(Broken()), np.array([0]))
