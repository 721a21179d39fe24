"""A language model from scenario to tables: on any pool, after a kill, with noise, codecs and attackers."""

from math import exp
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from letters import Letters
from outsiders import bits, killed
from safetensors.torch import load_file, save_file
from unsealed import unseal

from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.core.layout import Layout
from gauntlet.server.assembly.ingredients import make_data, make_model
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec
from gauntlet.sims.plots import draw, find
from gauntlet.sims.progress import headline
from gauntlet.sims.reconstruct import AttackJob, carry_out
from gauntlet.sims.records import ROUNDS, rounds_schema
from gauntlet.sims.run import resume, simulate
from gauntlet.sims.scenario import make_scenario
from gauntlet.sims.summary import print_summary, summary_rows

LETTERS = f"{Path(__file__).parents[1] / 'support' / 'letters.py'}:Letters"
TEXT = {
    "name": "text",
    "rounds": 4,
    "num_clients": 6,
    "data": LETTERS,
    "partition": "natural",
    "model": {"name": "tiny_gpt", "width": 8, "heads": 2, "blocks": 1, "dropout": 0.1},
    "training": {"local_steps": 4, "batch_size": 8, "lr": 0.02, "optimizer": "adam"},
    "sampler": {"name": "fixed_size", "cohort_size": 4},
    "checkpoint": {"every": 1},
    "runtime": {"pool": "serial"},
}
GAUSSIAN = {
    "privacy": {"name": "gaussian", "clip_norm": 1.0, "noise_multiplier": 0.3, "delta": 1e-3},
    "sampler": {"name": "poisson", "sample_rate": 0.6},
    "defense": {"name": "mean", "weighting": "fixed"},
}
TOPK = {"codec": {"name": "error_feedback", "codec": {"name": "topk", "density": 0.1}}}
KRUM = {
    "defense": {"name": "multi_krum", "num_byzantine": 1},
    "attacks": [{"name": "sign_flip", "count": 1}],
    "sampler": "full",
}
PROBED = {
    "training": {"local_steps": 1, "batch_size": 1, "lr": 0.5},
    "model": {"name": "tiny_gpt", "width": 8, "heads": 2, "blocks": 1},
    "probes": [{"name": "embedding_rows", "rounds": [0, 2]}],
}
EXAMPLES = {"privacy": {"name": "dp_sgd", "clip_norm": 1.0, "noise_multiplier": 0.5, "delta": 1e-3}}


def last(changes, rounds=4):
    """Return the parameters and the score after the last round."""
    simulation = prepare(make_scenario({**TEXT, "rounds": rounds, **changes}).run_spec())
    *_, step = simulation.steps(simulation.serial_pool())
    return step.state.params, step.score, step.outcome.epsilon


def held():
    """Return the test sequences and what follows."""
    pile = Letters().load()
    return pile.test_x, pile.test_y


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return simulate(make_scenario(TEXT), tmp_path_factory.mktemp("text") / "run")


def test_perplexity_falls_from_the_number_of_tokens(run):
    """A model that knows nothing has perplexity 7; e to the loss in every row."""
    rounds = run.rounds

    assert rounds["perplexity"].iloc[-1] < 5.5 < rounds["perplexity"].iloc[0] < 7.5
    assert rounds["perplexity"].tolist() == pytest.approx([exp(loss) for loss in rounds["loss"]])
    assert 1 / 7 < rounds["accuracy"].iloc[-1] < 1


def test_the_measure_is_a_column_behind_the_errors_of_this_run_alone(run):
    columns = list(pd.read_parquet(run.folder / "rounds.parquet"))
    place = columns.index("mae") + 1

    assert columns[place] == "perplexity"
    assert [name for name in columns if name != "perplexity"] == ROUNDS.names
    assert rounds_schema(()) == ROUNDS
    with pytest.raises(PluginError, match="a task measures 'loss', which is the name of another column"):
        rounds_schema(("loss",))
    with pytest.raises(PluginError, match="a task measures 'f1'"):
        rounds_schema(("f1", "f1"))


def test_a_round_that_is_not_scored_has_no_measure(tmp_path):
    scored = simulate(make_scenario({**TEXT, "evaluation": {"every": 3}}), tmp_path / "run").rounds
    assert scored["perplexity"].notna().tolist() == [False, False, True, True]


