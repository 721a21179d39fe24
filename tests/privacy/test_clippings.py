"""Every clipping keeps the contract, and the constant ones have the weights of their papers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gauntlet.core.errors import PluginError
from gauntlet.core.guards import guard
from gauntlet.core.layout import Layout
from gauntlet.core.seeds import generator
from gauntlet.core.updates import Context, Updates
from gauntlet.privacy import CLIPPINGS
from gauntlet.privacy.clippings.autos import AutoS
from gauntlet.privacy.clippings.autov import AutoV
from gauntlet.privacy.clippings.fixed import Fixed
from gauntlet.privacy.clippings.moo import Moo
from gauntlet.privacy.clippings.parts import clip_rows, row_norms
from gauntlet.privacy.clippings.per_layer import PerLayer
from gauntlet.privacy.clippings.psac import Psac
from gauntlet.privacy.clippings.quantile import Quantile
from gauntlet.privacy.contract import clipping as clipping_contract
from gauntlet.privacy.contract import cohort as cohort_contract
from gauntlet.privacy.contract.clipping import CLIPPING_CHECKS

OTHERS = [
    Quantile(target_unclipped=1.0, geometric=False),
    Quantile(target_unclipped=0.0, clip_lr=5.0),
    Moo(kappa=0.0),
    Moo(kappa=1e6, clip_lr=3.0),
    AutoS(gamma=1e-9),
    AutoS(gamma=10.0),
    Psac(r=1e-6),
    PerLayer(split="size"),
]


def shortened(clipping, rows, clip_norm=1.0, context=None) -> torch.Tensor:
    vectors = torch.as_tensor(rows, dtype=torch.float32)
    ids, counts = torch.arange(len(vectors)), torch.ones(len(vectors), dtype=torch.int64)
    return clipping.shorten(Updates(vectors, ids, counts, context=context), row_norms(vectors), clip_norm)


@pytest.mark.parametrize("check", CLIPPING_CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", CLIPPINGS.table)
def test_every_clipping_keeps_the_contract(name, check):
    check(guard(CLIPPINGS.build(name), name))


@pytest.mark.parametrize("check", CLIPPING_CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("clipping", OTHERS, ids=repr)
def test_other_options_keep_the_contract_too(clipping, check):
    check(clipping)


class Lets(Fixed):
    """A quarter too much."""

    def shorten(self, updates, norms, clip_norm):
        return super().shorten(updates, norms, 1.25 * clip_norm)


class ClipsEveryArrayApart(Fixed):
    """Flower's clipping of records: two arrays within C are together within sqrt(2) C."""

    def shorten(self, updates, norms, clip_norm):
        return torch.cat([clip_rows(half, clip_norm) for half in updates.vectors.split(151, dim=1)], dim=1)


class ClipsAtTheLongest(Fixed):
    def shorten(self, updates, norms, clip_norm):
        return super().shorten(updates, norms, min(clip_norm, float(norms.nan_to_num(0, 0, 0).sum()) / 1e9))


class DividesByZero(Fixed):
    def shorten(self, updates, norms, clip_norm):
        factors = (clip_norm / norms).clamp(max=1e30)
        return torch.where(norms[:, None] > 1, super().shorten(updates, norms, clip_norm), factors[:, None])


class HidesNans(Fixed):
    def shorten(self, updates, norms, clip_norm):
        return super().shorten(updates, norms, clip_norm).nan_to_num(0.0, 0.0, 0.0)


class GivesBackTheInput(Fixed):
    def shorten(self, updates, norms, clip_norm):
        updates.vectors.copy_(super().shorten(updates, norms, clip_norm))
        return updates.vectors


class CountsTheExcessItself(Moo):
    """Without a cap one client moves the sum by anything."""

    def statistic(self, norms, facts):
        return (norms / facts.clip_norm - 1).clamp(min=0.0)


class FlowersBit(Quantile):
    """flwr 1.41: the bit is 1 where the update was clipped, with the rule for those that were not."""

    def statistic(self, norms, facts):
        return 1 - super().statistic(norms, facts)


class NeverMoves(Quantile):
    def move(self, mean, facts):
        return facts.clip_norm


class WithoutLimits(Quantile):
    def move(self, mean, facts):
        return facts.clip_norm - 0.2 * (mean - 0.5)


