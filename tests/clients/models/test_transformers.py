"""Models and tokenizers of Hugging Face's library, where it is installed: new weights, and a folder's."""

import json

import pytest
import torch
from command_line import gauntlet
from letters import Letters
from phrases import Phrases

from gauntlet.clients.data.cola import Cola
from gauntlet.clients.models import MODELS, build_model
from gauntlet.clients.tasks.classification import Classification
from gauntlet.clients.tracing.example_step import ExampleStep
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.core.seeds import generator
from gauntlet.server.assembly.ingredients import make_data, make_model
from gauntlet.server.simulation import prepare
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import make_scenario

library = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
__all__ = ["gauntlet"]

HERE = "/".join(__file__.split("/")[:-3])
GPT = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 8}
BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 16,
}
LLAMA = {**BERT, "num_key_value_heads": 1}
DISTILBERT = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 16}
KINDS = {"gpt2": GPT, "bert": BERT, "roberta": BERT, "distilbert": DISTILBERT, "llama": LLAMA}
PHRASES = {
    "name": "phrases",
    "rounds": 2,
    "num_clients": 6,
    "data": f"{HERE}/support/phrases.py:Phrases",
    "partition": "natural",
    "model": {"name": "hf:gpt2", "weights": "random", "sizes": GPT},
    "training": {"local_steps": 2, "batch_size": 8, "lr": 0.3},
    "runtime": {"pool": "serial"},
}
LETTERS = {**PHRASES, "data": f"{HERE}/support/letters.py:Letters"}
EXAMPLES = {"privacy": {"name": "dp_sgd", "clip_norm": 1.0, "noise_multiplier": 0.5, "delta": 1e-3}}


def made(kind, data=None, **options):
    new = {"weights": "random", "sizes": KINDS.get(kind, {})} if kind in KINDS else {}
    pile = (data or Phrases()).load()
    outputs = (6, 7) if isinstance(data, Letters) else (2,)
    return build_model(f"hf:{kind}", {**new, **options}, pile, generator(0, "model"), outputs).eval(), pile


def last(values, **changes):
    simulation = prepare(make_scenario({**values, **changes}).run_spec())
    *_, step = simulation.steps(simulation.serial_pool())
    return step.state.params, step.score, step.outcome.epsilon


@pytest.mark.parametrize("kind", KINDS)
def test_padding_says_nothing(kind):
    """Oracle: the sentence cut behind its last token, and the library's own class on it."""
    model, pile = made(kind)
    x = torch.from_numpy(pile.test_x[:6])
    for p in model.parameters():  # new weights make logits that hardly depend on the sentence
        torch.nn.init.normal_(p, std=0.3)
    whole = model(x)
    for n, row in enumerate(x):
        size = int((row != 0).sum())
        assert torch.allclose(model(row[None, :size])[0], whole[n], rtol=1e-3, atol=1e-4)
        alone = model.net(input_ids=row[None, :size], attention_mask=torch.ones(1, size, dtype=torch.int64))
        assert torch.allclose(alone.logits[0], whole[n], rtol=1e-3, atol=1e-4)
    other = x.clone()
    other[:, 1] = (other[:, 1] - 4) % 7 + 5
    assert not torch.isclose(model(other), whole).all(dim=1).any()


@pytest.mark.parametrize("data", [Phrases(), Letters()], ids=["classes", "next"])
def test_what_is_written_is_what_the_library_reads_and_a_scenario_takes(data, tmp_path):
    """Oracle: the library's own class from the folder. GPT-2's layers are turned there, and not here."""
    model, pile = made("gpt2", data)
    x = torch.from_numpy(pile.test_x[:6])
    model.save_pretrained(tmp_path / "saved")
    own = "AutoModelForCausalLM" if isinstance(data, Letters) else "AutoModelForSequenceClassification"
    theirs = getattr(library, own).from_pretrained(tmp_path / "saved").eval()
    with torch.no_grad():
        wanted = theirs(input_ids=x, attention_mask=(x != 0).long() if own.endswith("ion") else None).logits
    again, _ = made(tmp_path / "saved", data)

    assert theirs.transformer.h[0].attn.c_attn.weight.shape == (16, 48)
    assert model.net.transformer.h[0].attn.c_attn.weight.shape == (48, 16)
    assert torch.allclose(model(x), wanted, atol=1e-5)
    assert torch.equal(again(x), model(x))


