"""Whatever comes from outside and is wrong gives one line and exit code 2."""

import json
from pathlib import Path

import pytest

from gauntlet.sims.run import simulate

DEEP = "[" * 3000 + "]" * 3000
TEXTS = {
    "lists nested 3,000 deep": (f"x = {DEEP}", "is not TOML: it is nested too deeply"),
    "lists nested 40 deep": (f"[training]\nlr = {'[' * 40}{']' * 40}", "nested more than 32 deep"),
    "5,000 digits": ("seed = " + "9" * 5000, "is not TOML: Exceeds the limit (4300 digits)"),
    "9,000 hexadecimal digits": ("seed = 0x" + "f" * 9000, "whole numbers must fit into 64 bits"),
    "a date": ("seed = 1979-05-27", "allowed: numbers, words, truth values, lists and tables"),
    "a letter that ends words": ('description = "a\\u0000b"', "a word with letters that no file can hold"),
    "no text": ("\xff\xfe", "is not TOML"),
    "a step size beyond float32": ("[training]\nlr = 1e300", "numbers must be within float32"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_scenario_that_no_parser_or_tensor_can_take_is_refused(case, gauntlet, tiny_file):
    text, words = TEXTS[case]
    lines = tiny_file.read_text().splitlines()
    kept = [line for line in lines if not (line.startswith("training") and "[training]" in text)]
    tiny_file.write_bytes("\n".join([*kept, text]).encode("latin-1"))

    line = gauntlet("run", tiny_file).refusal()

    assert words in line
    assert len(line) < 400


@pytest.mark.parametrize(
    "text", [f"seed={DEEP}", "seed=" + "9" * 5000, "seed=0x" + "f" * 9000, "seed=1979-05-27"]
)
def test_an_override_that_no_parser_can_take_is_refused(text, gauntlet, tiny_file):
    line = gauntlet("run", tiny_file, "-s", text).refusal()

    assert "'seed'" in line
    assert len(line) < 400


@pytest.mark.parametrize("content", [DEEP, "9" * 5000, '{"schema": ' + DEEP + "}"])
def test_json_that_no_parser_can_take_is_refused(content, gauntlet, tmp_path):
    for name in ("manifest.json", "sweep.json"):
        folder = tmp_path / name.removesuffix(".json")
        folder.mkdir()
        (folder / name).write_text(content)
        for call in (["resume", folder], ["plot", "loss", folder]):
            assert f"{name} cannot be read" in gauntlet(*call).refusal()


@pytest.mark.parametrize(("dtype", "size"), [("BF16", 2), ("F8_E4M3", 1)])
def test_a_checkpoint_with_numbers_of_another_type_is_refused(dtype, size, gauntlet, tiny, tmp_path):
    """safetensors: eight bytes of length, a JSON head, the numbers."""
    simulate(tiny(), tmp_path / "mine")
    manifest = tmp_path / "mine" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"complete"', '"running"'))
    for newest in (tmp_path / "mine" / "checkpoints").iterdir():
        content = newest.read_bytes()
        length = int.from_bytes(content[:8], "little")
        head = json.loads(content[8 : 8 + length])
        told = next(told for name, told in head.items() if name != "__metadata__")
        begin, end = told["data_offsets"]
        told |= {"dtype": dtype, "shape": [(end - begin) // size]}
        text = json.dumps(head).encode()
        newest.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])

    assert "safetensors" in gauntlet("resume", "mine").refusal()


PLUGIN = """
import sys
from dataclasses import dataclass, replace
import numpy as np
import torch
from {module} import {cls} as Base

def recursion(): return recursion()
def raises(error): raise error

@dataclass(frozen=True)
class Wrong(Base):
    def {verb}(self, *a, **k):
        base = super().{verb}(*a, **k)
        return {reply}
"""
DEFENSE = ("defense", "gauntlet.defenses.median", "Median", "aggregate")
PAIR = "must return a pair (Verdict, state), got"
CLIENTS = "gauntlet.clients"
PROX = (f"{CLIENTS}.algorithms.fedprox", "FedProx")
FULL = ("gauntlet.server.samplers.full", "Full")
NONE = ("gauntlet.privacy.no_privacy", "NoPrivacy")
WRONG = {
    "a defense that returns None": (*DEFENSE, "None", f"{PAIR} None"),
    "a bare tensor": (*DEFENSE, "base[0].aggregate", f"{PAIR} Tensor float32 [610]"),
    "float64": (
        *DEFENSE,
        "(replace(base[0], aggregate=base[0].aggregate.double()), None)",
        "an aggregate as a tensor float32 [610], got Tensor float64 [610]",
    ),
    "an int": (*DEFENSE, "(replace(base[0], aggregate=3), None)", "float32 [610], got int 3"),
    "scores that are no numbers": (
        *DEFENSE,
        "(replace(base[0], scores={0: 'high'}), None)",
        "scores as a number by client id, got str 'high' for 0",
    ),
    "flags of no client": (
        *DEFENSE, "(replace(base[0], flags={'x': 'bad'}), None)", "flags as a word by client id",
    ),
    "weights of others": (*DEFENSE, "(replace(base[0], weights=torch.ones(2)), None)", "a tensor [6]"),
    "a way out": (*DEFENSE, "sys.exit(0)", "raised SystemExit: 0"),
    "memory": (*DEFENSE, "raises(MemoryError())", "raised MemoryError"),
    "recursion": (*DEFENSE, "recursion()", "raised RecursionError"),
    "an error of its own": (*DEFENSE, "raises(BaseException('no'))", "raised BaseException: no"),
    "updates of others": (
        "attacks", "gauntlet.attacks.poisoning.sign_flip", "SignFlip", "corrupt",
        "(replace(base[0], client_ids=base[0].client_ids + 50), None)", "attack '",
    ),
    "no updates": (
        "pre_aggregations", "gauntlet.defenses.nnm", "NNM", "transform", "(base[0].vectors, None)",
        "must return Updates, got Tensor float32 [6, 610]",
    ),
    "half of the clients": (
        "codec", "gauntlet.clients.codecs.terngrad", "TernGrad", "encode", "(base[0][:3], None)",
        "a list of records for each of 6 clients",
    ),
    "clients that are not there": (
        "sampler", *FULL, "sample", "base + 3",
        "strictly ascending in [0, 5]",
    ),
    "no sampling": ("sampler", *FULL, "sampling", "7", "must return a Sampling"),
    "no fate": (
        "network", "gauntlet.server.networks.links", "Links", "deliver", "replace(base, arrived=[True])",
        "arrived as an array of bool [6], got list [True]",
    ),
    "no parameters": (
        "server_optimizer", "gauntlet.server.optimizers.sgd", "SGD", "step", "base[0]",
        "must return a pair (params, state), got Tensor float32 [610]",
    ),
    "no noise": (
        "privacy", *NONE, "noise", "(None, None)",
        "an aggregate as a tensor float32 [610], got None",
    ),
    "no release": ("privacy", *NONE, "event", "2.0", "a Release or a NoGuarantee"),
    "no training": (
        "algorithm", *PROX, "schedule", "None",
        "must return a LocalTraining, got None",
    ),
    "no direction": (
        "algorithm", *PROX, "correct", "None", "correct must return a tensor float32 [",
    ),
    "no data": ("data", f"{CLIENTS}.data.digits", "Digits", "load", "base.x", "load must return a Dataset"),
    "no rows": ("partition", f"{CLIENTS}.data.iid", "Iid", "split", "None", "must return a list of arrays"),
    "no model": ("model", f"{CLIENTS}.models.mlp", "Mlp", "build", "sys.exit(0)", "does not fit digits"),
    "no canaries": (
        "audit", "gauntlet.privacy.audits.no_audit", "NoAudit", "present", "[True]",
        "must return an array of bool",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_plug_in_that_returns_something_else_is_named(case, gauntlet, tiny_file, tmp_path):
    section, module, cls, verb, reply, words = WRONG[case]
    file = tmp_path / "wrong.py"
    file.write_text(PLUGIN.format(module=module, cls=cls, verb=verb, reply=reply))
    told = f'{section}={{name="{file}:Wrong"}}'
    if section == "attacks":
        told = f'attacks=[{{name="{file}:Wrong", count=2}}]'
    elif section == "pre_aggregations":
        told = f'pre_aggregations=[{{name="{file}:Wrong", num_byzantine=1}}]'
    elif section == "algorithm":
        told = f'algorithm={{name="{file}:Wrong", mu=0.1}}'

    line = gauntlet(
        "run", tiny_file, "-s", told, "-s", "model.hidden=[8]" if section != "model" else "seed=0"
    ).refusal()

    assert words in line
    assert "wrong.py" in line or "Wrong" in line or section == "algorithm"


def test_a_plug_in_that_leaves_the_process_fails_the_run(gauntlet, tiny_file, tmp_path):
    """With exit code 0 nobody would notice."""
    file = tmp_path / "wrong.py"
    file.write_text(PLUGIN.format(module=DEFENSE[1], cls=DEFENSE[2], verb="aggregate", reply="sys.exit(0)"))

    assert gauntlet("run", tiny_file, "-s", f"defense.name={file}:Wrong", "--out", "mine").returncode == 2
    assert '"status": "failed"' in Path(tmp_path / "mine" / "manifest.json").read_text()