class LeavesOneOfMany(Fixed):
    """The first of a cohort of more than a hundred."""

    def shorten(self, updates, norms, clip_norm):
        clipped = super().shorten(updates, norms, clip_norm)
        if len(clipped) > 100:
            clipped[0] = updates.vectors[0]
        return clipped


BROKEN = [
    (cohort_contract.no_row_of_any_cohort_is_left_as_long_as_it_was, LeavesOneOfMany),
    (clipping_contract.no_row_is_longer_than_the_clip_norm, Lets),
    (clipping_contract.no_row_is_longer_than_the_clip_norm, ClipsEveryArrayApart),
    (clipping_contract.a_row_depends_on_itself_alone, ClipsAtTheLongest),
    (clipping_contract.zero_stays_zero_and_an_empty_cohort_empty, DividesByZero),
    (clipping_contract.a_row_that_is_not_finite_does_not_become_finite, HidesNans),
    (clipping_contract.the_input_is_left_as_it_was, GivesBackTheInput),
    (clipping_contract.a_statistic_lies_between_0_and_1_and_is_each_clients_own, CountsTheExcessItself),
    (clipping_contract.the_bound_moves_towards_the_norms, FlowersBit),
    (clipping_contract.the_bound_moves_towards_the_norms, NeverMoves),
    (clipping_contract.the_next_clip_norm_is_finite_and_above_0, WithoutLimits),
]


@pytest.mark.parametrize(("check", "twin"), BROKEN, ids=lambda x: x.__name__)
def test_a_broken_twin_is_rejected(check, twin):
    with pytest.raises(PluginError):
        check(twin())


def test_no_check_is_without_a_twin_that_it_rejects():
    assert {check for check, _ in BROKEN} == set(CLIPPING_CHECKS)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(["fixed", "quantile", "moo", "autos", "autov", "psac"]),
    seed=st.integers(0, 10_000),
    size=st.sampled_from([1, 2, 300, 9000]),
    scale=st.sampled_from([1e-6, 1.0, 1e6, 1e30]),
    clip_norm=st.sampled_from([1e-4, 0.03, 1.0, 1e4]),
)
def test_the_direction_is_kept_and_the_bound_holds(name, seed, size, scale, clip_norm):
    """The invariants of clipping the whole vector; norms by math.fsum."""
    rows = torch.from_numpy(generator(seed, "rows").standard_normal((3, size)) * scale).float()
    for before, after in zip(
        rows.double(), shortened(CLIPPINGS.build(name), rows, clip_norm).double(), strict=True
    ):
        length = math.sqrt(math.fsum(x * x for x in after.tolist()))
        assert length <= clip_norm * (1 + 1e-15)
        if length > 1e-30:
            assert float(before @ after) / float(before.norm() * after.norm()) >= 1 - 1e-12


@pytest.mark.parametrize("name", ["fixed", "quantile", "moo"])
def test_what_fits_keeps_its_bits_and_twice_is_once(name):
    """By hand: (3, 4) has norm 5 and becomes (0.6, 0.8) under 1; (0.3, 0.4) stays."""
    clipping = CLIPPINGS.build(name)
    once = shortened(clipping, [[3.0, 4.0], [0.3, 0.4]])
    assert torch.allclose(once[0], torch.tensor([0.6, 0.8]), rtol=2e-6)
    assert torch.equal(once[1], torch.tensor([0.3, 0.4]))
    assert torch.equal(shortened(clipping, once), once)


NORMS = [0.0, 0.05, 0.1, math.sqrt(0.1) - 0.1, 0.5, 1.0, 5.0]


@pytest.mark.parametrize(
    ("clipping", "weights"),
    [
        (AutoS(gamma=0.01), [100, 16.67, 9.09, 4.42, 1.96, 0.990, 0.200]),
        (Psac(r=0.1), [1, 1.395, 1.667, 1.878, 1.5, 0.917, 0.199]),
        (Fixed(), [1, 1, 1, 1, 1, 1, 0.2]),
    ],
    ids=lambda x: type(x).__name__,
)
def test_weights_have_their_golden_values(clipping, weights):
    """Weights at C = 1 of Bu et al. (2023), of PSAC as told, and of Abadi et al. (2016)."""
    for norm, weight in zip(NORMS[1:], weights[1:], strict=True):
        came = float(shortened(clipping, [[norm, 0.0]])[0, 0]) / norm
        assert came == pytest.approx(min(weight, 1 / norm), rel=2e-3)


