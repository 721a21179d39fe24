"""Recurrent layers beside torch's own, and by hand."""

import pytest
import torch
from torch import nn

from gauntlet.clients.models import MODELS
from gauntlet.clients.models.bigru import BiGru
from gauntlet.clients.models.bilstm import BiLstm
from gauntlet.clients.models.gru import Gru
from gauntlet.clients.models.linear import Linear
from gauntlet.clients.models.lstm import Lstm
from gauntlet.clients.placement.stackable import can_stack

WINDOW = (6, 10)


def torchs(kind: type[nn.RNNBase], model: nn.Module) -> nn.RNNBase:
    """Return torch's layer with the weights of ours; its second bias is 0 where ours has one."""
    hidden, directions = model.layers[0].hidden, len(model.layers)
    theirs = kind(WINDOW[1], hidden, batch_first=True, bidirectional=directions == 2)
    named = dict(theirs.named_parameters())
    with torch.no_grad():
        for layer, suffix in zip(model.layers, ("", "_reverse"), strict=False):
            named[f"weight_ih_l0{suffix}"].copy_(layer.weight_ih)
            named[f"weight_hh_l0{suffix}"].copy_(layer.weight_hh)
            named[f"bias_ih_l0{suffix}"].copy_(layer.bias_ih)
            named[f"bias_hh_l0{suffix}"].copy_(getattr(layer, "bias_hh", torch.zeros_like(layer.bias_ih)))
    return theirs


@pytest.mark.parametrize(
    ("kind", "factory"), [(nn.LSTM, Lstm), (nn.GRU, Gru), (nn.LSTM, BiLstm), (nn.GRU, BiGru)]
)
def test_with_tanh_the_layers_are_torchs_own(kind, factory):
    """Oracle: torch.nn.LSTM and torch.nn.GRU, outputs and gradients."""
    torch.manual_seed(0)
    model = factory(hidden=7, activation="tanh").build(WINDOW, 6)
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -0.8, 0.8)
    theirs, x = torchs(kind, model), torch.randn(4, *WINDOW)
    _, last = theirs(x)
    states = (last[0] if kind is nn.LSTM else last).transpose(0, 1).flatten(1)  # [B, directions * hidden]
    expected = model.head(states)

    assert torch.allclose(model(x), expected, atol=1e-5)
    ours = torch.autograd.grad(model(x).square().sum(), [m.weight_hh for m in model.layers])
    other = torch.autograd.grad(
        expected.square().sum(), [p for n, p in theirs.named_parameters() if "weight_hh" in n]
    )
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(ours, other, strict=True))


def test_a_relu_lstm_by_hand():
    """One unit, gates 1/2 (weights 0), candidate x: c = 1/2 * 2 = 1; then c = 1/2 * 1 + 1/2 * 4 = 2.5."""
    model = Lstm(hidden=1).build((2, 1), 1)
    layer = model.layers[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        layer.weight_ih[2] = 1.0
        model.head.weight.fill_(1.0)

    assert model(torch.tensor([[[2.0], [4.0]]])).item() == pytest.approx(0.5 * 2.5)


def test_a_relu_gru_by_hand():
    """One unit, gates 1/2, candidate x: h = 1/2 * 2 = 1, then 1/2 * 1 + 1/2 * 4 = 2.5; with -9, 1/2."""
    model = Gru(hidden=1).build((2, 1), 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.layers[0].weight_ih[2] = 1.0
        model.head.weight.fill_(1.0)

    assert model(torch.tensor([[[2.0], [4.0]], [[2.0], [-9.0]]])).flatten().tolist() == [2.5, 0.5]


@pytest.mark.parametrize(
    ("factory", "parameters"), [(Lstm, 19_590), (Gru, 14_982), (BiLstm, 39_174), (BiGru, 29_958)]
)
def test_models_have_as_many_parameters_as_keras_counts(factory, parameters):
    """LSTM 4 h (f + h + 1), GRU 3 h (f + h + 2), each direction; head 6 (h + 1), or 6 (2 h + 1)."""
    model = factory().build(WINDOW, 6)

    assert sum(p.numel() for p in model.parameters()) == parameters


def test_weights_begin_as_in_keras():
    layer = Lstm(hidden=8).build(WINDOW, 6).layers[0]

    assert layer.bias_ih.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16
    assert torch.allclose(layer.weight_hh.t() @ layer.weight_hh, torch.eye(8), atol=1e-5)
    assert layer.weight_ih.abs().max() <= (6 / (32 + 10)) ** 0.5


@pytest.mark.parametrize("name", ["lstm", "gru", "bilstm", "bigru"])
def test_clients_with_recurrent_models_can_be_stacked(name):
    assert can_stack(MODELS.build(name).build(WINDOW, 6).train(), WINDOW) is None


@pytest.mark.parametrize("factory", [Lstm, BiGru])
def test_options_out_of_range_are_refused(factory):
    with pytest.raises(ValueError, match="hidden must be at least 1, got 0"):
        factory(hidden=0)
    with pytest.raises(ValueError, match="activation must be one of relu, tanh; got 'gelu'"):
        factory(activation="gelu")


def test_pictures_are_no_windows():
    with pytest.raises(ValueError, match=r"needs windows \[steps, features\]"):
        Gru().build((1, 28, 28), 10)


def test_a_linear_model_may_begin_at_zero():
    model = Linear(zero_init=True).build(WINDOW, 6)

    assert model(torch.ones(2, *WINDOW)).tolist() == [[0.0] * 6] * 2
    assert Linear().build(WINDOW, 6)[1].weight.abs().max() > 0
