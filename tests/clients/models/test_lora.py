"""Adapters: the specification's closed forms and numbers, peft where it is installed, and whole rounds.

Numbers named so are of more-systems.md, section 3, and its scripts' seeds; X by scipy's Sylvester solver.
"""

from math import sqrt

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn
from torch.nn import functional

import gauntlet
from gauntlet.clients.models import MODELS
from gauntlet.clients.models.lora import Adapted, Lora
from gauntlet.clients.models.low_rank_adapters import Pro, gradient_factors, pro_gradients
from gauntlet.core.errors import GauntletError
from gauntlet.core.layout import Layout
from gauntlet.core.seeds import generator, seeded_torch
from gauntlet.server.assembly.ingredients import make_data, make_model
from gauntlet.server.simulation import prepare
from gauntlet.sims.scenario import make_scenario

MLP = {"name": "mlp", "hidden": [32]}
PRIVATE = {"name": "dp_sgd", "clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-3}


def scenario(of=MLP, rank=4, options=None, **keys):
    base = {"name": "lora", "rounds": 1, "num_clients": 6, "data": "digits", "runtime": {"pool": "serial"}}
    training = {"local_steps": 2, "batch_size": 8, "lr": 0.3}
    return make_scenario(
        base
        | {"training": training, "model": {"name": "lora", "of": of, "rank": rank, **(options or {})}}
        | keys
    )


def net(**options):
    with seeded_torch(generator(0, "net")):
        return Lora(of=MLP, **options).build((64,), 10)


def model_of(spec):
    return make_model(spec, make_data(spec))


def test_only_adapters_are_trained_and_names_are_the_models_own():
    """By hand: 64-32-10 at rank 4 has 4 (64 + 32) + 4 (32 + 10) = 552 numbers in the place of 2410."""
    layout = Layout.of(net(rank=4))
    names = [slot.name.rpartition(".")[0].rpartition(".")[2] for slot in layout.parameters]

    assert names == ["lora_down", "lora_up"] * 2
    assert [slot.shape for slot in layout.parameters] == [(4, 64), (32, 4), (4, 32), (10, 4)]
    assert layout.num_parameters == 552


def test_outputs_begin_as_the_models_and_are_those_of_the_summed_weight():
    made, x = net(rank=4, alpha=12.0), torch.rand(5, 64)
    with seeded_torch(generator(0, "net")):
        plain = MODELS.build("mlp", {"hidden": [32]}).build((64,), 10)
    assert torch.equal(made(x), plain(x))

    layers = [m for m in made.modules() if isinstance(m, Adapted)]
    for layer, own in zip(layers, [m for m in plain.modules() if isinstance(m, nn.Linear)], strict=True):
        nn.init.normal_(layer.lora_up.weight)
        own.weight.data += 12 / 4 * layer.lora_up.weight @ layer.lora_down.weight
    assert torch.allclose(made(x), plain(x), atol=1e-4)


def test_factors_begin_as_those_of_peft():
    """peft's kaiming_uniform_ with a = sqrt(5) is uniform within 1 / sqrt(n); B is zero."""
    made = net(rank=4)
    layer = next(m for m in made.modules() if isinstance(m, Adapted))

    assert float(layer.lora_down.weight.detach().abs().max()) == pytest.approx(1 / 8, rel=0.03)
    assert float(layer.lora_down.weight.detach().std()) == pytest.approx(1 / 8 / sqrt(3), rel=0.1)
    assert not layer.lora_up.weight.any()


def test_peft_makes_the_same_of_the_same_factors():
    peft = pytest.importorskip("peft")
    made = net(rank=4, alpha=12.0)
    layer = next(m for m in made.modules() if isinstance(m, Adapted))
    nn.init.normal_(layer.lora_up.weight)
    theirs = nn.Sequential(nn.Linear(64, 32))
    theirs[0].load_state_dict({"weight": layer.weight, "bias": layer.bias})
    config = peft.LoraConfig(r=4, lora_alpha=12.0, target_modules=["0"])
    theirs = peft.get_peft_model(theirs, config)
    for name, parameter in theirs.named_parameters():
        if "lora" in name:
            parameter.data = (layer.lora_down if "lora_A" in name else layer.lora_up).weight.data
    x = torch.rand(3, 64)

    assert torch.allclose(theirs(x), layer(x), atol=1e-5)


def test_lora_ga_steps_along_the_best_approximation_of_twice_the_rank():
    """Specification: G = rng(0) 6 x 5, r = 2: 0.990481 of the energy, cosine 0.995229."""
    gradient = torch.from_numpy(np.random.default_rng(0).standard_normal((6, 5)))
    a, b = gradient_factors(gradient, 2, gamma=16.0)
    step = gradient @ a.T @ a + b @ b.T @ gradient
    u, s, v = np.linalg.svd(gradient.numpy())
    best = torch.from_numpy((u[:, :4] * s[:4]) @ v[:4])

    assert torch.allclose(step, best * sqrt(6) / 16, atol=1e-12)
    assert float(best.square().sum() / gradient.square().sum()) == pytest.approx(0.990481, abs=5e-7)
    cosine = (step * gradient).sum() / step.norm() / gradient.norm()
    assert float(cosine) == pytest.approx(0.995229, abs=5e-7)


def test_lora_pro_leaves_what_is_beyond_both_factors():
    """Specification: rng(2), s = 2: the residual's energy 14.2344 of 34.8366, X to six digits."""
    draw = np.random.default_rng(2)
    b, a, g = (draw.standard_normal(shape) for shape in ((6, 2), (2, 5), (6, 5)))
    plain = 2 * b.T @ g, 2 * g @ a.T
    found = pro_gradients(*(torch.from_numpy(v) for v in (a, b, *plain)), scale=2.0, ridge=0.0)
    new_a, new_b = (value.numpy() for value in found)
    left = g - 2 * (b @ new_a + new_b @ a)
    inverse = np.linalg.inv(b.T @ b)
    x = scipy.linalg.solve_sylvester(b.T @ b, a @ a.T, -inverse @ plain[0] @ a.T / 4)
    off_b, off_a = np.eye(6) - b @ inverse @ b.T, np.eye(5) - a.T @ np.linalg.inv(a @ a.T) @ a

    assert np.allclose(left, off_b @ g @ off_a, atol=1e-9)
    assert (left**2).sum() == pytest.approx(14.2344, abs=5e-5)
    assert (g**2).sum() == pytest.approx(34.8366, abs=5e-5)
    assert x.ravel().tolist() == pytest.approx([0.010658, -0.006108, 0.017792, 0.049092], abs=5e-7)
    assert np.allclose(new_a, inverse @ plain[0] / 4 + x @ a, atol=1e-9)


def test_lora_pro_begins_at_zero_along_the_gradient():
    """B = 0: A stands still, and B moves by g A^T (A A^T)^-1 / s, as by hand."""
    draw = torch.Generator().manual_seed(0)
    a, g = torch.randn(2, 5, generator=draw), torch.randn(6, 5, generator=draw)
    new_a, new_b = pro_gradients(a, torch.zeros(6, 2), torch.zeros(2, 5), 2 * g @ a.T, scale=2.0)

    assert not new_a.any()
    assert torch.allclose(new_b, g @ a.T @ torch.linalg.inv(a @ a.T) / 2, atol=1e-4)


def test_automatic_differentiation_gives_the_gradients_of_lora_pro():
    a, b = torch.randn(2, 5).requires_grad_(), torch.randn(6, 2).requires_grad_()
    g = torch.randn(6, 5)
    one, two = Pro.apply(a, b, 2.0)
    found = torch.autograd.grad((2 * two @ one * g).sum(), [a, b])
    wanted = pro_gradients(a.detach(), b.detach(), 2 * b.detach().T @ g, 2 * g @ a.detach().T, 2.0)

    assert all(torch.allclose(x, y, atol=1e-5) for x, y in zip(found, wanted, strict=True))


def test_lora_ga_leaves_outputs_as_they_were_and_points_along_the_servers_gradient():
    spec = scenario(options={"start": "lora_ga"}, root_examples=60).run_spec()
    plain, x = model_of(scenario().run_spec()), torch.rand(20, 1, 8, 8)
    made = model_of(spec)
    before, after = plain.eval()(x), made.eval()(x)
    layer = next(m for m in made.modules() if isinstance(m, Adapted))

    assert float((before - after).detach().abs().max()) < 1e-5
    own = make_data(spec).root.client(6)
    layer.weight.requires_grad_(True)
    gradient = torch.autograd.grad(functional.cross_entropy(made(own[0]), own[1]), layer.weight)[0]
    a, b = gradient_factors(gradient, 4, 16.0)
    assert torch.allclose(layer.lora_down.weight, a.float(), atol=1e-3)
    assert torch.allclose(layer.lora_up.weight, b.float(), atol=1e-3)


def test_lora_ga_asks_for_examples_of_the_servers_own():
    with pytest.raises(GauntletError, match="root_examples must be above 0"):
        prepare(scenario(options={"start": "lora_ga"}).run_spec())


def test_a_base_in_nf4_holds_sixteen_levels_a_block_and_stays_so():
    made = model_of(scenario(options={"base": "nf4"}).run_spec())
    layer = next(m for m in made.modules() if isinstance(m, Adapted))
    block = layer.weight.detach().reshape(-1)[:64]
    before = layer.weight.detach().clone()
    layer.round()

    assert len(torch.unique(block)) <= 16
    assert torch.equal(layer.weight, before)
    plain = model_of(scenario().run_spec())
    raw = next(m for m in plain.modules() if isinstance(m, Adapted)).weight
    assert float((before - raw).detach().square().mean() / raw.detach().square().mean()) < 0.02


def test_a_pretrained_file_is_the_models_own_and_an_export_holds_adapters(tmp_path):
    """A run's export begins another run where it ended, whatever the start says."""
    from safetensors.torch import save_file

    with seeded_torch(generator(9, "file")):
        own = MODELS.build("mlp", {"hidden": [32]}).build((1, 8, 8), 10)
    save_file(own.state_dict(), tmp_path / "own.safetensors")
    model = {"name": "lora", "of": MLP, "rank": 4, "init": str(tmp_path / "own.safetensors")}
    spec = scenario(root_examples=60, model=model | {"start": "lora_ga"}).run_spec()
    x = torch.rand(4, 1, 8, 8)
    made = model_of(spec)
    assert torch.allclose(made.eval()(x), own(x), atol=1e-5)

    with torch.no_grad():
        next(m for m in made.modules() if isinstance(m, Adapted)).lora_up.weight.mul_(2)
    save_file(made.state_dict(), tmp_path / "own.safetensors")
    assert torch.equal(model_of(spec).eval()(x), made.eval()(x))


def test_a_clients_bytes_are_those_of_its_adapters():
    """By hand: 20 of header and checksum; for each of four records its number and tag, two lengths of 1 or 2
    bytes, and 4 bytes a number, of which there are 256, 128, 128 and 40; 6 clients."""
    simulation = prepare(scenario().run_spec())
    (step,) = simulation.steps(simulation.serial_pool())
    heads = 4 * 2 + (2 + 2) + (2 + 2) + (2 + 2) + (1 + 2)

    assert step.state.bytes_up == 6 * (20 + heads + 4 * 552)


WAYS = {
    "private": {"privacy": PRIVATE},
    "robust": {"defense": {"name": "trimmed_mean", "num_byzantine": 1}},
    "products": {"defense": "lora_product"},
    "pro": {"options": {"gradient": "lora_pro"}},
    "private pro": {"options": {"gradient": "lora_pro"}, "privacy": PRIVATE},
    "nf4 down": {"codec_down": "nf4"},
}


@pytest.mark.parametrize(
    "way", [pytest.param(w, marks=pytest.mark.slow) if w == "private pro" else w for w in WAYS]
)
def test_a_round_of_adapters_goes_with(way):
    simulation = prepare(scenario(**WAYS[way]).run_spec())
    assert simulation.choice.stacked or "privacy" in WAYS[way]
    (step,) = simulation.steps(simulation.serial_pool())

    assert step.state.params.isfinite().all()
    assert not torch.equal(step.state.params, simulation.first.params)
    assert len(step.state.params) == 552


@pytest.mark.parametrize("gradient", ["plain", "lora_pro"])
def test_stacked_clients_are_trained_as_one_at_a_time(gradient):
    found = []
    for vectorize in ("on", "off"):
        options = {"gradient": gradient, "start": "lora_ga"}
        spec = scenario(options=options, root_examples=60, vectorize=vectorize).run_spec()
        simulation = prepare(spec)
        (step,) = simulation.steps(simulation.serial_pool())
        found.append(step.state.params - simulation.first.params)

    assert float((found[0] - found[1]).norm() / found[0].norm()) < 1e-4


@pytest.mark.slow
def test_a_probe_records_what_adapters_send_and_an_attack_takes_it(tmp_path):
    probe = {
        "name": "inverting_gradients",
        "client": 1,
        "rounds": [0],
        "labels_known": True,
        "max_iterations": 5,
    }
    keys = {"training": {"local_steps": 1, "batch_size": 1, "lr": 0.1}, "probes": [probe]}
    run = gauntlet.simulate(
        scenario(options={"start": "lora_ga"}, root_examples=60, **keys), tmp_path / "run"
    )

    assert len(run.gallery()) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rank": 0}, "rank must be at least 1, got 0"),
        ({"rank": 6, "start": "lora_ga"}, "at most half of a layer's 10 inputs or outputs, got 6"),
        ({"alpha": 0.0}, "alpha must be above 0 and finite, got 0.0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"dropout": 0.5, "gradient": "lora_pro"}, "dropout must be 0 with gradient = 'lora_pro'"),
        ({"targets": ["query"]}, r"targets: 'query' names no linear layer; there are: \d"),
        ({"targets": ["1", "3x"]}, r"targets: '3x' names no linear layer; there are: 1, 3"),
        ({"targets": []}, r"targets \[\] name no frozen linear layer; there are: 1, 3"),
        ({"trained": ["3.*", "haed.*"]}, "trained: 'haed.*' names no parameter; there are: 1.weight, "),
        ({"of": {"name": "lora", "base": "nf4"}}, "of must be a model without adapters, got one of model"),
        ({"of": {"hidden": [3]}}, "a model needs a name"),
    ],
)
def test_options_that_cannot_be_are_refused(options, words):
    with pytest.raises(GauntletError, match=words):
        prepare(scenario(options=options, root_examples=9).run_spec())


def test_a_layer_smaller_than_the_rank_has_an_adapter_of_its_own_size():
    shapes = [slot.shape for slot in Layout.of(net(rank=16)).parameters]

    assert shapes == [(16, 64), (32, 16), (10, 32), (10, 10)]


def test_what_is_trained_besides_is_sent_whole():
    made = net(rank=4, trained=("3.*",))
    named = [slot.name for slot in Layout.of(made).parameters]

    assert named == ["1.lora_down.weight", "1.lora_up.weight", "3.weight", "3.bias"]
