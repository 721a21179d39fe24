"""Whole runs of algorithms that add a term to every example's loss: MOON, and one from outside the tree."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from plain_nets import features, federated
from torch import nn
from torch.nn.functional import cosine_similarity, cross_entropy, kl_div

from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import GauntletError, PluginError
from gauntlet.core.trees import equal
from gauntlet.server.checkpoint import load_checkpoint, save_checkpoint
from gauntlet.server.cohort.sampling import sample_cohort
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

MOON = PluginSpec("moon", {"mu": 2.0})
DISTILLATION = PluginSpec(f"{Path(__file__).parents[1]}/outside/distillation.py:Distillation")
WITHOUT_NOISE = PluginSpec("dp_sgd", {"clip_norm": 1e4, "noise_multiplier": 1e-9, "delta": 1e-4})
UNIFORM = PluginSpec("mean", {"weighting": "uniform"})


def states(spec, pool=None, state=None):
    simulation = prepare(spec)
    pool = pool(simulation) if pool else simulation.serial_pool()
    found = [step.state for step in simulation.steps(pool, state)]
    pool.close()
    return found


def fields(state):
    return {name: getattr(state, name) for name in state.__dataclass_fields__}


@pytest.fixture
def net(small):
    """Full-batch steps of a small network on digits, of whose clients some take part."""
    training = LocalTraining(local_steps=4, batch_size=0, lr=0.5)
    model = PluginSpec("mlp", {"hidden": [12, 6], "activation": "tanh"})
    sampler = PluginSpec("fixed_size", {"cohort_size": 3})
    return small(rounds=4, num_clients=5, training=training, model=model, sampler=sampler, defense=UNIFORM)


def contrast(local, received, before, x, y):
    """The formula as it is written, mu = 2, tau = 0.5."""
    with torch.no_grad():
        frozen = [features(model, x) for model in (received, before)]
    near, far = ((cosine_similarity(features(local, x), z, dim=-1) / 0.5).exp() for z in frozen)
    return cross_entropy(local(x), y) + 2.0 * -(near / (near + far)).log().mean()


def distilled(local, received, before, x, y):
    with torch.no_grad():
        teacher = (received(x) / 2.0).softmax(dim=-1)
    more = kl_div((local(x) / 2.0).log_softmax(dim=-1), teacher, reduction="none").sum(dim=-1).mean()
    return cross_entropy(local(x), y) + more


def rightly(form):
    """The corrected losses as they are written, of labels that are wrong at a rate of .1."""
    noise = torch.full((10, 10), 0.1 / 9, dtype=torch.float64).fill_diagonal_(0.9)

    def objective(local, received, before, x, y):
        p = local(x).softmax(dim=-1)
        if form == "forward":
            return -(p @ noise)[torch.arange(len(y)), y].log().mean()
        return (-p.log() @ noise.inverse().T)[torch.arange(len(y)), y].mean()

    return PluginSpec("label_correction", {"form": form, "rate": 0.1, "least": None}), objective


@pytest.mark.parametrize("form", ["forward", "backward"])
def test_corrected_losses_are_followed_stack_by_stack(net, form):
    """An inverse in a traced step would end the run."""
    algorithm, objective = rightly(form)
    simulation = prepare(replace(net, algorithm=algorithm, sampler=PluginSpec("full"), rounds=2))
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, 10)
    ).double()
    nn.utils.vector_to_parameters(simulation.first.params.double(), model.parameters())
    clients = {i: (x.double(), y) for i in range(5) for x, y in [simulation.data.client(i)]}
    trace, _ = federated(model, clients, [list(range(5))] * 2, 4, 0.5, objective)
    found = [step.state for step in simulation.steps(simulation.serial_pool())]
    assert max(float((a.params - b).abs().max()) for a, b in zip(found, trace, strict=True)) < 1e-5


@pytest.mark.parametrize(
    ("algorithm", "objective"), [(MOON, contrast), (DISTILLATION, distilled)], ids=["moon", "outside"]
)
@pytest.mark.parametrize("way", [pytest.param("stacked", marks=pytest.mark.slow), "alone", "private"])
def test_the_engine_follows_an_independent_trace(net, algorithm, objective, way):
    """In plain torch and float64, with the run's cohorts and first weights; within 1e-5."""
    changes = {"alone": {"vectorize": "off"}, "private": {"privacy": WITHOUT_NOISE}}.get(way, {})
    simulation = prepare(replace(net, algorithm=algorithm, **changes))
    cohorts = [
        sample_cohort(simulation.plan.sampler, simulation.plan.sampling, 7, t).tolist() for t in range(4)
    ]
    first = simulation.first.params.double()
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, 10)
    ).double()
    nn.utils.vector_to_parameters(first, model.parameters())
    clients = {i: (x.double(), y) for i in range(5) for x, y in [simulation.data.client(i)]}
    trace, previous = federated(model, clients, cohorts, 4, 0.5, objective)
    found = [step.state for step in simulation.steps(simulation.serial_pool())]

    assert max(float((a.params - b).abs().max()) for a, b in zip(found, trace, strict=True)) < 1e-5
    if algorithm is MOON:
        assert set(found[-1].clients) == set(previous)
        assert max(float((found[-1].clients[i] - row).abs().max()) for i, row in previous.items()) < 1e-5
    plain = states(replace(net, **changes))[-1]
    assert float((plain.params - found[-1].params).abs().max()) > 1e-3


