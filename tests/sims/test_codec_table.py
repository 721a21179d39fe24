"""``gauntlet codecs`` against frames counted by hand, closed forms, and what a run recorded."""

import math
from pathlib import Path

import pytest
import torch

from gauntlet.clients.codecs import CODECS
from gauntlet.core.errors import ResultsError
from gauntlet.sims.codec_table import codec_table, drawn, recorded_material, variants
from gauntlet.sims.run import simulate


def rows(material, *names):
    table = codec_table(material, names, seconds=0)
    return {(row.codec, row.pack): row for row in table.itertuples(index=False)}


def test_bits_bound_and_loss_of_a_thousand_normal_values():
    """20 bytes and a header of 6: identity 4000 more, sign 129. Sign loses 1 - 2/pi of normal values."""
    found = rows(drawn(1000, "gauss"), "identity", "sign")
    plain, sign = found["identity", ""], found["sign", ""]
    assert (plain.bits, plain.bound, plain.nmse) == (8 * 4026 / 1000, 1, 0)
    assert sign.bits == 8 * (20 + 6 + 129) / 1000
    assert sign.bound == 8 * 129 / 1032
    assert sign.nmse == pytest.approx(1 - 2 / math.pi, rel=0.1)
    assert math.isnan(plain.break_even)


def test_below_the_break_even_bandwidth_encoding_saves_time():
    """(raw - frame) bytes over the seconds of encoding and decoding."""
    row = rows(drawn(1000, "laplace"), "sign")["sign", ""]
    seconds = 4000 / 1e6 * (1 / row.encode_mb + 1 / row.decode_mb)
    assert row.break_even == pytest.approx(8 * (4000 - 155) / 1e6 / seconds)


def test_every_codec_stands_there_once_for_each_way_to_pack():
    table = codec_table(drawn(600, "uniform"), seconds=0)
    assert table.codec.drop_duplicates().tolist() == list(CODECS.names())
    assert table[table.codec == "terngrad"].pack.tolist() == ["base3", "two_bit", "rice", "huffman", "auto"]
    assert [v["pack"] for v in variants("qsgd")] == ["fixed", "huffman", "rans", "auto"]
    assert (table.encode_mb > 0).all()
    assert (table.decode_mb > 0).all()


def test_auto_is_never_longer_than_another_packing():
    """But for rANS, which qsgd's `auto` tries where Huffman's code is 3 percent above the entropy alone."""
    for law in ("gauss", "laplace", "uniform"):
        table = codec_table(drawn(20_000, law), ["qsgd", "terngrad", "topk"], seconds=0)
        for codec, same in table.groupby("codec"):
            bits = same.set_index("pack").bits
            assert bits.auto <= (1.03 * bits.min() if codec == "qsgd" else bits.min())
            assert bits.auto <= bits.drop("rans", errors="ignore").min()


def test_drawn_values_are_a_matrix_as_nearly_square_as_can_be():
    assert drawn(1000, "gauss").layout.parameters[0].shape == (25, 40)
    assert drawn(7, "gauss").layout.parameters[0].shape == (1, 7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of a run that recorded a client's messages of four rounds."""
    from gauntlet.sims.scenario import make_scenario

    values = {
        "name": "seen",
        "rounds": 4,
        "num_clients": 3,
        "data": "digits",
        "model": {"name": "mlp", "hidden": [4]},
        "training": {"local_steps": 1, "batch_size": 2, "lr": 0.5},
        "runtime": {"pool": "serial"},
        "probes": [{"name": "dlg", "rounds": [0, 1, 2, 3], "max_iterations": 1}],
    }
    return simulate(make_scenario(values), tmp_path_factory.mktemp("codecs") / "run").folder


def test_a_runs_recorded_messages_are_measured_as_they_were_decoded(folder):
    """Of a tensor alone sign loses 1 - ||u||_1^2 / (n ||u||^2); by hand over the four tensors."""
    material = recorded_material(str(folder))
    assert material.vectors.shape == (4, 64 * 4 + 4 + 4 * 10 + 10)
    lost = []
    for update in material.vectors.double():
        parts = [update[slot.start : slot.start + slot.size] for slot in material.layout.parameters]
        kept = sum(float(part.abs().sum() ** 2 / len(part)) for part in parts)
        lost.append(1 - kept / float(update.square().sum()))
    row = rows(material, "sign")["sign", ""]
    assert row.nmse == pytest.approx(sum(lost) / 4, rel=1e-4)
    assert not torch.equal(material.vectors[0], material.vectors[1])


def test_a_folder_without_messages_is_refused_in_one_line(tiny, tmp_path):
    run = simulate(tiny(rounds=1), tmp_path / "run")
    with pytest.raises(ResultsError, match=r"no message is recorded there; .*--set 'probes=\[\"dlg\"\]'"):
        recorded_material(str(run.folder))


def test_messages_of_a_lossy_codec_are_said_to_be_what_was_decoded(folder, tiny, tmp_path):
    lossy = tiny(rounds=1, codec="sign", probes=[{"name": "dlg", "max_iterations": 1}])
    simulate(lossy, tmp_path / "run")
    assert recorded_material(str(tmp_path / "run")).title == (
        "1 recorded messages of run, as the server decoded them from codec sign"
    )
    assert "decoded" not in recorded_material(str(folder)).title


def test_a_codec_of_a_file_is_measured_like_one_of_ours(gauntlet, monkeypatch):
    """One bit a coordinate and a scale: a frame of 20, a header of 6, a body of 4 + 125 bytes."""
    monkeypatch.setenv("COLUMNS", "200")
    place = Path(__file__).parents[1] / "outside" / "residual_sign.py"
    shown = gauntlet("codecs", f"{place}:ResidualSign", "--numel", "1000")

    assert shown.returncode == 0, shown.stderr
    (line,) = [line for line in shown.stdout.splitlines() if "ResidualSign" in line]
    assert line.split("│")[3].strip() == f"{8 * (20 + 6 + 129) / 1000:.3f}"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["sing"], "unknown codec 'sing'; did you mean 'sign'"),
        (["here.py:Mine"], "here.py"),
        (["os:system"], "of Python's standard library"),
        (["--numel", "0"], "--numel must be from 1 to 1e+08, got 0"),
        (["--numel", "1e30"], "--numel must be from 1 to 1e+08, got 1e+30"),
        (["--numel", "many"], "must be a whole number such as 1e6, got 'many'"),
        (["--numel", "1e400"], "must be a whole number"),
        (["--numel", "1000.5"], "must be a whole number such as 1e6, got '1000.5'"),
        (["--distribution", "cauchy"], "cauchy holds no run"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(gauntlet, words, complaint):
    assert complaint in gauntlet("codecs", *words).refusal()


@pytest.mark.slow
def test_the_command_prints_a_row_a_packing(gauntlet, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    shown = gauntlet("codecs", "terngrad", "sign", "--numel", "1e3", "--distribution", "laplace")
    assert shown.returncode == 0
    assert "1,000 values, laplace" in shown.stdout
    assert [line.split("│")[2].strip() for line in shown.stdout.splitlines() if "terngrad" in line] == [
        *("base3", "two_bit", "rice", "huffman", "auto")
    ]
