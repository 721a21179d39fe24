"""How much of the clients' mean update PowerSGD loses: in the codec's one trip, and in the paper's two.

Usage: powersgd_trips.py [--rounds N] [--seeds S ...]. Updates of digits, MLP 64-64-10, 10 clients, one local
epoch, lr 0.4, that train with whole updates. Two trips, in numpy (Algorithm 1 of arXiv:1905.13727): P =
orthonormal mean of M_k Q, then Q = mean of M_k^T P, so that the result has the rank of one client's message;
"warm" goes on with the last round's Q, as the paper does. Both send rank (n + m) numbers a client. Prints
squared errors over the squared length of the mean: mean, and least to largest, over seeds, rounds and
matrices.
"""

import argparse
from collections.abc import Iterator

import numpy as np
import torch

from gauntlet.clients.codecs.parts.wire import decode_cohort, encode_cohort
from gauntlet.clients.codecs.powersgd import PowerSGD
from gauntlet.core.contracts import CodecStreams, LocalTraining
from gauntlet.core.layout import Layout
from gauntlet.core.updates import Updates
from gauntlet.server.round import run_round
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RunSpec

Array = np.ndarray
PARTITIONS = {"IID": PluginSpec("iid"), "Dirichlet 0.3": PluginSpec("dirichlet", {"alpha": 0.3})}
RANKS, ITERATIONS = (1, 2, 4), (1, 3)


def rounds_of(seed: int, partition: PluginSpec, rounds: int) -> Iterator[tuple[Layout, Updates]]:
    """Yield what a run's clients send."""
    training = LocalTraining(local_epochs=1, batch_size=32, lr=0.4)
    spec = RunSpec(
        seed=seed, rounds=rounds, num_clients=10, data=PluginSpec("digits"), partition=partition,
        model=PluginSpec("mlp", {"hidden": [64]}), training=training, rows=True,
    )  # fmt: skip
    simulation = prepare(spec)
    pool, state = simulation.serial_pool(), simulation.first
    for _ in range(rounds):
        state, outcome = run_round(simulation.plan, state, pool)
        yield simulation.plan.exchange.up, outcome.received
    pool.close()


def two_trips(matrices: Array, weights: Array, q: Array, iterations: int) -> tuple[Array, Array]:
    """Return the mean's approximation [n, m] and Q [m, rank], of matrices [K, n, m] and weights of sum 1."""
    for _ in range(iterations):
        p = np.linalg.qr(np.tensordot(weights, matrices @ q, 1))[0]
        q = np.tensordot(weights, np.swapaxes(matrices, 1, 2) @ p, 1)
    return p @ q.T, q


def in_one_trip(updates: Updates, layout: Layout, codec: PowerSGD, streams: CodecStreams) -> Array:
    """Return what the server decodes.  # [K, P]"""
    frames, _ = encode_cohort(codec, updates, layout, 9, None, streams)
    decoded, _ = decode_cohort(codec, frames, updates.client_ids.tolist(), layout, 9, streams)
    return decoded.double().numpy()


def errors_of(updates: Updates, layout: Layout, rank: int, where: tuple[int, int], warm: dict) -> dict:
    """Return the errors of one round's matrices, by way; ``where`` is the seed and the round."""
    weights = updates.num_examples.double().numpy()
    weights, found = weights / weights.sum(), {}
    for iterations in ITERATIONS:
        codec = PowerSGD(rank=rank, iterations=iterations)
        decoded = in_one_trip(updates, layout, codec, CodecStreams(*where))
        for number, slot in enumerate(layout.parameters):
            if (sides := codec._sides(slot.shape)) is None:
                continue
            part = slice(slot.start, slot.start + slot.size)
            matrices = updates.vectors[:, part].double().numpy().reshape(-1, *sides)
            mean = np.tensordot(weights, matrices, 1)
            start = np.random.default_rng((*where, number)).standard_normal((sides[1], rank))
            ours = np.tensordot(weights, decoded[:, part].reshape(-1, *sides), 1)
            ways = {f"one trip, {iterations} iterations": ours}
            ways[f"two trips, {iterations} iterations"] = two_trips(matrices, weights, start, iterations)[0]
            if iterations == 1:
                before = warm.get((rank, number), start)
                ways["two trips, warm"], warm[rank, number] = two_trips(matrices, weights, before, 1)
                u, s, v = np.linalg.svd(mean, full_matrices=False)
                ways["best matrix of the rank"] = (u[:, :rank] * s[:rank]) @ v[:rank]
            for way, made in ways.items():
                error = np.square(made - mean).sum() / np.square(mean).sum()
                found.setdefault(way, []).append(error)
    return found


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--rounds", type=int, default=10)
    asked.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    given = asked.parse_args()
    torch.set_num_threads(1)
    for label, partition in PARTITIONS.items():
        rows: dict[int, dict[str, list[float]]] = {rank: {} for rank in RANKS}
        for seed in given.seeds:
            warm: dict = {}
            for number, (layout, updates) in enumerate(rounds_of(seed, partition, given.rounds)):
                for rank in RANKS:
                    for way, found in errors_of(updates, layout, rank, (seed, number), warm).items():
                        rows[rank].setdefault(way, []).extend(found)
        for rank, ways in rows.items():
            for way, e in ways.items():
                print(f"| {label} | {rank} | {way} | {np.mean(e):.3f} ({min(e):.3f} to {max(e):.3f}) |")


if __name__ == "__main__":
    main()
