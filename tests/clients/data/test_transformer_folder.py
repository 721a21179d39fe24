"""Which folders are read, and what is said of others, before the library sees them."""

import json
import os
import sys
from types import SimpleNamespace

import pytest

from gauntlet.clients.data.cola import Cola
from gauntlet.clients.data.transformer_folder import quiet, transformer_folder
from gauntlet.clients.models import MODELS
from gauntlet.clients.models.hub_model import padding_of
from gauntlet.core.errors import PluginError, ScenarioError

INDEX = "model.safetensors.index.json"


def folder(place, files=("model.safetensors",), **config):
    place.mkdir(parents=True, exist_ok=True)
    (place / "config.json").write_text(json.dumps({"model_type": "gpt2", **config}))
    for file in files:
        (place / file).write_bytes(b"")
    return place


def test_a_folder_of_safetensors_is_taken_and_without_weights_one_that_has_none(tmp_path):
    whole, bare = folder(tmp_path / "whole"), folder(tmp_path / "bare", files=())
    (whole / INDEX).write_text(json.dumps({"weight_map": {"wte": "model.safetensors"}}))

    assert transformer_folder(str(whole), weights=True) == whole
    assert transformer_folder(str(bare), weights=False) == bare


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"files": ("pytorch_model.bin",)}, r"holds no .safetensors, and no other weights are read \(they"),
        ({"files": ("model.safetensors", "adapter_config.json")}, "holds an adapter, which names another"),
        ({"quantization_config": {"quant_method": "hub"}}, "is quantised, and clients train float32"),
    ],
)
def test_what_is_not_read_is_refused_in_one_line(tmp_path, made, words):
    place = folder(tmp_path / "model", **made)
    with pytest.raises(ScenarioError, match=words) as caught:
        transformer_folder(str(place), weights=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            '{"weight_map": {"wte": "../model.safetensors"}}',
            "names '../model.safetensors', which is no .safe",
        ),
        ('{"weight_map": {"wte": "weights.bin"}}', "names 'weights.bin', which is no .safetensors of its"),
        ('{"weight_map": {"wte": 3}}', "names '3'"),
        ("[]", "is no configuration: it is no table"),
        ("{", "is no configuration: "),
    ],
)
def test_a_list_of_weights_names_those_of_its_folder_alone(tmp_path, content, words):
    place = folder(tmp_path / "model")
    (place / INDEX).write_text(content)
    with pytest.raises(ScenarioError, match=words):
        transformer_folder(str(place), weights=True)


@pytest.mark.parametrize("file", ["tokenizer.json", "vocab.txt", "spiece.model", "chat_template.jinja"])
def test_no_list_of_words_is_read_that_fills_the_memory(tmp_path, file):
    """The library reads these whole. A file of 64 MiB and of one byte more, of which a disk holds nothing."""
    place = folder(tmp_path / "model")
    with (place / file).open("wb") as words:
        words.truncate(2**26)
    assert transformer_folder(str(place), weights=False) == place
    with (place / file).open("wb") as words:
        words.truncate(2**26 + 1)
    with pytest.raises(ScenarioError, match=f"{file} holds 67108865 bytes, .* at most 67108864 ") as caught:
        transformer_folder(str(place), weights=False)
    assert "\n" not in str(caught.value)


def test_what_is_no_plain_file_is_refused_before_the_library_waits_for_it(tmp_path):
    place = folder(tmp_path / "model")
    os.mkfifo(place / "tokenizer.json")
    with pytest.raises(ScenarioError, match=r"tokenizer\.json is no plain file"):
        transformer_folder(str(place), weights=False)


def test_weights_that_are_no_plain_file_are_refused_where_they_are_read(tmp_path):
    place = folder(tmp_path / "model")
    for old in place.glob("*.safetensors"):
        old.unlink()
    os.mkfifo(place / "model.safetensors")
    with pytest.raises(ScenarioError, match=r"model\.safetensors is no plain file"):
        transformer_folder(str(place), weights=True)
    assert transformer_folder(str(place), weights=False) == place


def test_a_folder_of_something_else_and_a_name_that_may_not_be_asked_for_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("GAUNTLET_OFFLINE", "1")
    (tmp_path / "other").mkdir()
    for target, words in (
        (str(tmp_path / "other"), "other is no folder of a model: it holds no config.json"),
        ("nobody/nothing", "hf:nobody/nothing: there is no folder .* the hub is not asked: offline is set"),
        ("a b", "no name on the hub, which is NAME or USER/NAME"),
    ):
        with pytest.raises(ScenarioError, match=words) as caught:
            transformer_folder(target, weights=True)
        assert "\n" not in str(caught.value)


def test_without_the_library_it_is_said_how_to_get_it(monkeypatch, data_folder):
    for name in [n for n in sys.modules if n.partition(".")[0] == "transformers"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(PluginError, match=r"needs transformers, which is not installed: pip install '.*text"):
        MODELS.build("hf:gpt2", {"weights": "random"}).build((8,), 2, 12)
    (data_folder / "cola").mkdir(parents=True)
    for file in ("in_domain_train.tsv", "in_domain_dev.tsv"):
        (data_folder / "cola" / file).write_text("a\t1\t\tOne.\na\t0\t\tTwo.\n")
    with pytest.raises(PluginError, match="tokenizer 'hf:gpt2' needs transformers, which is not installed"):
        Cola(tokenizer="hf:gpt2").load()


def test_what_is_raised_within_is_one_line_and_values_pass():
    pytest.importorskip("transformers")
    with (
        pytest.raises(ScenarioError, match="a thing cannot be loaded: OSError: first second"),
        quiet("a thing"),
    ):
        raise OSError("first\nsecond")
    with pytest.raises(ValueError, match="other"), quiet("a thing"):
        raise ValueError("other")


@pytest.mark.parametrize(
    ("pad", "end", "expected"),
    [(1, 2, 1), (None, 2, 2), (None, [2, 5], 2), (-1, 2, 2), (None, [], 0), (None, None, 0)],
)
def test_what_fills_up_is_the_configurations_padding_or_its_first_end_of_text(pad, end, expected):
    """Llama 3 ends with a list of tokens, and configurations of its first generation have a padding of -1."""
    assert padding_of(SimpleNamespace(pad_token_id=pad, eos_token_id=end)) == expected