def test_the_measure_is_told_drawn_and_summed_up(run, capsys):
    (row,) = summary_rows([run])
    print_summary([run])
    figure = draw("metrics", [run])
    _, table = find("metrics")([run])

    assert row["metrics"]["perplexity"]["perplexity"] == pytest.approx(run.rounds["perplexity"].iloc[-1])
    assert "perplexity" in capsys.readouterr().out
    assert [axes.get_ylabel() for axes in figure.axes] == ["Test perplexity"]
    assert table["value"].tolist() == pytest.approx(run.rounds["perplexity"].tolist())
    _, score, _ = last({}, 1)
    assert headline(score) == ("perplexity", score.metrics["perplexity"])


@pytest.mark.parametrize(
    "changes", [{}, pytest.param(EXAMPLES, marks=pytest.mark.slow)], ids=["plain", "dp_sgd"]
)
def test_a_stack_gives_the_updates_of_one_client_at_a_time(changes):
    """With plain SGD; Adam would make something of what rounding leaves."""
    changes = {**changes, "training": {"local_steps": 2, "batch_size": 8, "lr": 0.3}}
    together, alone = (last({**changes, "vectorize": v}, 2)[0] for v in ("on", "off"))

    assert torch.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [GAUSSIAN, TOPK, KRUM, pytest.param(EXAMPLES, marks=pytest.mark.slow)],
    ids=["gaussian", "topk", "krum", "dp_sgd"],
)
def test_it_learns_with_noise_compression_and_attackers(changes):
    _, score, epsilon = last(changes)

    assert score.metrics["perplexity"] < 6.9
    assert (epsilon.value is not None) == ("privacy" in changes)


def test_a_probe_reads_a_clients_sequence_out_of_one_step(tmp_path, capsys):
    """Six positions of width 8: the sequence, and the tokens that follow, exactly."""
    run = simulate(make_scenario({**TEXT, **PROBED}), tmp_path / "run")
    print_summary([run])

    assert len(run.gallery()) == 2
    for found in run.gallery():
        assert found.truth.shape == found.rebuilt.shape == found.labels.shape == (1, 6)
        assert found.truth.dtype == found.rebuilt.dtype == "int64"
        assert found.tokens.tolist() == [1.0]
        assert (found.rebuilt == found.truth).all()
        assert (found.labels == found.truth_labels).all()
    assert "1.00 (C)" in capsys.readouterr().out
    figure = draw("reconstructions", [run])
    assert "100 % right" in [axes.get_xlabel() for axes in figure.axes]
    assert "rebuilt 1: <mark>" in (tmp_path / "run" / "report.html").read_text()


def test_a_recording_of_tokens_is_attacked_later(tmp_path):
    """By its probe's attack, whatever the truth says, and by one on floats, which is refused in one line."""
    run = simulate(make_scenario({**TEXT, **PROBED}), tmp_path / "run")
    place = sorted((run.folder / "observations").iterdir())[0]
    again = carry_out(AttackJob((place,), PluginSpec("embedding_rows"), 0, tmp_path / "later", "again"))
    first = sorted((run.folder / "reconstructions").iterdir())[0]

    assert (again / "tensors.safetensors").read_bytes() == (first / "tensors.safetensors").read_bytes()
    truth = load_file(place / "truth.safetensors")
    save_file(
        {name: torch.zeros_like(value) for name, value in truth.items()}, unseal(place) / "truth.safetensors"
    )
    blind = carry_out(AttackJob((place,), PluginSpec("embedding_rows"), 0, tmp_path / "later", "blind"))
    assert load_file(blind / "tensors.safetensors")["x"].equal(load_file(again / "tensors.safetensors")["x"])
    with pytest.raises(PluginError, match="DLG works on inputs that are floats, got tokens"):
        carry_out(AttackJob((place,), PluginSpec("dlg"), 0, tmp_path / "later", "dlg"))


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        ({"name": "dlg"}, "DLG works on inputs that are floats, got tokens"),
        ({"name": "bias_counts"}, "BiasCounts works on inputs that are floats, got tokens"),
        ({"name": "embedding_rows", "labels_known": True}, "does not use them"),
    ],
)
def test_a_probe_that_could_make_nothing_of_text_is_refused(probe, words, tmp_path):
    with pytest.raises(PluginError, match=words):
        simulate(make_scenario({**TEXT, **PROBED, "probes": [probe]}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_sequences_longer_than_the_model_is_wide_are_refused_in_one_line(tmp_path):
    """Six tokens, four values each; before anybody trains."""
    narrow = {**PROBED["model"], "width": 4}
    with pytest.raises(PluginError, match="got 6 positions of width 4") as caught:
        simulate(make_scenario({**TEXT, **PROBED, "model": narrow}), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{}, PROBED, GAUSSIAN, TOPK, KRUM, EXAMPLES], ids=lambda c: next(iter(c), "plain")
)
def test_ray_gives_the_bits_of_one_process(changes, tmp_path, ray_here):
    one = simulate(make_scenario({**TEXT, **changes}), tmp_path / "one").folder
    ray = {**TEXT, **changes, "runtime": {"pool": "ray", "num_workers": 2}}

    assert bits(simulate(make_scenario(ray), tmp_path / "ray").folder) == bits(one)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [PROBED, TOPK], ids=["probed", "topk"])
