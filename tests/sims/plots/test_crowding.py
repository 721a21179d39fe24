"""Nothing that a picture says is cut, and no words cover others: every plot in a column and across a page."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from crowding import crowding
from matplotlib.figure import Figure

from gauntlet.sims.explain import explain
from gauntlet.sims.matrix_table import matrix_table
from gauntlet.sims.plots import PLOTS, draw, find
from gauntlet.sims.plots.look import Look, drawn_as, finish
from gauntlet.sims.plots.matrix import MAPS, heat_maps

ROUNDS = 12
SIZES = ("column", "page")
LABELS = [f"{name} clip_norm = {c}" for name in ("gaussian", "local_gaussian") for c in (0.1, 0.25, 0.5, 1.0)]
TERMS = {"unit": "client", "relation": "add_remove", "sampling": "poisson", "accountant": "pld"}
CENTRAL = {**TERMS, "trust_model": "central", "delta": 1e-5, "epsilon_reason": None}
AUDIT = {"audit": "one_shot", "num_canaries": 20, "dimension": 1000, "delta": 1e-5, "confidence": 0.9,
         "epsilon_audit_low": 0.5, "epsilon_audit_est": 3.0, "refuted": False}  # fmt: skip


def people():
    """Twenty clients, of whom two kinds attack and are partly found."""
    table = pd.DataFrame({"round": np.repeat(range(ROUNDS), 20), "client_id": np.tile(range(20), ROUNDS)})
    truth = np.select(
        [table["client_id"] < 3, table["client_id"] == 3], ["sign_flip", "label_flip_all"], "honest"
    )
    flag = np.where((table["client_id"] < 4) & (table["round"] > 2), "malicious", None)
    return table.assign(
        truth=truth,
        flag=flag,
        weight=0.05,
        raw_norm=1.0 + table["client_id"] / 10,
        update_norm=1.0,
        status="ok",
    )


def frames(place):
    count = {
        "ideal_bits": 900.0 * (place + 1),
        "frame_bytes": 150 * (place + 1),
        "numel": 1000,
        "direction": "up",
    }
    return pd.DataFrame({"round": range(ROUNDS), "client_id": 0, **count})


def layers(place):
    names = ("features.0.weight", "features.0.bias", "classifier.weight", "classifier.bias")
    rows = [(t, n, 4096, 400.0, 60 * (place + 1), 2.0 + t) for t in range(ROUNDS) for n in names]
    return pd.DataFrame(rows, columns=["round", "layer", "numel", "ideal_bits", "payload_bytes", "choice"])


def work(place):
    """Twenty clients that take some seconds each round, of whom every fifth is given up."""
    table = pd.DataFrame({"round": np.repeat(range(ROUNDS), 20), "client_id": np.tile(range(20), ROUNDS)})
    seconds = 10.0 + (table["client_id"] * 7 + table["round"] * 3) % 20
    stale = (table["client_id"] + place) % 4
    return table.assign(
        started=table["round"] - stale, staleness=stale, begins=30.0 * table["round"],
        work_seconds=seconds, counted=table["client_id"] % 5 != 0,
    )  # fmt: skip


@pytest.fixture
def runs(recorded, rebuilt):
    """Eight labels of two seeds each, with everything that a run can hold."""

    def leak(place, attack):
        image = np.linspace(0, 1, 2 * 64).reshape(2, 1, 8, 8)
        steps = SimpleNamespace(
            x=np.stack([image] * 4), psnr=np.array([5.0, 9.0, 20.0, 25.0]), cost=np.arange(4.0)[::-1],
            closures=np.arange(4) * 10.0 + 1, seconds=np.array([0.01, 0.2, 3.0, 9.0]),
        )  # fmt: skip
        return rebuilt(
            image, 1 - image, [12.0 * place + 3, 120.0], [0.5, 0.9], attack=attack, sok="C", cpu_seconds=11.0,
            baselines={"constant": {"psnr": 8.0}, "noise": {"psnr": 6.0}}, progress=steps, closures=41.0,
        )  # fmt: skip

    def make(place, seed):
        rising = np.linspace(0.1, 0.5 + place / 20 + seed / 50, ROUNDS)
        epsilon = np.linspace(0.2, 1.0, ROUNDS) * 1.6**place
        noisy = {"name": LABELS[place].split()[0], "clip_norm": 0.1, "noise_multiplier": 1.0 + place}
        return recorded(
            LABELS[place], seed, accuracy=rising.tolist(), loss=(2 - rising).tolist(),
            epsilon=epsilon.tolist(), **CENTRAL,
            total_bytes_up=[20_000 * (place + 1) * (t + 1) for t in range(ROUNDS)],
            virtual_seconds=[30.0 * (t + 1) for t in range(ROUNDS)], precision=rising.tolist(),
            recall=rising.tolist(), true_positives=2, false_positives=1, false_negatives=1, true_negatives=16,
            clip_norm=[0.5] * ROUNDS, clients=people(), frames=frames(place), layers=layers(place),
            work=work(place),
            audit={**AUDIT, "epsilon": float(epsilon[-1])}, scenario={"privacy": noisy},
            items=[leak(place, "dlg"), leak(place, "inverting_gradients")],
            manifest={"epsilon": {"value": float(epsilon[-1]), "reason": None, "accountant": "pld"}},
        )  # fmt: skip

    return [make(place, seed) for place in range(len(LABELS)) for seed in (0, 1)]


def regressions(recorded, *names):
    falling = np.linspace(3.0, 0.5, ROUNDS).tolist()
    told = dict.fromkeys(names, falling)
    extra = {"manifest": {"metrics": list(names)}} if "perplexity" in names else {}
    return [recorded(label, seed, **told, **extra) for label in LABELS for seed in (0, 1)]


@dataclass(frozen=True)
class Sampled:
    """A run that kept samples of a posterior."""

    manifest: dict
    predictive: pd.DataFrame
    posterior: pd.DataFrame
    origin: str = ""


def sampled():
    one = pd.DataFrame({"sample": range(40), "predictive_log_likelihood": np.linspace(-2, -0.5, 40)})
    spread = pd.DataFrame({"mean": np.linspace(-1, 1, 8), "std": 0.1})
    return [Sampled({"label": label, "seed": s, "scenario": {"name": "s", "seed": s}}, one, spread)
            for label in LABELS for s in (0, 1)]  # fmt: skip


def table():
    """Two shares, six defenses that flag, three attacks."""
    counts = {"true_positives": 5, "false_positives": 3, "false_negatives": 1, "true_negatives": 9}
    other = {"attack_success_rate": 0.5, "aggregate_distance": 0.1, "attackers": 3, "caught": 2, "delay": 1.0}
    curve = pd.Series([0.5, 0.9, 0.7])
    names = (
        "mean",
        "median",
        "trimmed_mean",
        "multi_krum num_byzantine=4",
        "nnm + centered_clipping",
        "CosMedian",
    )
    attacks = ("no attack", "sign_flip", "inner_product_manipulation", "label_flip")
    return matrix_table(
        [
            {"attack": attack, "share": share, "defense": name, "seed": 0, "curve": curve, **counts, **other}
            for share in (0.1, 0.3) for name in names for attack in attacks
        ]
    )  # fmt: skip


def quick_first(names, quick):
    """Mark all as slow but the quick ones."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", quick_first(PLOTS, {"accuracy", "compression", "detection"}))
