"""A server that trains on notes: what moves, what stays, what ordinary sentences lose, and in a run."""

import pytest
import torch

from gauntlet.attacks.servers.personal_notes import PersonalNotes, _sentences
from gauntlet.clients.models.lora import Lora
from gauntlet.core.errors import GauntletError
from gauntlet.core.people import NUMBER, TOKENS
from gauntlet.core.seeds import generator, seeded_torch
from gauntlet.server.simulation import prepare
from gauntlet.sims.scenario import make_scenario

GPT = {"name": "tiny_gpt", "width": 16, "blocks": 1, "heads": 2}
SHORT = {"pretraining": 20, "steps": 10, "batch_size": 8}


def model():
    with seeded_torch(generator(0, "model")):
        return Lora(of=GPT, rank=4, targets=("*query", "*value")).build((32,), len(TOKENS))


def test_the_models_own_weights_are_trained_and_adapters_are_not():
    before, (after, told) = model(), PersonalNotes(**SHORT).rebuild(model())
    moved = {
        n for (n, p), q in zip(before.named_parameters(), after.parameters(), strict=True) if not p.equal(q)
    }

    assert {n for n, _ in before.named_parameters()} - moved == {
        f"blocks.0.{layer}.lora_{part}.weight" for layer in ("query", "value") for part in ("down", "up")
    }
    assert told["loss_before"] < 4.9  # ln 133 of a model that knows nothing
    assert [p.requires_grad for p in before.parameters()] == [p.requires_grad for p in after.parameters()]


def test_adapters_may_be_planted():
    made, _ = PersonalNotes(**SHORT, adapter_std=0.05).rebuild(model())
    up = made.blocks[0].value.lora_up.weight.detach()

    assert float(up.std()) == pytest.approx(0.05, rel=0.3)
    assert not model().blocks[0].value.lora_up.weight.any()


def test_training_ends_where_ordinary_sentences_suffer():
    """A tolerance of nothing at a step that is much too long: it looks after 25 steps, and stops."""
    long = PersonalNotes(pretraining=5, steps=400, lr=0.3, tolerance=0.0, batch_size=4)
    _, told = long.rebuild(model())

    assert told["loss_after"] > told["loss_before"]


def test_a_share_of_the_sentences_has_a_note():
    rows = _sentences(generator(0, "rows"), 400, 0.5, 0.25)

    assert float((rows == NUMBER["[NOTE]"]).any(dim=1).double().mean()) == pytest.approx(0.25, abs=0.06)
    assert not (_sentences(generator(0, "rows"), 100, 0.0, 0.0) == NUMBER["[NOTE]"]).any()


@pytest.mark.slow
def test_clients_train_on_what_it_hands_out_and_central_privacy_does_not_hold():
    values = {
        "name": "notes", "rounds": 1, "num_clients": 4, "data": {"name": "people", "people": 4},
        "partition": "natural", "model": {"name": "lora", "of": GPT, "rank": 4},
        "server": {"name": "personal_notes", **SHORT}, "training": {"local_steps": 1, "lr": 0.1},
        "runtime": {"pool": "serial"},
    }  # fmt: skip
    simulation = prepare(make_scenario(values).run_spec())
    (step,) = simulation.steps(simulation.serial_pool())

    assert not torch.equal(step.state.params, simulation.first.params)
    assert not simulation.plan.honest
    assert simulation.plan.inserted["server"] == "personal_notes"


def test_a_model_of_other_tokens_is_refused():
    values = {
        "name": "notes", "rounds": 1, "num_clients": 4, "data": "digits", "model": "mlp",
        "server": "personal_notes",
    }  # fmt: skip
    with pytest.raises(GauntletError, match="a model of the 133 tokens of data set people"):
        prepare(make_scenario(values).run_spec())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": -1}, "steps must be at least 0, got -1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"share": 1.5}, r"share must be in \[0, 1\], got 1.5"),
        ({"lr": 0.0}, "lr must be above 0"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        PersonalNotes(**options)
