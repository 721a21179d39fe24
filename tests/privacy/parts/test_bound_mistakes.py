"""Mistakes around an adaptive bound: of other libraries, of a scenario, of a clipping from outside."""

from dataclasses import replace

import pytest
import torch
from clipped_rounds import gaussian, one_round, rows_of

from gauntlet.core.contracts import Release
from gauntlet.core.errors import PluginError
from gauntlet.core.seeds import generator
from gauntlet.privacy import PRIVACY
from gauntlet.privacy.gaussian import Gaussian
from gauntlet.privacy.local_gaussian import LocalGaussian
from gauntlet.privacy.parts.bound import joint


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("quantil", "unknown clipping 'quantil'; did you mean 'quantile'?"),
        ({"name": "quantile", "clip_rate": 1.0}, "quantile: unknown option 'clip_rate'; did you mean 'clip_"),
        ({"clip_lr": 1.0}, "clipping needs a name, one of fixed, quantile"),
        ({"name": "moo", "kappa": -1.0}, "moo: kappa must be finite and at least 0, got -1.0"),
        ({"name": "quantile", "count_noise_std": 0.1}, "gaussian: count_noise_std must be above 0.5 for"),
    ],
)
def test_a_mistake_in_a_scenario_gets_one_line(choice, message):
    with pytest.raises(PluginError) as error:
        PRIVACY.build(
            "gaussian", {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 0.1, "clipping": choice}
        )
    assert message in str(error.value)
    assert "\n" not in str(error.value)


class FlowersOrder(Gaussian):
    """flwr 1.41: the noise has the new C, contributions were bounded by the old one."""

    def noise(self, aggregate, expected_size, state, generator):
        moved = self._bound.move(self.noise_multiplier, expected_size, len(aggregate), state, generator)
        late = {**moved, "clipped_at": moved["clip_norm"]}
        return super().noise(aggregate, expected_size, late, generator)[0], moved


class OpacusLedger(Gaussian):
    """Opacus up to 1.5.4: the larger z_delta goes into the ledger."""

    def event(self, sensitivity, expected_size, state):
        event = super().event(sensitivity, expected_size, state)
        z = self._bound.model_multiplier(self.noise_multiplier, expected_size)
        return replace(event, noise_multiplier=z) if isinstance(event, Release) else event


@pytest.mark.parametrize("twin", [FlowersOrder, OpacusLedger])
def test_the_known_mistakes_of_other_libraries_are_rejected(twin, cohort):
    """The noise that is measured must be the joint z's share, at the C that clipped."""
    mechanism = twin(0.7, noise_multiplier=1.0, delta=1e-3, clipping={"name": "quantile", "clip_lr": 1.0})
    updates = cohort(rows_of([9.0] * 40, size=100_000), 40.0)
    clipped, state = mechanism.clip(updates, mechanism.init())
    noised, state = mechanism.noise(torch.zeros(100_000), 40.0, state, generator(1, "noise"))
    longest = float(clipped.vectors.norm(dim=1).max())
    event = mechanism.event(longest / 40.0, 40.0, state)
    claimed = joint(event.noise_multiplier, 4.0, sign=-1) * longest / 40.0
    assert abs(float(noised.double().std()) / claimed - 1) > 0.02


LONG = """
from dataclasses import dataclass
from typing import ClassVar

@dataclass(frozen=True)
class Plain:
    def shorten(self, updates, norms, clip_norm):
        return updates.vectors.clone()

@dataclass(frozen=True)
class OnClients(Plain):
    on_clients: ClassVar[bool] = True

@dataclass(frozen=True)
class ByFactors(OnClients):
    def factors(self, squares, sizes, clip_norm):
        return squares.sum(dim=0, keepdim=True) ** 0.0

@dataclass(frozen=True)
class Loud:
    adaptive: ClassVar[bool] = True
    count_noise_std: float | None = None

    def shorten(self, updates, norms, clip_norm):
        return updates.vectors * (clip_norm / norms).clamp(max=1.0)[:, None].float()

    def statistic(self, norms, facts):
        return norms

    def move(self, mean, facts):
        return facts.clip_norm
"""


@pytest.mark.parametrize(
    ("name", "let_through"),
    [
        ("Plain", lambda mechanism, updates: mechanism.clip(updates, mechanism.init())),
        ("OnClients", lambda mechanism, updates: mechanism.privatize(updates, None)),
        ("ByFactors", lambda mechanism, updates: mechanism.row_factors(updates.vectors.norm(dim=1).double())),
    ],
)
def test_a_clipping_from_outside_that_leaves_an_update_too_long_ends_the_run(
    name, let_through, cohort, tmp_path
):
    """Noise and epsilon are made for C = 0.7: an update of norm 9 would move the sum by 12.9 C."""
    (tmp_path / "long.py").write_text(LONG)
    mechanism = gaussian(f"{tmp_path / 'long.py'}:{name}")
    with pytest.raises(PluginError, match=f"clipping {name} leaves an update of norm 9, above C = 0.7"):
        let_through(mechanism, cohort(rows_of([9.0, 0.1])))
    if name != "Plain":
        local = LocalGaussian(0.7, 1.0, delta=1e-3, clipping=f"{tmp_path / 'long.py'}:{name}")
        with pytest.raises(PluginError, match="leaves an update of norm 9"):
            local.privatize(cohort(rows_of([9.0, 0.1])), lambda i: generator(0, "n", i))


def test_a_clipping_from_outside_whose_statistic_one_client_moves_too_far_ends_the_run(cohort, tmp_path):
    (tmp_path / "long.py").write_text(LONG)
    mechanism = gaussian(f"{tmp_path / 'long.py'}:Loud")
    with pytest.raises(PluginError, match=r"Loud: statistic must lie between 0 and 1, got \[9.0"):
        one_round(mechanism, cohort(rows_of([9.0])), mechanism.init(), 2.0)