def test_new_weights_follow_from_the_stream_and_nothing_is_dropped():
    (first, pile), (again, _) = made("bert"), made("bert")
    x = torch.from_numpy(pile.test_x[:6])

    assert torch.equal(first(x), again(x))
    assert torch.equal(first.train()(x), first.train()(x))
    assert first.net.config.hidden_dropout_prob == first.net.config.attention_probs_dropout_prob == 0


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_every_examples_gradient_is_that_of_the_example_alone(kind):
    """Oracle: autograd on one sentence at a time."""
    model, pile = made(kind)
    x, y = torch.from_numpy(pile.x[:3]), torch.tensor([0, 1, 1])
    named, form = dict(model.named_parameters()), Classification().form("cross_entropy")
    step = ExampleStep(model, list(named), form)
    with torch.no_grad():
        params = [p.detach()[None] for p in named.values()]
        gradients, losses = step(params, x[None], form.targets(y, torch.ones(3), 2)[None])
    for n in range(3):
        loss = torch.nn.functional.cross_entropy(model(x[n : n + 1]), y[n : n + 1])
        alone = torch.autograd.grad(loss, list(named.values()), materialize_grads=True, allow_unused=True)
        assert float(losses[0, n]) == pytest.approx(float(loss.detach()), rel=1e-5)
        for gradient, wanted in zip(gradients, alone, strict=True):
            home = torch.zeros_like(wanted)[None]
            gradient.add_to(home, torch.eye(3)[n : n + 1])
            assert torch.allclose(home[0], wanted, atol=1e-6)


@pytest.mark.parametrize(
    "changes", [{}, pytest.param(EXAMPLES, marks=pytest.mark.slow)], ids=["plain", "dp_sgd"]
)
@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_a_stack_gives_the_updates_of_one_client_at_a_time(kind, changes):
    """With plain SGD; the library looks its positions up once for all sentences."""
    model = {"name": f"hf:{kind}", "weights": "random", "sizes": KINDS[kind]}
    together, alone = (last(PHRASES, model=model, vectorize=v, **changes)[0] for v in ("on", "off"))

    assert torch.allclose(together, alone, atol=1e-6)


@pytest.mark.slow
def test_clients_learn_to_classify_and_to_forecast():
    adam = {"local_steps": 6, "batch_size": 8, "lr": 0.01, "optimizer": "adam"}
    _, score, epsilon = last(PHRASES, training=adam, rounds=6)
    _, text, _ = last(LETTERS, training=adam, rounds=6)

    assert score.accuracy > 0.8
    assert text.metrics["perplexity"] < 5.5
    assert epsilon.value is None


@pytest.mark.parametrize("values", [PHRASES, LETTERS], ids=["classes", "next"])
def test_a_probe_finds_the_sentence_of_a_step(values, tmp_path):
    """`dager` on three blocks of GPT-2, of which one layer has queries, keys and values."""
    sizes = {**GPT, "n_embd": 32, "n_layer": 3, "tie_word_embeddings": False}
    one = {"training": {"local_steps": 1, "batch_size": 1, "lr": 0.5}, "rounds": 1}
    model = {"name": "hf:gpt2", "weights": "random", "sizes": sizes}
    probed = {**one, "model": model, "probes": [{"name": "dager", "rounds": [0]}]}
    (found,) = simulate(make_scenario({**values, **probed}), tmp_path / "run").gallery()
    seen = (found.truth[0] != 0).sum() - (values is LETTERS)  # the last token has no forecast of its own

    assert (found.rebuilt[0] == found.truth[0])[:seen].all()


def test_a_scenario_begins_with_a_folders_weights_and_a_run_goes_back_into_one(tmp_path):
    model, pile = made("gpt2")
    model.save_pretrained(tmp_path / "begun")
    values = {**PHRASES, "model": f"hf:{tmp_path}/begun"}
    spec = make_scenario(values).run_spec()
    begun = make_model(spec, make_data(spec))
    run = simulate(make_scenario(values), tmp_path / "run")
    run.model().save_pretrained(tmp_path / "trained")
    trained, _ = made(tmp_path / "trained")
    x = torch.from_numpy(pile.test_x[:6])

    for (name, one), (_, two) in zip(begun.named_parameters(), model.named_parameters(), strict=True):
        assert torch.equal(one, two), name
    assert not torch.allclose(trained(x), model(x), atol=1e-3)
    assert torch.allclose(trained(x), run.model()(x), atol=1e-6)