WAYS = {
    "stacked": {},
    "alone": {"vectorize": "off"},
    "a convolution": {"model": PluginSpec("lenet_sigmoid")},
    "private": {"privacy": PluginSpec("dp_sgd", {"clip_norm": 1.0, "noise_multiplier": 0.5, "delta": 1e-4})},
    "buffered": {
        "schedule": PluginSpec("buffered", {"buffer_size": 8, "concurrency": 8}),
        "network": PluginSpec("links", {"latency_seconds": 1.0, "jitter": 0.5}),
    },
    "a defense": {"defense": PluginSpec("krum", {"num_byzantine": 1})},
    "an attacker that steers": {"roles": (RoleSpec(PluginSpec("gradient_ascent"), count=2),)},
}


QUICK = ("stacked", "alone")


@pytest.mark.parametrize(
    "changes", [pytest.param(v, id=k, marks=[] if k in QUICK else pytest.mark.slow) for k, v in WAYS.items()]
)
def test_the_first_round_is_fedavgs_to_the_last_bit_and_so_is_every_one_at_mu_0(small, changes):
    """At a first visit the term has no gradient; with dropout and momentum, whole numbers of bits."""
    plain = states(small(**changes))
    moon = states(small(**changes, algorithm=MOON))
    nothing = states(small(**changes, algorithm=PluginSpec("moon", {"mu": 0.0})))

    assert torch.equal(moon[0].params, plain[0].params)
    assert not torch.equal(moon[1].params, plain[1].params)
    assert all(torch.equal(a.params, b.params) for a, b in zip(nothing, plain, strict=True))


def test_the_term_is_part_of_the_loss_that_clients_report(small):
    """mu ln 2 a step in the first round."""
    one = small(rounds=1, training=LocalTraining(local_steps=3, batch_size=8, lr=0.1))
    both = []
    for spec in (one, replace(one, algorithm=MOON)):
        (step,) = (s := prepare(spec)).steps(s.serial_pool())
        both.append(step.outcome.losses)
    assert (both[1] - both[0]).tolist() == pytest.approx([2 * 0.69314718] * 8, abs=1e-5)


