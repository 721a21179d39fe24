"""MUD-HoG: tell malicious from unreliable clients by a short and a long history of their updates.

Source: Gupta, Luo, Ngo, Das. Long-Short History of Gradients is All You Need: Detecting Malicious and
Unreliable Clients in Federated Learning. ESORICS 2022. arXiv:2208.10273. The steps are those of the
authors' released code; the factor for unreliable clients, the scale-free eps, the gates, and whatever
concerns partial participation are choices of ours.

Assumes an honest server that sees single updates, stable client ids, more than half of the clients normal or
unreliable, and attackers that do the same round after round. It needs neither server data nor the number of
attackers. Weak points: noise that five colluders share is a cluster of its own; a client under local
differential privacy looks like a noise attacker; a new id starts with a clean record.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.trees import State
from ..core.updates import Updates, weighted_sum
from .columns import Array
from .distances import squared_distances
from .history import DTYPES, HistoryDtype, Record, long_history, remember, short_history
from .judgement import Finding, median_distance, opposite, poor, scattered
from .suspicion import CLEAN, MALICIOUS, after_reliability, after_suspicion, flag_of
from .two_means import minority_of, separation, silhouette

Preset = Literal["paper", "released_code", "robust"]
Gate = Literal["none", "separation", "silhouette"]
LEAST_EPS = 1e-12


@dataclass(frozen=True)
class Settings:
    """The options that presets differ in."""

    history: str = "moving"
    eps_mode: str = "relative"
    eps_factor: float = 0.7
    gap_anchor: bool = False
    targeted_gate: str = "none"
    unreliable_weight: float = 0.5


PRESETS: Mapping[str | None, Settings] = {
    None: Settings(),
    "paper": Settings(eps_mode="absolute"),
    "released_code": Settings(history="frozen", eps_mode="absolute", unreliable_weight=1.0),
    "robust": Settings(eps_factor=1.2, gap_anchor=True, targeted_gate="separation"),
}


@dataclass(frozen=True)
class MudHog:
    """Leave confirmed attackers and this round's noisy and targeted suspects out; weigh unreliable ones less.

    Flags are what has been confirmed. The details of a client tell the rest: its counters, since when it is
    confirmed, what it is suspected of in this round (``suspect_noise`` and so on) and the numbers behind it.
    The score is the suspicion counter.

    Attributes:
        preset: ``"paper"``, ``"released_code"`` (short histories freeze after three updates, as they do
            there, and unreliable clients keep their full weight) or ``"robust"`` (recommended for everything
            but reproduction). An option that is given overrides the preset.
        warmup_rounds: Updates of a client before it is judged (tau_0), at least 0.
        decision_rounds: Suspicious rounds until a client is confirmed (D), at least 1.
        short_window: Updates in the short history (L), at least 1.
        history: ``"moving"``: the last L updates; ``"frozen"``: each client's first L for ever.
            Default: moving, frozen in ``released_code``.
        eps_mode: ``"relative"``: DBSCAN reaches ``eps_factor`` times the median distance of the round;
            ``"absolute"``: it reaches ``eps``. Default: relative, absolute in the paper's presets.
        eps: In units of the update's L2 norm, above 0. The authors': 0.5 for MNIST, 1.3 for
            Fashion-MNIST, 18 for CIFAR-10.
        eps_factor: In units of the median distance between two candidates, above 0. Default: 0.7, and 1.2 in
            ``robust``, where the anchor makes a longer reach safe: at 0.7 most of a spread-out crowd can fall
            outside of every cluster, and then nobody is suspected of noise.
        min_pts: DBSCAN's neighbours, the client itself included, at least 1.
        gap_anchor: Let the gap that separates noise attackers start at the edge of the crowd, so that they
            are not split among themselves when nobody else is outside. Default: off, on in ``robust``.
        targeted_gate: 2-means names a minority in any crowd. ``"separation"`` of the halves (centroid
            distance over root mean square spread) or their mean ``"silhouette"`` must reach
            ``gate_threshold`` for it to count; ``"none"``: it always does. Default: none, separation in
            ``robust``.
        gate_threshold: At least 0; 0.9 suits the separation and 0.125 the silhouette on digits. Depends on
            the data: look at ``separation`` in the details.
        long_norm: What 2-means splits: the ``"sum"`` of a client's updates or their ``"mean"``; ``"auto"``:
            the sum if all have sent equally many, else the mean.
        unreliable_weight: Weight of an unreliable client, between 0 and 1. Default: 0.5 (the paper gives no
            number), 1 in ``released_code``.
        weighting: ``"uniform"``, or by claimed ``"num_examples"``.
        kmeans_seed: Seed of 2-means.
        kmeans_n_init: Its restarts, at least 1.
        min_eligible: With fewer clients to judge, nobody is and no counter moves; at least 1.
        max_excluded_fraction: If more than this share of the arrived clients would be left out, unconfirmed
            targeted suspects stay in, between 0 and 1; by default never.
        history_dtype: How histories are stored: ``"float32"`` or ``"float16"``.
    """

    preset: Preset | None = None
    warmup_rounds: int = 3
    decision_rounds: int = 2
    short_window: int = 3
    history: Literal["moving", "frozen"] | None = None
    eps_mode: Literal["relative", "absolute"] | None = None
    eps: float = 0.5
    eps_factor: float | None = None
    min_pts: int = 5
    gap_anchor: bool | None = None
    targeted_gate: Gate | None = None
    gate_threshold: float = 0.9
    long_norm: Literal["auto", "sum", "mean"] = "auto"
    unreliable_weight: float | None = None
    weighting: Literal["uniform", "num_examples"] = "uniform"
    kmeans_seed: int = 0
    kmeans_n_init: int = 10
    min_eligible: int = 6
    max_excluded_fraction: float | None = None
    history_dtype: HistoryDtype = "float32"

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                known = ", ".join(str(choice) for choice in allowed if choice is not None)
                raise ValueError(f"{name} must be one of {known}, got '{getattr(self, name)}'")
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        for name in ("eps", "eps_factor"):
            reach = getattr(self, name)
            if reach is not None and not 0 < reach < np.inf:
                raise ValueError(f"{name} must be finite and above 0, got {reach}")
        for name in ("unreliable_weight", "max_excluded_fraction"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {share}")

    @property
    def settings(self) -> Settings:
        """What holds of the options that presets differ in."""
        given = {f.name: getattr(self, f.name) for f in fields(Settings)}
        return replace(PRESETS[self.preset], **{k: v for k, v in given.items() if v is not None})

    def init(self) -> State:
        return {"rounds": 0, "clients": {}}

    def aggregate(self, updates: Updates, state: State) -> tuple[Verdict, State]:
        round_ = updates.context.round if updates.context else state["rounds"]
        frozen = self.settings.history == "frozen"
        clients = remember(
            state["clients"], updates, self.short_window, frozen, self.history_dtype, blank=CLEAN
        )
        arrived = updates.client_ids.tolist()
        judged = [i for i in arrived if clients[i]["seen"] > self.warmup_rounds]
        findings: Mapping[str, Finding] = {}
        if len(judged) >= self.min_eligible:
            findings, files = self._judge([clients[i] for i in judged], round_)
            clients |= zip(judged, files, strict=True)
        suspects = {kind: _chosen(judged, finding.suspect) for kind, finding in findings.items()}
        weights, total = self._weights(updates, clients, suspects)
        aggregate = weighted_sum(updates.vectors, weights) / (total or 1.0)
        verdict = Verdict(
            aggregate.to(updates.vectors.dtype),
            weights / (total or 1.0),
            flags={i: flag for i in arrived if (flag := flag_of(clients[i]))},
            scores={i: float(clients[i]["suspicion"]) for i in arrived},
            details=_details(arrived, clients, judged, findings),
        )
        return verdict, {"rounds": state["rounds"] + 1, "clients": clients}

    def _judge(self, files: list[Record], round_: int) -> tuple[dict[str, Finding], list[Record]]:
        """Return this round's findings by kind, and the clients' files after them.  # [E] files"""
        short = short_history(files)  # [E, P]
        square = squared_distances(short).numpy()  # [E, E]
        flips = opposite(short, ~_held(files, "malicious"))
        upright = ~(flips.suspect | _held(files, "sign_flip"))
        anchor = self.settings.gap_anchor
        noisy = scattered(short, square, upright, self._reach, self.min_pts, anchor)
        drifts = self._drifting(files, upright & ~(noisy.suspect | _held(files, "noise")))
        suspicions = [
            next((kind for kind, hit in zip(MALICIOUS, hits, strict=True) if hit), None)
            for hits in zip(flips.suspect, noisy.suspect, drifts.suspect, strict=True)
        ]
        decide = self.decision_rounds
        files = [after_suspicion(f, s, decide, round_) for f, s in zip(files, suspicions, strict=True)]
        weak = poor(short, upright & ~_held(files, "malicious"))
        files = [
            after_reliability(f, bool(p), decide, round_) for f, p in zip(files, weak.suspect, strict=True)
        ]
        return {"sign_flip": flips, "noise": noisy, "targeted": drifts, "unreliable": weak}, files

    def _reach(self, distances: Array) -> float:
        """Return DBSCAN's eps among candidates at these distances [C, C]."""
        if self.settings.eps_mode == "absolute":
            return self.eps
        return max(self.settings.eps_factor * median_distance(distances), LEAST_EPS)

    def _drifting(self, files: list[Record], candidates: Array) -> Finding:
        """Suspect the smaller half of the candidates' long histories, if it is far enough from the other."""
        suspect, measure = np.zeros(len(files), dtype=bool), np.full(len(files), np.nan)
        rows = np.flatnonzero(candidates)
        group = [files[row] for row in rows]
        unequal = len({file["seen"] for file in group}) > 1
        mean = self.long_norm == "mean" or (self.long_norm == "auto" and unequal)
        square = squared_distances(long_history(group, mean)).numpy()
        minority = minority_of(square, self.kmeans_seed, self.kmeans_n_init)
        if minority.any():
            measure[rows[minority]] = separation(square, minority)
            suspect[rows[minority]] = self._far_apart(square, minority)
        return Finding(suspect, measure)

    def _far_apart(self, square: Array, minority: Array) -> bool:
        gate = self.settings.targeted_gate
        if gate == "none":
            return True
        far = separation if gate == "separation" else silhouette
        return far(square, minority) >= self.gate_threshold

    def _weights(
        self, updates: Updates, clients: Mapping[int, Record], suspects: Mapping[str, set[int]]
    ) -> tuple[Tensor, float]:
        """Return what each client counts [K], float64, and the sum of that."""
        ids = updates.client_ids.tolist()
        since = [clients[i]["since"] for i in ids]
        noisy, drifting = suspects.get("noise", set()), suspects.get("targeted", set())
        out = _flags("malicious" in s or i in noisy for i, s in zip(ids, since, strict=True))
        suspected = _flags(i in drifting for i in ids)
        most = self.max_excluded_fraction
        if most is None or int((out | suspected).sum()) <= most * len(ids):
            out = out | suspected
        poor_ones = _flags("unreliable" in s for s in since)
        counts = torch.ones(len(ids), dtype=torch.float64)
        counts = counts.masked_fill(poor_ones, self.settings.unreliable_weight).masked_fill(out, 0.0)
        if self.weighting == "num_examples":
            counts = counts * updates.num_examples.clamp(min=0)  # a negative claim would flip the sign
        return counts, float(counts.sum())


