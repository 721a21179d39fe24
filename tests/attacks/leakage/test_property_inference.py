"""Oracles: published AUC near 1 for a property that moves gradients (Melis et al. 2019; not verified here),
0.5 for one drawn by lot that the model does not see.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage.parts.ranking import auc
from gauntlet.attacks.leakage.property_inference import PropertyInference
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge, Records
from gauntlet.core.observation import Observation
from gauntlet.core.seeds import generator, seeded_torch
from gauntlet.sims.inference_report import property_area

FEMALE, MALE = 45, 46  # of the inputs of ``adult``: 5 numbers, then indicators of the categories


class Without(nn.Module):
    """The inputs without some columns: what the model does not see."""

    def __init__(self, columns, total):
        super().__init__()
        self.kept = [i for i in range(total) if i not in columns]

    def forward(self, x):
        return x[:, self.kept]


def messages(x, y, others, column, hidden, size, count, warm=0):
    """Return one step's messages of clients that hold examples with the property alone, or without alone."""
    total, stream = x.shape[1], generator(0, "clients")
    with seeded_torch(generator(0, "weights")):
        model = nn.Sequential(
            Without(hidden, total), nn.Linear(total - len(hidden), 16), nn.ReLU(), nn.Linear(16, 2)
        )
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(warm):
        rows = torch.from_numpy(stream.integers(len(x), size=128))
        sgd.zero_grad()
        functional.cross_entropy(model(x[rows]), y[rows]).backward()
        sgd.step()
    pools = [np.nonzero((x[:, column] > 0.5).numpy() == kind)[0] for kind in (False, True)]
    knowledge = LeakageKnowledge(batch_size=size, auxiliary=others, loss="cross_entropy")
    layout, found = Layout.of(model), []
    for i in range(count):
        rows = torch.from_numpy(stream.choice(pools[i % 2], size, replace=False))
        own = list(model.parameters())
        gradients = torch.autograd.grad(functional.cross_entropy(model(x[rows]), y[rows]), own)
        update = -0.1 * torch.cat([g.flatten() for g in gradients])
        found.append(Observation(0, i, model, layout, b"", update, (total,), 2, (-5.0, 5.0), knowledge))
    return found


def area(attack, observations):
    scores = attack.infer(observations)[:, 0]
    return auc(scores[1::2], scores[::2])


@pytest.fixture
def people(real_data):
    data = real_data("adult")
    x, test_x = (torch.from_numpy(values).clone() for values in (data.x, data.test_x))
    y, test_y = torch.from_numpy(data.y), torch.from_numpy(data.test_y)
    rows = torch.from_numpy(generator(0, "auxiliary").permutation(len(test_y))[:1500])
    return x, y, test_x[rows], test_y[rows]


@pytest.mark.slow
@pytest.mark.parametrize("warm", [0, 100])
def test_the_sex_of_a_clients_people_is_told_from_its_update_though_no_input_says_it(people, warm):
    """Adult, 32 people a client: the task is income, and neither column of sex is among the inputs."""
    x, y, test_x, test_y = people
    seen = messages(x, y, Records(test_x, test_y), MALE, (FEMALE, MALE), 32, 30, warm)

    assert area(PropertyInference(MALE, batches=30), seen) > 0.95


@pytest.mark.slow
def test_a_property_drawn_by_lot_is_not_told(people):
    """Random labels: AUC 0.5, within three standard errors of 100 messages (0.058 each)."""
    x, y, test_x, test_y = people
    for values in (x, test_x):
        values[:, MALE] = torch.from_numpy(generator(1, "lot").integers(2, size=len(values))).float()
    seen = messages(x, y, Records(test_x, test_y), MALE, (MALE,), 32, 100)

    assert area(PropertyInference(MALE, batches=30), seen) == pytest.approx(0.5, abs=0.175)


def made_up(count=400):
    """Return rows of 6 normal values and one indicator, which moves the first value by 2."""
    stream = generator(0, "rows")
    x = torch.from_numpy(stream.standard_normal((count, 7))).float()
    x[:, 6] = torch.from_numpy(stream.integers(2, size=count)).float()
    x[:, 0] += 2 * x[:, 6]
    return x, (x[:, 1] > 0).long()


def test_what_moves_another_input_is_told():
    x, y = made_up()
    seen = messages(x, y, Records(x[:200], y[:200]), 6, (6,), 8, 12)

    assert area(PropertyInference(6, batches=20, trees=20), seen) > 0.9


def test_each_message_is_scored_alone_and_twice_alike():
    x, y = made_up()
    seen = messages(x, y, Records(x[:200], y[:200]), 6, (6,), 8, 3)
    attack = PropertyInference(6, batches=10, trees=10)

    together = attack.infer(seen)

    assert torch.equal(together, torch.cat([attack.infer([one]) for one in seen]))
    assert torch.equal(together, attack.infer(seen))


def test_records_of_one_kind_or_an_input_without_the_column_are_refused():
    x, y = made_up()
    (seen,) = messages(x, y, Records(x[:200], y[:200]), 6, (6,), 8, 1)
    alike = replace(seen, knowledge=replace(seen.knowledge, auxiliary=Records(x[:9] * 0, y[:9])))

    with pytest.raises(PluginError, match=r"of 9 auxiliary ones, 0 have a value above 0.5 in column 6"):
        PropertyInference(6).infer([alike])
    with pytest.raises(PluginError, match="column must be below 7, the values of an input; got 7"):
        PropertyInference(7).infer([seen])
    bare = replace(seen, knowledge=LeakageKnowledge(batch_size=8))
    with pytest.raises(PluginError, match=r"missing here: auxiliary .*auxiliary = 200 gives it"):
        PropertyInference(6).infer([bare])


def test_the_area_over_messages_goes_by_what_most_examples_have():
    """By hand: shares .9 and .6 count as with, .5 and 0 as without; 3 of 4 pairs are in order."""
    reports = [
        {"scores": [s], "property_share": share}
        for s, share in ((3.0, 0.9), (1.0, 0.6), (2.0, 0.5), (0.0, 0.0))
    ]

    assert property_area(reports) == 0.75
    assert property_area(reports[:2]) is None
    assert property_area([*reports, {"scores": [0.0], "property_share": None}]) is None
