"""No example gets through the bound: norms beside float64, and clipped sums with and without each example."""

import math

import pytest
import torch
from torch import nn

from gauntlet.clients.models.gru import Gru
from gauntlet.clients.models.lstm import Lstm
from gauntlet.clients.tracing.example_gradients import Outer, Partly, Positions, Turned, Written, squares_of
from gauntlet.clients.tracing.example_step import ExampleStep
from gauntlet.core.seeds import generator, seeded_torch
from gauntlet.privacy.dp_sgd import DpSgd

CLASSES, BATCH, TOO_LONG = 5, 6, 1.8e19
SCALES = [10.0**n for n in (-30, -22, -12, -3, 0, 4, 8, 15, 18, 22, 30)]


def clipped(gradients, shapes, clip_norm=1.0, clipping="fixed"):
    """Return the sum of the clipped gradients, as a private step makes it, float64, and the squared norms."""
    gradients, squares = squares_of(gradients)
    sizes = [math.prod(shape) for shape in shapes]
    weights = DpSgd(clip_norm, noise_multiplier=0.0, clipping=clipping).weigh(squares, sizes).float()
    limits = torch.finfo(torch.float32)
    weights = weights.masked_fill(~((weights >= limits.tiny) & (weights <= limits.max)), 0.0)
    homes = [torch.zeros(1, *shape) for shape in shapes]
    for number, (gradient, home) in enumerate(zip(gradients, homes, strict=True)):
        gradient.add_to(home, weights[min(number, len(weights) - 1)])
    return torch.cat([home.flatten() for home in homes]).double(), squares


def factors(kind: str, shape: str, seed: int, back_scale: float, into_scale: float):
    """Return factors [1, B, C, T] and [1, B, T, D] whose products nearly cancel over positions, or not."""
    C, T, D = {"Positions": (40, 8, 60), "Written": (4, 9, 5), "Outer": (30, 1, 1500)}[kind]
    stream = torch.Generator().manual_seed(seed)
    back = torch.randn(1, BATCH, C, T, generator=stream)
    into = torch.rand(1, BATCH, T, D, generator=stream)
    if shape == "cancelling":
        into = into[:, :, :1] + 1e-4 * into
        back = back - back.mean(dim=3, keepdim=True) if T > 1 else back
    elif shape == "equal":
        back, into = torch.full_like(back, 0.37), torch.full_like(into, 0.83)
    return back * back_scale, into * into_scale


def held(kind: str, back: torch.Tensor, into: torch.Tensor):
    if kind == "Positions":
        return Positions(back, into)
    return Outer(back.squeeze(3), into.squeeze(2)) if kind == "Outer" else Written((back @ into).flatten(2))


def shape_of(gradient) -> tuple[int, ...]:
    if isinstance(gradient, Written):
        return tuple(gradient.rows.shape[2:])
    return gradient.back.shape[2], gradient.into.shape[-1]


def exactly(gradient) -> torch.Tensor:
    """Return the rows in float64.  # [B, S]"""
    if isinstance(gradient, Written):
        return gradient.rows[0].double()
    back, into = (f[0].double() for f in (gradient.back, gradient.into))
    if isinstance(gradient, Outer):
        return (back.unsqueeze(2) * into.unsqueeze(1)).flatten(1)
    return (back @ into).flatten(1)


@pytest.mark.parametrize("into_scale", SCALES)
@pytest.mark.parametrize("back_scale", [1e-30, 1e-12, 1.0, 1e4, 1e12])
@pytest.mark.parametrize("shape", ["plain", "cancelling", "equal"])
@pytest.mark.parametrize("kind", ["Outer", "Positions", "Written"])
def test_norms_are_those_of_float64_and_no_example_moves_the_sum_by_more(kind, shape, back_scale, into_scale):
    """Oracle: the factors multiplied in float64. One longer than 1.8e19 counts as zero; C(1 + 1e-5)."""
    gradient = held(kind, *factors(kind, shape, 3, back_scale, into_scale))
    rows = exactly(gradient)
    total, squares = clipped([gradient], [shape_of(gradient)])
    norms, found = rows.norm(dim=1), squares[0, 0].sqrt()
    for norm, ours in zip(norms.tolist(), found.tolist(), strict=True):
        if norm < TOO_LONG * 0.9:
            assert norm * (1 - 5e-6) - 1e-37 <= ours <= norm * 1.005 + 1e-37
        elif norm > TOO_LONG * 1.1 or not math.isfinite(norm):
            assert ours == 0
    for n in range(BATCH):
        left_out = torch.zeros(1, BATCH, dtype=torch.bool)
        left_out[0, n] = True
        other, _ = clipped([gradient.without(left_out)], [shape_of(gradient)])
        assert float((total - other).norm()) <= 1 + 1e-5


@pytest.mark.parametrize("clipping", ["autov", "autos", "psac", "per_layer"])
@pytest.mark.parametrize("into_scale", SCALES)
@pytest.mark.parametrize("kind", ["Outer", "Positions", "Written"])
def test_other_clippings_of_an_example_keep_the_bound_too(kind, into_scale, clipping):
    gradient = held(kind, *factors(kind, "cancelling", 5, 1.0, into_scale))
    total, _ = clipped([gradient], [shape_of(gradient)], 0.3, clipping)
    assert bool(total.isfinite().all())
    for n in range(BATCH):
        left_out = torch.zeros(1, BATCH, dtype=torch.bool)
        left_out[0, n] = True
        other, _ = clipped([gradient.without(left_out)], [shape_of(gradient)], 0.3, clipping)
        assert float((total - other).norm()) <= 0.3 * (1 + 1e-5)