def test_only_counted_visits_are_remembered_and_only_those_clients(small):
    spec = small(
        num_clients=12,
        algorithm=MOON,
        sampler=PluginSpec("fixed_size", {"cohort_size": 4}),
        network=PluginSpec("links", {"latency_seconds": 1.0, "jitter": 0.3, "dropout": 0.3}),
    )
    simulation, kept = prepare(spec), {}
    for step in simulation.steps(simulation.serial_pool()):
        sent, received = step.outcome.sent, step.outcome.received.client_ids.tolist()
        rows = dict(zip(sent.client_ids.tolist(), sent.vectors, strict=True))
        kept |= {i: step.outcome.broadcast.params + rows[i] for i in received}
        assert {i: row.tolist() for i, row in step.state.clients.items()} == {
            i: row.tolist() for i, row in kept.items()
        }


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", [MOON, DISTILLATION], ids=["moon", "outside"])
def test_ray_and_a_resumed_run_give_the_same_bits(small, tmp_path, ray_here, algorithm):
    spec = small(rounds=4, algorithm=algorithm, sampler=PluginSpec("poisson", {"sample_rate": 0.7}))
    whole = states(spec)
    on_ray = states(spec, lambda simulation: simulation.ray_pool(2))
    assert equal(fields(on_ray[-1]), fields(whole[-1]))
    save_checkpoint(tmp_path, whole[1], "run")
    again = states(spec, state=load_checkpoint(tmp_path, "run"))
    assert equal(fields(again[-1]), fields(whole[-1]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # of torch's own compiler
def test_a_compiled_step_agrees_with_the_traced_one(small):
    spec = small(rounds=2, algorithm=MOON)
    compiled = states(replace(spec, compile="on"))[-1]
    assert torch.allclose(compiled.params, states(spec)[-1].params, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"model": PluginSpec("logistic_regression")},
            "model 'logistic_regression' has no layer before a last",
        ),
        (
            {"model": PluginSpec("mlp", {"hidden": [8]}), "client_defense": PluginSpec("frozen_layers")},
            "'frozen_layers' lets be trained of model 'mlp' has no layer .*freeze fewer layers",
        ),
        (
            {"algorithm": PluginSpec(f"{__file__}:Elsewhere")},
            "frozen_models must be of received; got 'previous'",
        ),
        ({"model": PluginSpec(f"{__file__}:Batched")}, "not their batch statistics"),
    ],
)
def test_what_does_not_go_together_is_one_line(small, changes, line):
    with pytest.raises(GauntletError, match=line) as caught:
        prepare(small(**{"algorithm": MOON} | changes))
    assert "\n" not in str(caught.value)


class Batched:
    """A model with batch statistics."""

    def build(self, input_shape, num_classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, num_classes))


class Elsewhere:
    """Asks for a model that nobody remembers, or adds what does not fit."""

    plain = True

    def __init__(self, how="", frozen=("previous",)):
        self.how, self.frozen_models = how, tuple(frozen)

    def schedule(self, training):
        return training

    def correct(self, gradient, params, received):
        return gradient

    def added_loss(self, local, frozen, targets):
        if self.how == "raises":
            raise KeyError("nothing")
        return local.outputs if self.how == "shape" else local.outputs.sum()


@pytest.mark.parametrize("vectorize", ["on", "off"])
@pytest.mark.parametrize(
    ("how", "line"),
    [
        ("raises", "raised KeyError: 'nothing'"),
        ("shape", r"added_loss must return a tensor float32 \[\d+\], got Tensor float32 \[\d+, 10\]"),
        ("sum", r"added_loss must return a tensor float32 \[\d+\], got Tensor float32 \[\]"),
    ],
)
def test_an_addition_that_does_not_fit_is_one_line_that_names_the_plug_in(small, how, line, vectorize):
    algorithm = PluginSpec(f"{__file__}:Elsewhere", {"how": how, "frozen": ["received"]})
    with pytest.raises(PluginError, match=line) as caught:
        states(small(rounds=1, algorithm=algorithm, vectorize=vectorize))
    assert "\n" not in str(caught.value)
    assert "Elsewhere" in str(caught.value)


class Scaled(nn.Module):
    """A layer whose gradients have no factors: they are taken example by example."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 8))

    def forward(self, x):
        return torch.tanh(self.scale * x)


class Odd:
    def build(self, input_shape, num_classes):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 8), Scaled(), nn.Dropout(0.2), nn.Linear(8, num_classes)
        )


def test_a_layer_whose_gradients_have_no_factors_is_private_all_the_same(net):
    """Under a bound that nothing reaches, next to no noise, on full batches: as without a mechanism."""
    spec = replace(net, rounds=2, algorithm=MOON, model=PluginSpec(f"{__file__}:Odd"))
    private = states(replace(spec, privacy=WITHOUT_NOISE))[-1]
    assert torch.allclose(private.params, states(spec)[-1].params, atol=1e-5)


def test_batch_statistics_go_with_an_addition_that_asks_for_the_received_model_alone(small):
    last = states(small(rounds=2, model=PluginSpec(f"{__file__}:Batched"), algorithm=DISTILLATION))[-1]
    assert bool(last.params.isfinite().all())
