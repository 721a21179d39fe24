"""Sentences classified from scenario to tables: with noise, codecs, attackers, a probe, and in stacks."""

from pathlib import Path

import pytest
import torch
from outsiders import bits

from gauntlet.core.errors import ScenarioError
from gauntlet.server.recording.replays import truth_of
from gauntlet.server.simulation import prepare
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import load_scenario, make_scenario

PHRASES = f"{Path(__file__).parents[1] / 'support' / 'phrases.py'}:Phrases"
SENTENCES = {
    "name": "sentences",
    "rounds": 8,
    "num_clients": 6,
    "data": PHRASES,
    "partition": "natural",
    "model": {"name": "tiny_bert", "width": 16, "heads": 2, "blocks": 1, "inner": 16, "dropout": 0.1},
    "training": {"local_steps": 6, "batch_size": 8, "lr": 0.01, "optimizer": "adam"},
    "runtime": {"pool": "serial"},
}
EXAMPLES = {
    "privacy": {"name": "dp_sgd", "clip_norm": 1.0, "noise_multiplier": 0.5, "delta": 1e-3},
    "training": {"local_steps": 6, "batch_size": 8, "lr": 0.5},
}
TOPK = {"codec": {"name": "error_feedback", "codec": {"name": "topk", "density": 0.1}}}
FLIPPED = {
    "defense": {"name": "median"},
    "attacks": [{"name": "label_flip_all", "num_classes": 2, "count": 1}],
}
DIRICHLET = {"partition": {"name": "dirichlet", "alpha": 1.0}}
ONE = {"training": {"local_steps": 1, "batch_size": 1, "lr": 0.5}}


def last(changes, rounds=8):
    """Return the parameters and the score after the last round."""
    simulation = prepare(make_scenario({**SENTENCES, "rounds": rounds, **changes}).run_spec())
    *_, step = simulation.steps(simulation.serial_pool())
    return step.state.params, step.score, step.outcome.epsilon


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "changes",
    [{}, FLIPPED, pytest.param(TOPK, marks=SLOW), pytest.param(DIRICHLET, marks=SLOW)],
    ids=["plain", "flipped", "topk", "dealt"],
)
def test_it_learns_whatever_clients_send_and_some_lie(changes):
    """Half of the test sentences are of either class."""
    _, score, _ = last(changes)

    assert score.accuracy > 0.8


@pytest.mark.parametrize("changes", [{}, EXAMPLES], ids=["plain", "dp_sgd"])
def test_a_stack_gives_the_updates_of_one_client_at_a_time(changes):
    """With plain SGD; Adam would make something of what rounding leaves."""
    changes = {**changes, "training": {"local_steps": 2, "batch_size": 8, "lr": 0.3}}
    together, alone = (last({**changes, "vectorize": v}, 2)[0] for v in ("on", "off"))

    assert torch.allclose(together, alone, atol=1e-6)


def test_private_examples_have_an_epsilon():
    _, score, epsilon = last(EXAMPLES, 1)

    assert score.loss == pytest.approx(0.69, abs=0.4)
    assert epsilon.value is not None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "mlp"}, r"'mlp' does not fit phrases: inputs \[8\] of 12 tokens, 2 classes"),
        (
            {"data": "digits", "partition": "iid"},
            r"does not fit digits: .* sequences of tokens \[S\], got inputs \[1, 8, 8\] of floats",
        ),
        ({"attacks": [{"name": "pixel_backdoor", "count": 1}]}, "changes inputs that are floats"),
        ({"task": "language_model"}, "inputs must be sequences of tokens"),
    ],
)
def test_what_does_not_go_with_sentences_is_refused_in_one_line(changes, words):
    with pytest.raises(ScenarioError, match=words) as caught:
        prepare(make_scenario({**SENTENCES, **changes}).run_spec())
    assert "\n" not in str(caught.value)


def test_a_probe_reads_a_padded_sentence_out_of_one_step(tmp_path):
    """`dager` of an encoder of three blocks; padding stands at every position behind the end."""
    model = {"name": "tiny_bert", "width": 32, "heads": 2, "blocks": 3, "inner": 32}
    told = {"name": "dager", "rounds": [0], "padding": 0, "last": 3}
    probed = {**ONE, "rounds": 1, "model": model, "probes": [told]}
    run = simulate(make_scenario({**SENTENCES, **probed}), tmp_path / "run")
    (found,) = run.gallery()

    assert (found.truth[0] == 0).any()
    assert found.rebuilt.shape == found.truth.shape == (1, 8)
    assert (found.rebuilt == found.truth).all()
    (place,) = {file.parent for file in (tmp_path / "run").rglob("truth.safetensors")}
    assert truth_of(place).framing == (0, 2, 3)


@pytest.mark.slow
def test_ray_gives_the_bits_of_one_process(tmp_path, ray_here):
    one = simulate(make_scenario({**SENTENCES, **EXAMPLES}), tmp_path / "one").folder
    ray = {**SENTENCES, **EXAMPLES, "runtime": {"pool": "ray", "num_workers": 2}}

    assert bits(simulate(make_scenario(ray), tmp_path / "ray").folder) == bits(one)


def test_the_shipped_scenario_is_ready_to_run(real_data):
    real_data("cola")
    simulation = prepare(load_scenario("sentiment", {"rounds": 1, "data": "cola"}).run_spec())

    assert simulation.evaluator.task.name == "classification"