def test_psac_weighs_most_where_the_norm_is_sqrt_r_minus_r():
    """By calculus: n + r / (n + r) is least at n = sqrt(r) - r, where it is 2 sqrt(r) - r."""
    norms = np.linspace(0.01, 2, 400)
    rows = torch.zeros(400, 2)
    rows[:, 0] = torch.from_numpy(norms)
    weights = shortened(Psac(r=0.1), rows)[:, 0].double().numpy() / rows[:, 0].double().numpy()
    assert norms[weights.argmax()] == pytest.approx(math.sqrt(0.1) - 0.1, abs=0.01)
    assert weights.max() == pytest.approx(1 / (2 * math.sqrt(0.1) - 0.1), rel=1e-4)


def test_automatic_clipping_scales_with_c_alone_so_that_c_is_a_learning_rate():
    rows = torch.from_numpy(generator(1, "rows").standard_normal((5, 40)) * 0.1).float()
    for clipping in (AutoS(), AutoV()):
        assert torch.allclose(shortened(clipping, rows, 0.3), 0.3 * shortened(clipping, rows), rtol=1e-5)


def test_normalising_gives_every_update_the_norm_c():
    rows = torch.from_numpy(generator(2, "rows").standard_normal((5, 40)) * 1e-5).float()
    assert torch.allclose(row_norms(shortened(AutoV(), rows, 0.7)).float(), torch.tensor(0.7), rtol=3e-6)


def context() -> Context:
    layout = Layout.of(torch.nn.Sequential(torch.nn.Linear(3, 2, bias=False), torch.nn.Linear(2, 1)))
    return Context(0, torch.zeros(9), layout, 0)  # tensors of 6, 2 and 1 numbers


def test_each_tensor_is_clipped_to_its_own_share():
    """By hand: C / sqrt(3) for each of three tensors; the second one, (0.3, 0.4), fits."""
    row = [1.0] * 6 + [0.3, 0.4] + [-7.0]
    clipped = shortened(PerLayer(), [row], 1.0, context())[0]
    assert torch.allclose(clipped[:6], torch.full((6,), 1 / math.sqrt(18)), rtol=3e-6)
    assert torch.equal(clipped[6:8], torch.tensor([0.3, 0.4]))
    assert float(clipped[8]) == pytest.approx(-1 / math.sqrt(3), rel=3e-6)


def test_shares_by_size_give_a_coordinate_the_same_bound_everywhere():
    """By hand: C sqrt(P_l / P), so a constant row that is clipped stays constant: 1 / sqrt(9)."""
    clipped = shortened(PerLayer(split="size"), [[5.0] * 9], 1.0, context())[0]
    assert torch.allclose(clipped, torch.full((9,), 1 / 3), rtol=3e-6)


@pytest.mark.parametrize("split", ["equal", "size"])
def test_all_tensors_together_stay_within_c_and_one_tensor_is_fixed_clipping(split):
    rows = torch.from_numpy(generator(3, "rows").standard_normal((50, 9)) * 10).float()
    assert float(row_norms(shortened(PerLayer(split), rows, 0.9, context())).max()) <= 0.9 * (1 + 1e-9)
    assert torch.equal(shortened(PerLayer(split), rows, 0.9), shortened(Fixed(), rows, 0.9))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AutoS(gamma=0.0), "gamma must be finite and above 0"),
        (lambda: Psac(r=-1.0), "r must be finite and above 0, got -1.0"),
        (lambda: PerLayer(split="even"), "split must be one of equal, size, got 'even'"),
        (lambda: Quantile(target_unclipped=1.5), "between 0 and 1, got 1.5"),
        (lambda: Quantile(clip_lr=0.0), "clip_lr must be finite and above 0, got 0.0"),
        (lambda: Quantile(count_noise_std=-1.0), "count_noise_std must be finite and at least 0, got -1.0"),
        (lambda: Moo(clip_min=2.0, clip_max=1.0), "got clip_min 2.0 and clip_max 1.0"),
        (lambda: Moo(kappa=math.nan), "kappa must be finite and at least 0, got nan"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
