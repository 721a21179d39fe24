"""FedSkel. Oracles: FedAvg, dense gradients of masked outputs by autograd, and hand calculations."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.algorithms.fedskel import FedSkel, skeleton
from gauntlet.clients.algorithms.parts.sliced import sliced
from gauntlet.clients.codecs.zero_rows import ZeroRows
from gauntlet.clients.data.synthetic import SyntheticPopulation
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.core.contracts import CodecStreams, LocalTraining
from gauntlet.core.layout import Layout
from gauntlet.core.updates import Updates
from gauntlet.privacy.no_privacy import NoPrivacy

DATA = SyntheticPopulation(num_features=5, num_classes=3, examples_per_client=12).populate(4, 0)
HOW = LocalTraining(local_epochs=2, batch_size=5, lr=0.2)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 10), nn.ReLU(), nn.Linear(10, 10), nn.Tanh(), nn.Linear(10, 3))


LAYOUT = Layout.of(net())
PARAMS = LAYOUT.flatten(dict(net().named_parameters()))


def trained(rule, round_=0, memory=None, params=PARAMS):
    """Return messages [2, M] and memory [2, S] of clients 1 and 2 of four."""
    kernel = BlockKernel(DATA, net(), rule, HOW, NoPrivacy(), (), 7)
    memory = torch.zeros(2, kernel.exchange.memory.num_parameters) if memory is None else memory
    found = kernel.train(Broadcast(round_, params, torch.zeros(0), memory=memory), np.array([1, 2]))
    return found.updates.vectors, found.memory


def test_with_all_channels_kept_it_is_fedavg_to_the_last_bit():
    dense, _ = trained(FedAvg(), 1)
    everything = (torch.zeros(2, len(PARAMS)), torch.ones(2, len(PARAMS)))
    sent, _ = trained(FedSkel(), 1, torch.cat(everything, dim=1))
    assert torch.equal(sent, torch.cat([dense, torch.ones_like(dense)], dim=1))


def test_rows_outside_of_the_skeleton_stay_the_clients_own_and_are_not_sent():
    algorithm = FedSkel(keep_ratios=(0.3,))
    first, memory = trained(algorithm)
    assert bool((first[:, len(PARAMS) :] == 1).all())  # SetSkel sends everything
    own, kept = memory.view(2, 2, -1).unbind(1)
    torch.testing.assert_close(own, PARAMS + first[:, : len(PARAMS)])
    views = LAYOUT.views(kept)
    assert [int(views[name][0, :, 0].sum()) for name in ("0.weight", "2.weight", "4.weight")] == [3, 3, 3]
    assert torch.equal(views["0.weight"][..., 0], views["0.bias"])

    sent, after = trained(algorithm, 1, memory, PARAMS + 0.1)
    update, mask = sent.view(2, 2, -1).unbind(1)
    assert torch.equal(mask, kept)
    assert bool((update[kept == 0] == 0).all())
    assert bool((update[kept == 1] != 0).float().mean() > 0.8)  # a dead unit moves nothing
    assert torch.equal(after.view(2, 2, -1)[:, 0][kept == 0], own[kept == 0])
    moved = (PARAMS + 0.1 + update)[kept == 1]
    torch.testing.assert_close(after.view(2, 2, -1)[:, 0][kept == 1], moved)


def test_one_round_in_so_many_measures_and_sends_everything():
    """A cycle of one SetSkel and three UpdateSkel rounds."""
    algorithm = FedSkel(keep_ratios=(0.3,), update_rounds=3)
    _, memory = trained(algorithm)
    whole = [bool((trained(algorithm, t, memory)[0][:, len(PARAMS) :] == 1).all()) for t in range(9)]
    assert whole == [t % 4 == 0 for t in range(9)]


def test_a_skeleton_step_is_a_dense_step_whose_outputs_have_no_gradient_elsewhere():
    """By autograd on a layer each, outputs of cut channels detached: gradients of inputs, weights, biases."""
    torch.manual_seed(1)
    kept = torch.tensor([0, 3, 4])
    layers = (
        (nn.Linear(4, 6).double(), torch.rand(7, 2, 4), (-1,)),
        (nn.Conv2d(4, 6, 3, stride=2, padding=1).double(), torch.rand(2, 4, 7, 5), (-1, 1, 1)),
        (nn.Conv2d(4, 6, 3, bias=False).double(), torch.rand(2, 4, 7, 5), (-1, 1, 1)),
    )
    for layer, x, shape in layers:
        x = x.double().requires_grad_()
        model = nn.Sequential(layer)
        with sliced(model, {"0": kept}, "fedskel"):
            y = model(x)
        weigh = torch.rand_like(y)
        found = torch.autograd.grad((y * weigh).sum(), [x, *layer.parameters()])
        there = torch.zeros(6).double().index_fill(0, kept, 1.0).view(shape)
        expected = torch.autograd.grad((model(x) * weigh * there).sum(), [x, *layer.parameters()])
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)
        assert "forward" not in vars(layer)


def test_a_skeleton_leaves_out_whole_channels_whatever_floats_make_of_their_number():
    """(1 - .9) 10 is .99999 in floating point, and one channel all the same."""
    assert int(skeleton(torch.arange(10.0), 0.9).sum()) == 9
    assert skeleton(torch.tensor([3.0, 1.0, 2.0, 5.0]), 0.5).tolist() == [1, 0, 0, 1]
    assert skeleton(torch.ones(4), 0.01).tolist() == [0, 0, 0, 1]


def test_what_is_measured_is_how_large_outputs_are_before_the_activation():
    """One step of all examples, by hand: sums of |W x + b|, and of the outputs' gradients."""
    x, y = DATA.client(1)
    model = net()
    out = F.linear(x, model[0].weight, model[0].bias)
    loss = F.cross_entropy(model[1:](out), y)
    sizes = {
        "activation": out.abs().sum(0),
        "gradient": torch.autograd.grad(loss, out)[0].abs().sum(0),
    }
    for criterion, size in sizes.items():
        kernel = BlockKernel(
            DATA,
            net(),
            FedSkel(keep_ratios=(0.5,), criterion=criterion),
            LocalTraining(batch_size=0),
            NoPrivacy(),
            (),
            7,
        )
        sent = Broadcast(0, PARAMS, torch.zeros(0), memory=torch.zeros(1, 2 * len(PARAMS)))
        memory = kernel.train(sent, np.array([1])).memory[0, len(PARAMS) :]
        assert torch.equal(LAYOUT.views(memory)["0.bias"], skeleton(size.detach(), 0.5)), criterion