_CHOICES: Mapping[str, tuple[str | None, ...]] = {
    "preset": tuple(PRESETS),
    "history": (None, "moving", "frozen"),
    "eps_mode": (None, "relative", "absolute"),
    "targeted_gate": (None, "none", "separation", "silhouette"),
    "long_norm": ("auto", "sum", "mean"),
    "weighting": ("uniform", "num_examples"),
    "history_dtype": tuple(DTYPES),
}
_LEAST = {
    "warmup_rounds": 0,
    "decision_rounds": 1,
    "short_window": 1,
    "min_pts": 1,
    "gate_threshold": 0,
    "kmeans_seed": 0,
    "kmeans_n_init": 1,
    "min_eligible": 1,
}
_MEASURES = {
    "sign_flip": "cosine",
    "noise": "distance",
    "targeted": "separation",
    "unreliable": "normal_cosine",
}


def _held(files: list[Record], kind: str) -> Array:
    """Return against whom ``kind`` stands.  # [E]"""
    return np.array([kind in file["since"] for file in files])


def _flags(facts: Iterable[bool]) -> Tensor:
    return torch.tensor(list(facts), dtype=torch.bool)


def _chosen(ids: list[int], keep: Array) -> set[int]:
    return {i for i, hit in zip(ids, keep, strict=True) if hit}


def _details(
    arrived: list[int], clients: Mapping[int, Record], judged: list[int], findings: Mapping[str, Finding]
) -> dict[int, dict[str, float]]:
    """Return each client's counters and convictions, and what was measured and suspected in this round."""
    details: dict[int, dict[str, float]] = {}
    for i in arrived:
        file = clients[i]
        details[i] = {name: float(file[name]) for name in ("seen", "suspicion", "unreliability")}
        details[i] |= {f"{kind}_since": float(first) for kind, first in file["since"].items()}
    for kind, finding in findings.items():
        for i, hit, value in zip(judged, finding.suspect, finding.measure, strict=True):
            details[i] |= {f"suspect_{kind}": 1.0} if hit else {}
            details[i] |= {_MEASURES[kind]: float(value)} if not np.isnan(value) else {}
    return details
