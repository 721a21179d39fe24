"""Probes with an inference attack: scores beside the truth."""

import json

import pytest

from gauntlet.core.errors import PluginError
from gauntlet.sims.run import simulate
from gauntlet.sims.sections import Probe


def test_a_probe_can_be_an_inference_attack(tiny, tmp_path):
    """One step on two examples from a model with uniform output: the bias gradient tells the labels."""
    probe = {"name": "bias_counts", "client": 2, "rounds": [0, 2]}
    folder = simulate(tiny(probes=[probe]), tmp_path / "run").folder

    files = sorted((folder / "inferences").glob("*[!s].json"))
    name = Probe(**probe).identity()
    assert name.startswith("bias-counts-")
    assert [f.name for f in files] == [f"round-{t:06d}-client-000002-{name}.json" for t in (0, 2)]
    report = json.loads(files[0].read_text())
    assert (report["attack"], report["client_id"]) == ("bias_counts", 2)
    assert sum(report["label_counts"]) == 2
    assert sum(report["scores"]) == pytest.approx(2, abs=0.1)
    ranked = sorted(range(10), key=lambda c: -report["scores"][c])
    present = [c for c, n in enumerate(report["label_counts"]) if n]
    assert set(ranked[: len(present)]) == set(present)
    assert not (folder / "reconstructions").exists()


def test_a_probe_that_is_neither_is_refused(tiny, tmp_path):
    with pytest.raises(PluginError, match="unknown leakage attack 'bias_count'"):
        simulate(tiny(probes=[{"name": "bias_count"}]), tmp_path / "run")