def test_an_example_that_cancels_is_written_down_and_the_others_are_not():
    """Its neighbours keep their bits, whatever it is."""
    back, into = factors("Positions", "plain", 1, 1.0, 1.0)
    odd_back, odd_into = factors("Positions", "cancelling", 1, 1.0, 1e4)
    mixed = Positions(back.clone(), into.clone())
    mixed.back[0, 2], mixed.into[0, 2] = odd_back[0, 2], odd_into[0, 2]
    (found,), squares = squares_of([mixed])
    _, whole = squares_of([Positions(back, into)])
    others = [n for n in range(BATCH) if n != 2]

    assert isinstance(found, Partly)
    assert [p.tolist() for p in found.places] == [[0], [2]]
    assert torch.equal(squares[:, :, others], whole[:, :, others])
    assert torch.allclose(found.squares(), squares[0])


def test_a_turned_weight_takes_its_written_rows_along():
    """Oracle: the same factors without turning."""
    back, into = factors("Positions", "cancelling", 2, 1.0, 1e4)
    (inner,), squares = squares_of([Positions(back, into)])
    (turned,), same = squares_of([Turned(Positions(back, into), (3, 4, 5))])
    weights = torch.rand(1, BATCH, generator=torch.Generator().manual_seed(0))
    plain, permuted = torch.zeros(1, 40, 60), torch.zeros(1, 40, 5, 3, 4)
    inner.add_to(plain, weights)
    turned.add_to(permuted, weights)
    assert torch.equal(squares, same)
    assert torch.equal(plain.view(1, 40, 3, 4, 5).permute(0, 1, 4, 2, 3), permuted)


@pytest.mark.parametrize("size", [1024, 1025, 50_000])
def test_rounding_takes_next_to_nothing_of_a_long_row_of_equal_numbers(size):
    """Summed in float32 one after another, 50,000 equal squares lost 3e-5 of the norm, a million 7e-4."""
    rows = torch.rand(1, 16, 1, generator=torch.Generator().manual_seed(0)).expand(1, 16, size).contiguous()
    exact = rows.double().norm(dim=2)
    assert torch.allclose(Written(rows).squares().sqrt(), exact, rtol=4e-6, atol=0)


class Embedded(nn.Module):
    """Positions of an embedding, looked up by the sign of the input, and the input itself."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(2, 6), nn.Linear(12, CLASSES)

    def forward(self, x):
        return self.out(torch.cat([self.table((x > 0).long()).mean(dim=1), x], dim=1))


def sequential(*layers):
    return lambda: nn.Sequential(*layers)


MODELS = {
    "linear": ((6,), lambda: nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, CLASSES))),
    "linear over positions": (
        (8, 6),
        lambda: nn.Sequential(nn.Linear(6, 50), nn.Tanh(), nn.Flatten(), nn.Linear(400, CLASSES)),
    ),
    "layer norm over positions": (
        (4, 6),
        lambda: nn.Sequential(nn.Linear(6, 30), nn.LayerNorm(30), nn.Flatten(), nn.Linear(120, CLASSES)),
    ),
    "convolution": (
        (1, 9, 9),
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.LazyLinear(CLASSES)),
    ),
    "wide convolution": (
        (3, 4, 4),
        lambda: nn.Sequential(nn.Conv2d(3, 80, 3), nn.Flatten(), nn.LazyLinear(CLASSES)),
    ),
    "group norm": (
        (3, 4, 4),
        lambda: nn.Sequential(nn.Conv2d(3, 80, 3), nn.GroupNorm(4, 80), nn.Flatten(), nn.LazyLinear(CLASSES)),
    ),
    "embedding": ((6,), Embedded),
    "gru": ((4, 3), lambda: Gru(hidden=5).build((4, 3), CLASSES)),
    "lstm": ((4, 3), lambda: Lstm(hidden=5).build((4, 3), CLASSES)),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "nearly equal"])
@pytest.mark.parametrize("name", MODELS)
def test_no_example_of_any_layer_moves_a_step_by_more_than_the_bound(name, kind):
    """Inputs of 1e-30 to 1e30, spread or nearly equal over positions: sums with and without each, C = 1."""
    shape, make = MODELS[name]
    with seeded_torch(generator(0, "model")):
        model = make()
        model(torch.zeros(2, *shape))
        x = torch.randn(1, BATCH, *shape)
        labels = torch.randint(0, CLASSES, (1, BATCH))
        params = [p.detach()[None] + 0.1 * torch.randn(1, *p.shape) for p in model.parameters()]
    x = 1 + 1e-4 * x if kind == "nearly equal" else x
    shapes = [p[0].shape for p in params]
    present = torch.zeros(1, BATCH, CLASSES).scatter_(2, labels[..., None], -1.0)
    step = ExampleStep(model, [name for name, _ in model.named_parameters()])
    for scale in SCALES:
        with torch.no_grad():
            total, squares = clipped(step(params, x * scale, present)[0], shapes)
        assert bool(squares.isfinite().all())
        assert bool(total.isfinite().all())
        for n in range(BATCH):
            targets = present.clone()
            targets[0, n] = 0
            with torch.no_grad():
                other, _ = clipped(step(params, x * scale, targets)[0], shapes)
            assert float((total - other).norm()) <= 1 + 1e-5, (scale, n)
