"""MUD-HoG: tell malicious from unreliable clients by a short and a long history of their updates.

Source: Gupta, Luo, Ngo, Das. Long-Short History of Gradients is All You Need: Detecting Malicious and
Unreliable Clients in Federated Learning. ESORICS 2022. arXiv:2208.10273. The steps are those of the
authors' released code; the factor for unreliable clients, the scale-free eps, the test of noise by jitter,
sign flips by long histories, unreliable clients below the median alone, the gates, and whatever concerns
partial participation are choices of ours: of these the preset ``robust`` is made.

Assumes an honest server that sees single updates, stable client ids, more than half of the clients normal or
unreliable, and attackers that do the same round after round. It needs neither server data nor the number of
attackers. Weak points: noise that five colluders share is a cluster of its own, and noise that stays the same
from round to round has no jitter; a client that alone is under local differential privacy looks like a noise
attacker; who begins to flip signs after training has converged is not seen by ``flip_coherence``; a new id
starts with a clean record.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import Verdict
from ...core.trees import State
from ...core.updates import Updates, row_norms, weighted_sum
from ..parts.columns import Array
from ..parts.distances import squared_distances
from ..parts.two_means import minority_of, separation, silhouette
from .details import details_of
from .evidence import after_tests, weight_of
from .general import TESTED, Levels, crowd_of, judge, length_factors
from .history import HistoryDtype, Record, jitters, long_history, remember, short_history
from .judgement import Finding, median_distance, opposite, poor, restless, scattered
from .options import GATE_THRESHOLDS, PRESETS, Gate, NoiseTest, Preset, Settings, check
from .suspicion import CLEAN, MALICIOUS, after_reliability, after_suspicion, flag_of

LEAST_EPS = 1e-12


@dataclass(frozen=True)
class MudHog:
    """Leave confirmed attackers and this round's noisy and targeted suspects out; weigh unreliable ones less.

    Flags are what has been confirmed. The details of a client tell the rest: its counters or evidence, since
    when it is confirmed, what it is suspected of in this round (``suspect_noise`` and so on) and the numbers
    behind it. The score is the suspicion counter, or the most evidence of any kind of malice.

    Attributes:
        preset: ``"general"`` (recommended), or for reproduction ``"paper"``, ``"released_code"`` (short
            histories freeze after three updates, as they do there, and unreliable clients keep their full
            weight) or ``"robust"`` (what the published tables were made with; it holds in those cells,
            and fails on sleepers, strong attacks in the warm-up, skewed data and few local steps). An option
            that is given overrides the preset.
        judgement: ``"counters"``: the authors' four judgements and counters, which the options of scatter, of
            ``flip_coherence``, of the gate and of 2-means belong to. ``"tests"``: a statistical test for each
            way to do harm, and evidence that adds up over rounds whatever their rhythm; see
            ``mud_hog_tests`` and ``evidence``. Everybody is then tested from the first update on, suspects of
            a round are left out of it at once, and no update counts for more than one twice as long as the
            median. Default: counters, tests in ``general``.
        level: For tests only. How often chance may make the test for two halves suspect somebody in a round,
            above 0 and below 1.
        warmup_rounds: Updates of a client before it is judged (tau_0), at least 0; with tests, before it is
            convicted.
        decision_rounds: Suspicious rounds until a client is confirmed (D), at least 1.
        short_window: Updates in the short history (L), at least 1; for jitter, which compares them, 2.
        history: ``"moving"``: the last L updates; ``"frozen"``: each client's first L for ever.
            Default: moving, frozen in ``released_code``.
        noise_test: Who adds noise. ``"scatter"`` (the authors'): whose short history belongs to no cluster of
            DBSCAN and is far from the crowd; this needs noise that is larger than what sets honest clients
            apart. ``"jitter"``: whose last updates differ from each other more than they have in common, and
            more than others' do (``jitter_factor``), since noise is new in every round and unusual data stay
            what they are. Default: scatter, jitter in ``robust``. ``eps_mode``, ``eps``, ``eps_factor``,
            ``min_pts`` and ``gap_anchor`` belong to scatter, and do nothing under jitter.
        jitter_factor: For jitter only. From the median client upwards, the first jitter that is this many
            times the one before it begins the suspects; at least 1.
        flip_coherence: Once training has converged, short histories point anywhere. In rounds in which the
            median client's cosine with the crowd is below this, between 0 and 1, the long histories tell
            who flips signs; 0: the short ones always do, as the authors'. Default: 0, 0.3 in ``robust``.
        eps_mode: For scatter only. ``"relative"``: DBSCAN reaches ``eps_factor`` times the median distance of
            the round; ``"absolute"``: it reaches ``eps``. Default: relative, absolute in the paper's presets.
        eps: For scatter only, absolute. In units of the update's L2 norm, above 0. The authors': 0.5 for
            MNIST, 1.3 for Fashion-MNIST, 18 for CIFAR-10.
        eps_factor: For scatter only, relative. In units of the median distance between two candidates, above
            0. At 0.7 most of a spread-out crowd can fall outside of every cluster, and then nobody is
            suspected of noise; with ``gap_anchor`` a longer reach is safe. Default: 0.7, and 1.2 in
            ``robust``, which uses it only where ``noise_test`` is set to scatter beside it.
        min_pts: For scatter only. DBSCAN's neighbours, the client itself included, at least 1.
        gap_anchor: For scatter only. Let the gap that separates noise attackers start at the edge of the
            crowd, so that they are not split among themselves when nobody else is outside. Default: off, on
            in ``robust``, where it counts as ``eps_factor`` does.
        targeted_gate: 2-means names a minority in any crowd. ``"separation"`` of the halves (centroid
            distance over root mean square spread) or their mean ``"silhouette"`` must reach
            ``gate_threshold`` for it to count; ``"none"``: it always does. Default: none, separation in
            ``robust``.
        gate_threshold: At least 0. Default: 0.9 for the separation and 0.125 for the silhouette, which suit
            digits. Depends on the data: look at ``separation`` in the details.
        long_norm: What 2-means splits: the ``"sum"`` of a client's updates or their ``"mean"``; ``"auto"``:
            the sum if all have sent equally many, else the mean.
        unreliable_minority: Seek the gap that sets unreliable clients apart below the median only; the widest
            one may lie above nearly everybody. Default: off, on in ``robust``.
        unreliable_weight: Weight of an unreliable client, between 0 and 1. Default: 0.5 (the paper gives no
            number), 1 in ``released_code``.
        weighting: ``"uniform"``, or by claimed ``"num_examples"``.
        kmeans_seed: Seed of 2-means.
        kmeans_n_init: Its restarts, at least 1.
        min_eligible: With fewer clients to judge, nobody is and no counter moves; at least 1.
        max_excluded_fraction: If more than this share of the arrived clients would be left out, unconfirmed
            targeted suspects stay in, between 0 and 1; by default never.
        history_dtype: How histories are stored: ``"float32"`` or ``"float16"``.
        max_clients: Clients to remember, at least 1: of more, those that were seen longest ago are forgotten,
            with what they are convicted of. By default all that were ever seen.
    """

    preset: Preset | None = None
    judgement: Literal["counters", "tests"] | None = None
    level: float = 0.01
    warmup_rounds: int = 3
    decision_rounds: int = 2
    short_window: int = 3
    history: Literal["moving", "frozen"] | None = None
    noise_test: NoiseTest | None = None
    jitter_factor: float = 2.0
    flip_coherence: float | None = None
    eps_mode: Literal["relative", "absolute"] | None = None
    eps: float = 0.5
    eps_factor: float | None = None
    min_pts: int = 5
    gap_anchor: bool | None = None
    targeted_gate: Gate | None = None
    gate_threshold: float | None = None
    long_norm: Literal["auto", "sum", "mean"] = "auto"
    unreliable_minority: bool | None = None
    unreliable_weight: float | None = None
    weighting: Literal["uniform", "num_examples"] = "uniform"
    kmeans_seed: int = 0
    kmeans_n_init: int = 10
    min_eligible: int = 6
    max_excluded_fraction: float | None = None
    history_dtype: HistoryDtype = "float32"
    max_clients: int | None = None

    remembers_clients: ClassVar[bool] = True
    stale: ClassVar[bool] = True  # histories are of a client's own messages, as they counted

    def __post_init__(self) -> None:
        check(self)

    @property
    def settings(self) -> Settings:
        """What holds of the options that presets differ in."""
        given = {f.name: getattr(self, f.name) for f in fields(Settings)}
        return replace(PRESETS[self.preset], **{k: v for k, v in given.items() if v is not None})

    @property
    def weighs_examples(self) -> bool:
        """Whether clients weigh by the examples that they claim."""
        return self.weighting == "num_examples"

    def init(self) -> State:
        return {"rounds": 0, "clients": {}}

    def aggregate(self, updates: Updates, state: State) -> tuple[Verdict, State]:
        round_ = updates.context.round if updates.context else state["rounds"]
        frozen = self.settings.history == "frozen"
        by_tests = self.settings.judgement == "tests"
        clients = remember(
            state["clients"],
            updates,
            self.short_window,
            frozen,
            self.history_dtype,
            blank={**CLEAN, "evidence": {}} if by_tests else CLEAN,
            most=self.max_clients,
        )
        arrived = updates.client_ids.tolist()
        judged = [i for i in arrived if by_tests or clients[i]["seen"] > self.warmup_rounds]
        findings: Mapping[str, Finding] = {}
        if len(judged) >= self.min_eligible:
            files = [clients[i] for i in judged]
            findings, files = self._test(updates, files, round_) if by_tests else self._judge(files, round_)
            clients |= zip(judged, files, strict=True)
        suspects = {kind: _chosen(judged, finding.suspect) for kind, finding in findings.items()}
        weights, total = self._weights(updates, clients, suspects)
        if by_tests:
            lengths = row_norms(updates.vectors).numpy()
            weights = weights * torch.from_numpy(length_factors(lengths, (weights > 0).numpy()))
        aggregate = weighted_sum(updates.vectors, weights) / (total or 1.0)
        verdict = Verdict(
            aggregate.to(updates.vectors.dtype),
            weights / (total or 1.0),
            flags={i: flag for i in arrived if (flag := flag_of(clients[i]))},
            scores={
                i: weight_of(clients[i]) if by_tests else float(clients[i]["suspicion"]) for i in arrived
            },
            details=details_of(arrived, clients, judged, findings, self.settings),
        )
        return verdict, {"rounds": state["rounds"] + 1, "clients": clients}

    def _judge(self, files: list[Record], round_: int) -> tuple[dict[str, Finding], list[Record]]:
        """Return this round's findings by kind, and the clients' files after them.  # [E] files"""
        short = short_history(files)  # [E, P]
        flips = self._flipped(files, short)
        upright = ~(flips.suspect | _held(files, "sign_flip"))
        noisy = self._noisy(files, short, upright)
        drifts = self._drifting(files, upright & ~(noisy.suspect | _held(files, "noise")))
        suspicions = [
            next((kind for kind, hit in zip(MALICIOUS, hits, strict=True) if hit), None)
            for hits in zip(flips.suspect, noisy.suspect, drifts.suspect, strict=True)
        ]
        decide = self.decision_rounds
        files = [after_suspicion(f, s, decide, round_) for f, s in zip(files, suspicions, strict=True)]
        weak = poor(short, upright & ~_held(files, "malicious"), self.settings.unreliable_minority)
        files = [
            after_reliability(f, bool(p), decide, round_) for f, p in zip(files, weak.suspect, strict=True)
        ]
        return {"sign_flip": flips, "noise": noisy, "targeted": drifts, "unreliable": weak}, files

    def _test(
        self, updates: Updates, files: list[Record], round_: int
    ) -> tuple[dict[str, Finding], list[Record]]:
        """Return what the tests of this round find, and the clients' files after them.  # [E] files"""
        crowd = crowd_of(updates.vectors, files)
        findings, silent = judge(crowd, Levels(self.level, self.jitter_factor))
        judged: list[Record] = []
        for row, file in enumerate(files):
            suspected = [kind for kind, finding in findings.items() if finding.suspect[row]]
            old_enough = file["seen"] > self.warmup_rounds
            judged.append(after_tests(file, suspected, silent, self.decision_rounds, old_enough, round_))
        return findings, judged

    def _flipped(self, files: list[Record], short: Tensor) -> Finding:
        """Suspect whose history points away from the crowd's: the short one while that is of one mind."""
        trusted = ~_held(files, "malicious")
        crowd = trusted if trusted.any() else ~trusted
        flips, least = opposite(short, crowd), self.settings.flip_coherence
        if least == 0 or np.median(flips.measure[crowd]) >= least:
            return flips
        return opposite(long_history(files, mean=True), crowd)

    def _noisy(self, files: list[Record], short: Tensor, candidates: Array) -> Finding:
        """Suspect whose short history lies far out, or whose updates do not repeat themselves."""
        settings = self.settings
        if settings.noise_test == "jitter":
            return restless(jitters(files).numpy(), row_norms(short).numpy(), candidates, self.jitter_factor)
        square = squared_distances(short).numpy()  # [E, E]
        return scattered(short, square, candidates, self._reach, self.min_pts, settings.gap_anchor)

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
        least = GATE_THRESHOLDS[gate] if self.gate_threshold is None else self.gate_threshold
        return far(square, minority) >= least

    def _weights(
        self, updates: Updates, clients: Mapping[int, Record], suspects: Mapping[str, set[int]]
    ) -> tuple[Tensor, float]:
        """Return what each client counts [K], float64, and the sum of that."""
        ids = updates.client_ids.tolist()
        since = [clients[i]["since"] for i in ids]
        drifting = suspects.get("targeted", set())
        at_once = TESTED[:-1] if self.settings.judgement == "tests" else ("noise",)
        doubted = set().union(*(suspects.get(kind, set()) for kind in at_once))
        out = _flags("malicious" in s or i in doubted for i, s in zip(ids, since, strict=True))
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


def _held(files: list[Record], kind: str) -> Array:
    """Return against whom ``kind`` stands.  # [E]"""
    return np.array([kind in file["since"] for file in files])


def _flags(facts: Iterable[bool]) -> Tensor:
    return torch.tensor(list(facts), dtype=torch.bool)


def _chosen(ids: list[int], keep: Array) -> set[int]:
    return {i for i, hit in zip(ids, keep, strict=True) if hit}
