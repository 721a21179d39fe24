"""WeLore: the specification's ranks, singular values by numpy, bytes by hand, and whole rounds.

Numbers named so are of more-systems.md, section 5. The file's layers have singular values that are known: 32
powers of a half, of which a half of all 42 cuts 21, and ten that are all alike, of which it cuts none.
"""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from gauntlet.clients.models import MODELS
from gauntlet.clients.models.welore import Factored, Welore, normalized, ranks, threshold
from gauntlet.core.errors import GauntletError
from gauntlet.core.layout import Layout
from gauntlet.core.seeds import generator, seeded_torch
from gauntlet.server.assembly.ingredients import make_data, make_model
from gauntlet.server.simulation import prepare
from gauntlet.sims.scenario import make_scenario

MLP = {"name": "mlp", "hidden": [32]}
SPECTRA = [torch.tensor(s).double() for s in ([1, 0.5, 0.25, 0.1, 0.05], [1, 0.9, 0.8, 0.7, 0.6])]
PRIVATE = {"name": "dp_sgd", "clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-3}


def orthogonal(rows, stream):
    return np.linalg.qr(stream.standard_normal((rows, rows)))[0]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A file of 64-32-10 with known singular values."""
    stream, place = np.random.default_rng(0), tmp_path_factory.mktemp("welore") / "base.safetensors"
    with seeded_torch(generator(0, "file")):
        own = MODELS.build("mlp", {"hidden": [32]}).build((1, 8, 8), 10).state_dict()
    first = orthogonal(32, stream) * 0.5 ** np.arange(32) @ orthogonal(64, stream)[:32]
    own["1.weight"] = torch.from_numpy(first).float()
    own["3.weight"] = torch.from_numpy(orthogonal(32, stream)[:10]).float()
    save_file(own, place)
    return str(place)


def scenario(options=None, **keys):
    training = {"local_steps": 2, "batch_size": 8, "lr": 0.1}
    model = {"name": "welore", "of": MLP, **(options or {})}
    keys = {"training": training, "model": model, **keys}
    return make_scenario(
        {"name": "welore", "rounds": 1, "num_clients": 6, "data": "digits", "runtime": {"pool": "serial"}}
        | keys
    )


def model_of(spec):
    return make_model(spec, make_data(spec))


@pytest.mark.parametrize(("bound", "wanted"), [(0.2, [3, 5]), (0.55, [1, 5]), (0.65, [1, 4])])
def test_ranks_are_those_of_the_specification(bound, wanted):
    assert ranks(SPECTRA, bound) == wanted


def test_nothing_wanted_keeps_everything_and_a_layer_keeps_at_least_one():
    assert ranks(SPECTRA, threshold(SPECTRA, 0.0)) == [5, 5]
    assert ranks(SPECTRA, 1.0) == [1, 1]


@pytest.mark.parametrize("reduction", [0.1, 0.3, 0.5, 0.72])
def test_one_threshold_cuts_the_share_as_bisection_finds_it(reduction):
    """Of 35 different values in layers of 20 and 15, as many as the share is of them, rounded up."""
    stream = np.random.default_rng(1)
    drawn = [torch.from_numpy(np.sort(stream.random(n))[::-1].copy()) for n in (20, 15)]
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        cut = sum(int((values <= middle).sum()) for values in drawn)
        low, high = (low, middle) if cut >= reduction * 35 - 1e-9 else (middle, high)

    bound = threshold(drawn, reduction)
    assert bound == pytest.approx(high, abs=1e-12)
    assert 35 - sum(ranks(drawn, bound)) == int(np.ceil(reduction * 35 - 1e-9))


def test_spectra_are_compared_by_their_largest_or_by_their_range():
    """By hand: (4, 3, 1) is (1, .75, .25), or (1, 2/3, 0) from the smallest on."""
    values = torch.tensor([4.0, 3.0, 1.0])

    assert normalized(values, "largest").tolist() == [1, 0.75, 0.25]
    assert normalized(values, "range").tolist() == pytest.approx([1, 2 / 3, 0])
    assert normalized(torch.zeros(3), "largest").tolist() == [1, 1, 1]
    assert normalized(torch.full((3,), 2.0), "range").tolist() == [1, 1, 1]


def test_uniform_ranks_cut_the_same_share_of_every_layer():
    assert Welore(reduction=0.6, ranks="uniform").cuts([torch.ones(10), torch.ones(5)]) == [6, 3]
    assert Welore(reduction=0.6, ranks="uniform").cuts([torch.zeros(10), torch.ones(5)]) == [0, 3]


def test_factors_are_the_best_approximation_and_equally_long():
    layer = nn.Linear(7, 5)
    weight = layer.weight.detach().double().numpy()
    made, values = Factored(layer), np.linalg.svd(weight, compute_uv=False)
    made.factor(2)
    product, x = made.weight.detach().double().numpy(), torch.rand(3, 7)

    assert np.square(weight - product).sum() == pytest.approx(np.square(values[2:]).sum(), rel=1e-4)
    for size in (made.lora_down.weight.norm(dim=1), made.lora_up.weight.norm(dim=0)):
        assert size.tolist() == pytest.approx(np.sqrt(values[:2]), rel=1e-4)
    assert torch.allclose(made(x), x @ made.weight.T + layer.bias, atol=1e-6)


def test_layers_of_low_rank_alone_are_trained(base):
    made = model_of(scenario({"init": base}).run_spec())
    layout, x = Layout.of(made), torch.rand(4, 1, 8, 8)

    named = {s.name: s.shape for s in layout.parameters}
    assert named == {"1.lora_down.weight": (11, 64), "1.lora_up.weight": (32, 11)}
    own = load_file(base)
    left, values, right = np.linalg.svd(own["1.weight"].numpy())
    own["1.weight"] = torch.from_numpy((left[:, :11] * values[:11]) @ right[:11])
    plain = MODELS.build("mlp", {"hidden": [32]}).build((1, 8, 8), 10)
    plain.load_state_dict(own)
    assert torch.allclose(made.eval()(x), plain(x), atol=1e-5)


def test_a_clients_bytes_are_those_of_low_rank_layers(base):
    """By hand: 20 of header and checksum; for each of two records its number and tag, and two lengths of 2
    bytes; 4 bytes for each of 11 (64 + 32) numbers; 6 clients."""
    simulation = prepare(scenario({"init": base}).run_spec())
    (step,) = simulation.steps(simulation.serial_pool())

    assert step.state.bytes_up == 6 * (20 + 2 * (2 + 4) + 4 * 11 * 96)


WAYS = {
    "private": {"privacy": PRIVATE},
    "robust": {"defense": {"name": "trimmed_mean", "num_byzantine": 1}},
    "products": {"defense": "lora_product"},
    "compressed": {"codec": {"name": "topk", "density": 0.1}},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_round_goes_with(way):
    simulation = prepare(scenario(**WAYS[way]).run_spec())
    assert simulation.choice.stacked or way == "private"
    (step,) = simulation.steps(simulation.serial_pool())

    assert step.state.params.isfinite().all()
    assert not torch.equal(step.state.params, simulation.first.params)


def test_averaged_products_are_those_of_the_clients_factors(base):
    """One client: its product comes back, though other factors may."""
    found = []
    for defense in ("mean", "lora_product"):
        simulation = prepare(scenario({"init": base}, defense=defense, num_clients=1).run_spec())
        (step,) = simulation.steps(simulation.serial_pool())
        down, up = simulation.plan.layout.views(step.state.params).values()
        found.append(up @ down)

    assert torch.allclose(*found, atol=1e-5)
    down, up = simulation.plan.layout.views(simulation.first.params).values()
    assert not torch.allclose(found[0], up @ down, atol=1e-3)


def test_stacked_clients_are_trained_as_one_at_a_time():
    found = []
    for vectorize in ("on", "off"):
        simulation = prepare(scenario(vectorize=vectorize).run_spec())
        (step,) = simulation.steps(simulation.serial_pool())
        found.append(step.state.params - simulation.first.params)

    assert float((found[0] - found[1]).norm() / found[0].norm()) < 1e-4


def test_an_export_begins_a_run_with_its_own_ranks(base, tmp_path):
    made, x = model_of(scenario({"init": base}).run_spec()), torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        next(m for m in made.modules() if isinstance(m, Factored)).lora_up.weight.mul_(2)
    save_file(made.state_dict(), tmp_path / "export.safetensors")
    again = model_of(scenario({"init": str(tmp_path / "export.safetensors"), "reduction": 0.9}).run_spec())

    assert torch.equal(again.eval()(x), made.eval()(x))
    assert Layout.of(again) == Layout.of(made)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reduction": 0.0}, "reduction must be above 0 and below 1, got 0.0"),
        ({"min_ratio": 1.0}, "min_ratio must be at least 0 and below 1, got 1.0"),
        ({"min_ratio": 0.9}, r"no layer is of low rank: reduction = 0.5 cuts at most 0\.\d+ of a layer's"),
        ({"targets": ["2"]}, "targets: '2' names no linear layer; there are: 1, 3"),
        ({"targets": ["1"], "trained": ["1.*"]}, r"targets \['1'\] name no frozen linear layer"),
        ({"of": {"name": "welore"}}, "of must be a model without factors, got one of model 'welore'"),
    ],
)
def test_options_that_cannot_be_are_refused(options, words):
    with pytest.raises(GauntletError, match=words):
        prepare(scenario(options).run_spec())


def test_what_is_trained_besides_is_sent_whole(base):
    made = model_of(scenario({"init": base, "trained": ["3.*"], "reduction": 0.65}).run_spec())
    named = [slot.name for slot in Layout.of(made).parameters]

    assert named == ["1.lora_down.weight", "1.lora_up.weight", "3.weight", "3.bias"]


class Tied(nn.Module):
    """An embedding whose weight is the last layer's, too."""

    def __init__(self):
        super().__init__()
        self.tokens, self.head = nn.Embedding(30, 8), nn.Linear(8, 30, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, x):
        return self.head(self.tokens(x))


def test_an_embedding_that_was_tied_to_a_layer_of_factors_stays_as_it_is(monkeypatch):
    """Its weight was the layer's, which is trained until ranks are known; the factors alone travel."""
    monkeypatch.setattr("gauntlet.clients.models.welore.net_of", lambda *_: Tied())
    rule = Welore(reduction=0.8, ranks="uniform")
    model = rule.build((4,), 30, 30)
    before = model.tokens.weight.detach().clone()
    rule.settle(model, None)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]

    assert trained == ["head.lora_down.weight", "head.lora_up.weight"]
    assert torch.equal(model.tokens.weight, before)


@pytest.mark.parametrize(
    ("reduction", "count", "wanted"), [(0.29, 100, 29), (0.58, 50, 29), (0.57, 50, 28), (1 - 1e-12, 8, 7)]
)
def test_a_uniform_share_is_not_one_less_by_rounding_and_leaves_one(reduction, count, wanted):
    """0.29 times 100 is 28.999999999999996 in floating point."""
    assert Welore(reduction=reduction, ranks="uniform").cuts([torch.ones(count)]) == [wanted]
