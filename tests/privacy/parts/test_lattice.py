import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gauntlet.core.seeds import generator
from gauntlet.privacy.parts.lattice import (
    Lattice,
    hadamard,
    random_signs,
    rotated,
    rounded,
    secure_sum,
    unrotated,
)

PLAIN = Lattice(
    dimension=300,
    clip_norm=1.0,
    noise_std=0.1,
    shares=10,
    bits=16,
    beta=math.exp(-0.5),
    k_stddevs=4.0,
    rotate=True,
)


def unit_rows(count: int, size: int = 300) -> torch.Tensor:
    rows = torch.from_numpy(generator(3, "rows").standard_normal((count, size)))
    return (rows / rows.norm(dim=1, keepdim=True) * (1 - 1e-6)).float()


def streams(client_id: int) -> np.random.Generator:
    return generator(0, "share", client_id)


def no_noise(stream, size):
    return np.zeros(size, dtype=np.int64)


def total_of(rows: torch.Tensor, lattice: Lattice, draw=no_noise, honest=None) -> torch.Tensor:
    everyone = torch.ones(len(rows), dtype=torch.bool) if honest is None else honest
    signs = random_signs(lattice, generator(0, "rotation"))
    return secure_sum(rows, torch.arange(len(rows)), everyone, lattice, draw, signs, streams)


def test_the_hadamard_matrix_of_order_four_is_the_known_one():
    """Sylvester's construction, by hand."""
    expected = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    assert torch.allclose(hadamard(torch.eye(4, dtype=torch.float64)), expected.double())


@pytest.mark.parametrize("size", [1, 2, 5, 300, 1024])
def test_rotating_keeps_norms_and_is_undone(size):
    lattice = replace(PLAIN, dimension=size)
    signs = random_signs(lattice, generator(1, "rotation"))
    rows = unit_rows(3, size).double()
    turned = rotated(rows, lattice, signs)
    assert turned.shape == (3, lattice.padded)
    assert torch.allclose(turned.norm(dim=1), rows.norm(dim=1), rtol=1e-12)
    for before, after in zip(rows, turned, strict=True):
        assert torch.allclose(unrotated(after, lattice, signs), before, atol=1e-14)


def test_a_spike_is_spread_over_all_coordinates():
    """Each coordinate of a rotated unit vector has size 1 / sqrt(d) = 1 / sqrt(512)."""
    spike = torch.zeros(1, 300, dtype=torch.float64)
    spike[0, 7] = 1.0
    turned = rotated(spike, PLAIN, random_signs(PLAIN, generator(1, "rotation")))
    assert torch.allclose(turned.abs(), torch.full((1, 512), 512**-0.5, dtype=torch.float64))


def test_the_sum_comes_back_within_what_rounding_allows():
    """Without noise: a coordinate's rounding error is below one grid step a client, in norm sqrt(d) n / s."""
    rows = unit_rows(10)
    error = (total_of(rows, PLAIN).double() - rows.double().sum(dim=0)).norm()
    assert 0 < float(error) < math.sqrt(512) * math.sqrt(10) / PLAIN.scale
    fine = replace(PLAIN, bits=30)
    assert torch.allclose(total_of(rows, fine), rows.sum(dim=0), atol=1e-5)
    assert torch.allclose(total_of(rows, replace(fine, rotate=False)), rows.sum(dim=0), atol=1e-5)


def test_rounding_is_right_on_average():
    """E[round(x)] = x: over 4000 draws within 5 standard deviations of at most 1/2."""
    row = torch.linspace(-2, 2, 64, dtype=torch.float64)
    lattice = replace(PLAIN, clip_norm=1e3, beta=0.0)
    drawn = torch.stack([rounded(row, lattice, generator(0, "round", i)) for i in range(4000)])
    assert torch.equal(drawn, drawn.round())
    assert float((drawn.mean(dim=0) - row).abs().max()) < 5 * 0.5 / math.sqrt(4000)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_an_honest_clients_rounded_update_never_leaves_its_bound(bits):
    lattice = replace(PLAIN, bits=bits, beta=0.6)
    signs = random_signs(lattice, generator(0, "rotation"))
    for i, row in enumerate(rotated(unit_rows(200).double(), lattice, signs) * lattice.scale):
        whole = rounded(row, lattice, generator(0, "round", i))
        assert float(whole.norm()) <= lattice.l2 * (1 + 1e-12)
        assert float(whole.abs().sum()) <= lattice.l1 * (1 + 1e-12)