def test_what_a_picture_says_can_be_read(name, size, runs, recorded):
    special = {
        "rmse": lambda: regressions(recorded, "rmse"),
        "mae": lambda: regressions(recorded, "rmse", "mae"),
        "metrics": lambda: regressions(recorded, "perplexity"),
        "posterior": sampled,
    }
    figure = draw(name, special.get(name, lambda: runs)(), Look(size))

    assert figure.get_figwidth() == Look(size).width
    assert crowding(figure) == []


@pytest.mark.parametrize("name", PLOTS)
def test_every_column_of_the_numbers_beside_a_picture_is_explained(name, runs, recorded):
    special = {"rmse": ["rmse"], "mae": ["rmse", "mae"], "metrics": ["perplexity"]}
    others = sampled() if name == "posterior" else regressions(recorded, *special.get(name, ()))
    _, numbers = find(name)(others if name in special or name == "posterior" else runs)

    for column in numbers:
        assert explain(column), column


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", quick_first(MAPS, {"accuracy"}))
def test_what_a_heat_map_says_can_be_read(name, size):
    with drawn_as(look := Look(size)):
        figure, _ = finish(heat_maps(table(), name), None, look)

    assert crowding(figure) == []


def test_words_that_cover_others_or_are_cut_are_seen():
    """The measure itself: two names at one place, one beyond the edge, and a pair that only stands close."""
    figure = Figure(figsize=(3, 2))
    for x, y, word in ((0.2, 0.2, "one"), (0.22, 0.2, "two"), (0.98, 0.8, "beyond"), (0.5, 0.5, "alone")):
        figure.text(x, y, word)

    assert crowding(figure) == ["cut: 'beyond'", "'one' covers 'two'"]