def test_killed_and_resumed_it_gives_the_bits_of_a_run_that_never_stopped(changes, tmp_path):
    values = {**TEXT, "rounds": 30, **changes}
    whole = simulate(make_scenario(values), tmp_path / "whole").folder
    dead = killed(values, tmp_path)
    resume(dead)

    assert bits(dead) == bits(whole)


def test_posterior_samples_of_text_are_asked_for_every_position(tmp_path):
    """Oracle: torch's cross-entropy of the model that the last sample is, over all positions."""
    sampling = {"algorithm": {"name": "dsgld", "burn_in": 0}, "training": {"local_steps": 2, "lr": 1e-4}}
    values = {k: v for k, v in {**TEXT, **sampling}.items() if k != "sampler"}
    run = simulate(make_scenario(values), tmp_path / "run")

    spec = make_scenario(values).run_spec()
    model = make_model(spec, make_data(spec)).eval()
    views = Layout.of(model).views(torch.from_numpy(np.load(run.folder / "samples.npy")[-1]))
    x, y = (torch.from_numpy(part) for part in held())
    with torch.no_grad():
        logits = torch.func.functional_call(model, views, (x,))
    wanted = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())

    assert run.predictive is not None
    assert run.predictive["log_likelihood"].iloc[-1] == pytest.approx(-float(wanted), rel=1e-5)
    assert 0 < run.predictive["predictive_accuracy"].iloc[-1] < 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"partition": "dirichlet"},
            "letters has several labels an example, and partition Dirichlet deals by",
        ),
        ({"model": "mlp"}, r"'mlp' does not fit letters: inputs \[6\] of 7 tokens, \[6, 7\] outputs"),
        (
            {"attacks": [{"name": "label_flip", "count": 1}]},
            r"'label_flip' works on labels, and letters has lab",
        ),
        ({"attacks": [{"name": "pixel_backdoor", "count": 1}]}, "'pixel_backdoor' works on labels"),
        (
            {"attacks": [{"name": "unreliable", "count": 1}]},
            "changes inputs that are floats, and those of lett",
        ),
        (
            {"task": "classification"},
            "task 'classification' does not go with letters: an example must have one",
        ),
        ({"task": "regression"}, "the labels must be real-valued targets, and letters has labels of shape"),
        ({"training": {"loss": "mse"}}, "training.loss 'mse' does not go with labels of shape"),
        (
            {"algorithm": "heterofl", "defense": {"weighting": "uniform"}},
            "no rule for the channels of Decoder",
        ),
    ],
)
def test_what_does_not_go_with_text_is_refused_in_one_line(changes, words):
    with pytest.raises(ScenarioError, match=words):
        prepare(make_scenario({**TEXT, **changes}).run_spec())


def test_the_shipped_scenario_is_ready_to_run(real_data):
    from gauntlet.sims.scenario import load_scenario

    real_data("tiny_shakespeare")
    simulation = prepare(load_scenario("shakespeare", {"rounds": 1}).run_spec())

    assert simulation.choice.stacked
    assert simulation.evaluator.task.name == "language_model"