def test_a_rounding_beyond_the_bound_is_tried_again():
    """256 halves: the squared norm is binomial, mean 128, deviation 8; a bound of 135.3 cuts off 18 %."""
    bound = SimpleNamespace(scale=8.0, clip_norm=1.0, l2=math.sqrt(135.3))
    row = torch.full((256,), 0.5, dtype=torch.float64)
    first = [(row + torch.from_numpy(generator(0, "r", i).random(256))).floor().norm() for i in range(400)]
    kept = [rounded(row, bound, generator(0, "r", i)).norm() for i in range(400)]
    too_long = sum(float(n) > bound.l2 for n in first)
    assert 0.12 * 400 < too_long < 0.25 * 400
    assert max(map(float, kept)) <= bound.l2
    assert sum(a == b for a, b in zip(first, kept, strict=True)) == 400 - too_long


def test_without_retries_the_bound_holds_for_every_rounding():
    """By hand: a step moves a coordinate by less than 1, the vector by less than sqrt(d)."""
    lattice = replace(PLAIN, beta=0.0)
    assert lattice.l2 == pytest.approx(lattice.scale * (1 + 1e-5) + math.sqrt(512))


def test_the_scale_is_that_of_the_authors_code():
    """Golden: n = 10, z = 2, d = 1024, k = 4: 4046.897, 252.930, 63.228, 15.789 for 16, 12, 10, 8 bits."""
    lattice = replace(PLAIN, dimension=1024, noise_std=2 / math.sqrt(10))
    for bits, scale in ((16, 4046.897), (12, 252.930), (10, 63.228), (8, 15.789)):
        assert replace(lattice, bits=bits).scale == pytest.approx(scale, abs=1e-3)
    with pytest.raises(ValueError, match=r"bits = 3 is too few for the sum of 10 clients: 4\^bits"):
        _ = replace(lattice, bits=3).scale


def test_a_sum_beyond_the_range_wraps_around():
    """By hand: no rotation, one coordinate; the sum leaves [-2^15, 2^15) steps and comes back from below."""
    lattice = replace(PLAIN, dimension=1, rotate=False)
    step, half = 1 / lattice.scale, 2**15
    rows = torch.tensor([[0.75 * half * step], [0.75 * half * step]], dtype=torch.float32)
    assert float(total_of(rows, lattice)) == pytest.approx((1.5 - 2.0) * half * step, rel=1e-3)
    assert float(total_of(rows[:1], lattice)) == pytest.approx(0.75 * half * step, rel=1e-3)


def test_a_hostile_update_of_any_length_ends_in_the_range():
    rows = torch.full((1, 300), 3e38)
    total = total_of(rows, replace(PLAIN, rotate=False))
    assert float(total.abs().max()) <= 2**15 / PLAIN.scale * 1.001
    assert bool(total.isfinite().all())


def test_only_the_honest_add_noise():
    def loud(stream, size):
        return np.full(size, 1000, dtype=np.int64)

    rows = torch.zeros(3, 300)
    lattice = replace(PLAIN, rotate=False)
    total = total_of(rows, lattice, loud, torch.tensor([True, False, True]))
    assert torch.allclose(total, torch.full((300,), 2000 / lattice.scale))


def test_a_clients_message_does_not_depend_on_the_block_in_which_it_stands(monkeypatch):
    rows = unit_rows(7)
    whole = total_of(rows, PLAIN)
    monkeypatch.setattr("gauntlet.privacy.parts.lattice._BLOCK", 1024)  # two clients at a time
    assert torch.equal(total_of(rows, PLAIN), whole)


def test_nobody_at_all_sums_to_zero():
    assert torch.equal(total_of(torch.zeros(0, 300), PLAIN), torch.zeros(300))