def test_the_server_divides_by_who_sent_a_row():
    """Of two clients the first sent rows 0 and 1, the second 1 alone: (3, 4, old) from means of messages."""
    messages = torch.tensor([[3.0, 2, 0, 1, 1, 0], [0.0, 6, 0, 0, 1, 0]])
    params, _ = FedSkel().step(torch.zeros(3), messages.mean(dim=0), None, 0.5)
    assert params.tolist() == [3, 4, 0]


def test_bytes_are_those_of_the_kept_rows():
    """A cycle of one dense and k = 3 rounds at r = .3: of weights and biases (1 + 3 * .3) / 4 = .475."""
    algorithm, streams = FedSkel(keep_ratios=(0.3,)), CodecStreams(0, 0)
    layout = algorithm.up(LAYOUT)

    def bytes_of(sent):
        updates = Updates(sent[:1], torch.tensor([1]), torch.ones(1, dtype=torch.int64))
        records = ZeroRows().encode(updates, layout, None, streams)[0][0]
        return [len(record.body) for record in records[:4]]

    first, memory = trained(algorithm)
    second, _ = trained(algorithm, 1, memory)
    assert bytes_of(first) == [2 + 4 * 50, 2 + 4 * 10, 2 + 4 * 100, 2 + 4 * 10]
    dead = int((second[0].view(2, -1)[0][LAYOUT.parameters[1].start :][:10] == 0).sum()) - 7
    assert dead == 0
    assert bytes_of(second) == [2 + 4 * 15, 2 + 4 * 3, 2 + 4 * 30, 2 + 4 * 3]


def test_clients_of_equal_shares_have_their_ratios():
    algorithm = FedSkel(keep_ratios=(1.0, 0.5))
    assert [algorithm.ratio(client, 5) for client in range(5)] == [1, 1, 1, 0.5, 0.5]


def test_unmasked_clients_send_their_old_rows_too():
    algorithm = FedSkel(keep_ratios=(0.3,), masked=False)
    _, memory = trained(algorithm)
    sent, after = trained(algorithm, 1, memory, PARAMS + 0.1)
    torch.testing.assert_close(PARAMS + 0.1 + sent, after.view(2, 2, -1)[:, 0])
    assert torch.equal(algorithm.step(PARAMS, sent[0], None, 0.5)[0], PARAMS + sent[0])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"keep_ratios": ()}, "at least one, got []"),
        ({"keep_ratios": (0.0,)}, "keep_ratios must be above 0 and at most 1"),
        ({"update_rounds": 0}, "update_rounds must be at least 1, got 0"),
        ({"criterion": "l2"}, "criterion must be one of activation, gradient, random; got 'l2'"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError) as caught:
        FedSkel(**options)
    assert complaint in str(caught.value)


def test_layers_that_cannot_be_cut_are_refused():
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2))
    refusal = pytest.raises(ValueError, match=r"layer '0' is a Conv2d; hidden layers must be nn.Linear, or")
    with refusal, sliced(model, {"0": torch.arange(2)}, "fedskel"):
        pass