@pytest.mark.parametrize(("pad", "end", "filled"), [(None, [3, 5], 3), (-1, 4, 4), (2, 4, 2)])
def test_a_folder_fills_up_with_its_padding_or_its_first_end_of_text(tmp_path, pad, end, filled):
    made("gpt2")[0].save_pretrained(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    told = {"pad_token_id": pad, "eos_token_id": end, "bos_token_id": None}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | told))

    assert made(tmp_path / "model")[0].padding == filled


def test_a_folders_own_code_is_not_run(tmp_path):
    made("gpt2")[0].save_pretrained(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSequenceClassification": "evil.Evil", "AutoConfig": "evil.Evil"}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    (tmp_path / "model" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")

    model, _ = made(tmp_path / "model")
    assert type(model.net).__name__ == "GPT2ForSequenceClassification"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("kind", "data", "options", "words"),
    [
        ("gpt2", Phrases(), {"sizes": {"n_embed": 16}}, "unknown size 'n_embed'; did you mean 'n_embd'"),
        ("gpt2", Phrases(), {"weights": "pretrained"}, "sizes need weights = 'random', got n_embd"),
        ("bert", Letters(), {}, "bert sees later tokens, and cannot forecast them"),
        ("t5", Phrases(), {"weights": "random"}, "t5 reads one sequence and writes another"),
        ("gpt2", Phrases(), {"sizes": {**GPT, "n_positions": 4}}, "it has 4 positions, and a sequence has 8"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(kind, data, options, words):
    with pytest.raises((ScenarioError, PluginError), match=words) as caught:
        made(kind, data, **options)
    assert "\n" not in str(caught.value)


def test_a_vocabulary_that_is_too_small_is_refused(tmp_path):
    made("gpt2")[0].save_pretrained(tmp_path / "small")
    pile = type("Data", (), {"name": "long", "input_shape": (8,), "num_classes": 2, "num_tokens": 40})
    pile.mean = pile.std = ()
    with pytest.raises(ScenarioError, match="it knows 12 tokens, and the data have 40"):
        build_model(f"hf:{tmp_path}/small", {}, pile(), generator(0, "model"), (2,))


def test_floats_are_refused():
    with pytest.raises(ValueError, match=r"sequences of tokens \[S\], got inputs \[20\] of floats"):
        MODELS.build("hf:gpt2", {"weights": "random"}).build((20,), 2, 0)


def test_offline_and_absent_is_one_line_and_exit_code_2(gauntlet, tmp_path, monkeypatch):
    monkeypatch.setenv("GAUNTLET_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    scenario = f'data = "{PHRASES["data"]}"\nnum_clients = 6\nrounds = 1\nmodel = "hf:nobody/nothing"\n'
    (tmp_path / "absent.toml").write_text(scenario)

    assert "the hub is not asked: offline is set" in gauntlet("run", "absent.toml").refusal()


def test_sentences_are_the_tokens_of_a_folders_tokenizer(tmp_path, monkeypatch):
    """By hand: the cat sat are 5, 6, 7; the tokenizer puts 2 before and 3 behind, and fills up with 0."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = {w: n for n, w in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat"))}
    own = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    own.normalizer, own.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    own.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    library.PreTrainedTokenizerFast(tokenizer_object=own, **names).save_pretrained(tmp_path / "own")
    (tmp_path / "own" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "cola").mkdir()
    for file in ("in_domain_train.tsv", "in_domain_dev.tsv"):
        (tmp_path / "cola" / file).write_text("a\t1\t\tThe cat sat.\nb\t0\t\tSat the the the the cat\n")
    monkeypatch.setenv("GAUNTLET_DATA", str(tmp_path))
    pile = Cola(length=7, tokenizer=f"hf:{tmp_path}/own").load()

    assert (pile.num_tokens, pile.fitted) == (8, ())
    assert pile.x.tolist() == [[2, 5, 6, 7, 1, 3, 0], [2, 7, 5, 5, 5, 5, 3]]
