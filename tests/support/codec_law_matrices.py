"""The laws of codecs that send parts of matrices: see ``codec_laws``."""

from math import prod

import numpy as np

from gauntlet.core.seeds import generator


def near(found, expected, size):
    off = np.abs(found - expected).max(initial=0)
    assert off <= 2e-5 * size + 1e-37, f"off by {off}, sizes {size}"


def length(values):
    return np.linalg.norm(values)


def as_matrix(values, shape):
    """Return a tensor [n, ...] as the matrix whose columns are no more than its rows."""
    matrix = values.reshape(shape[0] if len(shape) > 1 else -1, prod(shape[1:]) if len(shape) > 1 else 1)
    return matrix.T if matrix.shape[0] < matrix.shape[1] else matrix


def basis_of(round_, number, shape):
    """Return the basis that the server told, or that both sides draw; None of a tensor that is sent whole.

    It is orthonormal, whoever made it.
    """
    codec, shared = round_.codec, round_.streams.shared
    short = min(shape[0], prod(shape[1:])) if len(shape) > 1 else 1
    if codec.rank >= short:
        return None
    if codec.refresh == "random":
        context = round_.streams.context(0)
        stream = generator(context.seed, "basis", context.round // codec.period, number)
        if getattr(codec, "space", "") == "columns":
            order = np.argsort(stream.bit_generator.random_raw(short), kind="stable")
            return np.eye(short)[:, order[: codec.rank]]
        return np.linalg.qr(stream.standard_normal((short, codec.rank)))[0]  # its span is what counts
    entry = None if shared is None else shared[number]
    if entry is None or entry["due"]:
        return None
    told = codec._bases.known(round_.layout, round_.streams.context(0))[number]  # read from what was told
    near(told.T @ told, np.eye(codec.rank), 1)
    return told


def low_rank(round_, x):
    for number, slot, own, d in numbered(round_, x):
        basis = basis_of(round_, number, slot.shape)
        if basis is None:
            assert np.array_equal(d, own)
            continue
        matrix = as_matrix(own, slot.shape)
        near(as_matrix(d, slot.shape), matrix @ basis @ basis.T, length(own))


def frugal(round_, x):
    for number, slot, own, d in numbered(round_, x):
        basis = basis_of(round_, number, slot.shape)
        if basis is None:
            assert np.array_equal(d, own)
            continue
        matrix = as_matrix(own, slot.shape)
        rest = matrix - matrix @ basis @ basis.T
        scale, came = np.abs(rest).mean(), as_matrix(d, slot.shape) - (matrix - rest)
        near(np.abs(came), scale, length(own))
        sure = np.abs(rest) > 1e-4 * np.abs(own).max(initial=0)
        assert (np.sign(came)[sure] == np.sign(rest)[sure]).all() or scale < 1e-4 * length(own)


def gradnorm_lorp(round_, x):
    params = round_.streams.params.numpy().astype(float)
    for number, slot, own, d in numbered(round_, x):
        basis = basis_of(round_, number, slot.shape)
        if basis is None:
            assert np.array_equal(d, own)
            continue
        rows = params[slot.start : slot.start + slot.size].reshape(slot.shape[0], -1)
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        gradient = own.reshape(rows.shape)
        along = (gradient * unit).sum(axis=1, keepdims=True) * unit
        rest = as_matrix((gradient - along).ravel(), slot.shape)
        near(as_matrix(d - along.ravel(), slot.shape), rest @ basis @ basis.T, length(own))


def grass(round_, x):
    codec, shared, seen = round_.codec, round_.streams.shared, {}
    for number, slot, own, d in numbered(round_, x):
        n = slot.shape[0] if len(slot.shape) > 1 and slot.size else 0
        r = max(1, round(codec.density * n))
        whole = codec.choice == "top" and (shared is None or shared["whole"])
        if not n or r >= n or whole:
            assert np.array_equal(d, own)
            continue
        rows, came = own.reshape(n, -1), d.reshape(n, -1)
        told = None if shared is None else shared["rows"][number].double().numpy()
        if codec.choice == "top":
            kept = sorted(range(n), key=lambda i: (-told[i], i))[:r]
            expected = np.zeros_like(rows)
            expected[kept] = rows[kept]
            assert np.array_equal(came, expected)
            continue
        q = np.full(n, 1 / n)
        if told is not None and told.sum() > 0:
            q = codec.uniform / n + (1 - codec.uniform) * told / told.sum()
        sent = came.any(axis=1)
        factors = seen.setdefault(number, np.zeros(n))
        for i in np.flatnonzero(sent):
            at = np.abs(rows[i]).argmax()
            factor = came[i, at] / rows[i, at]
            near(came[i], factor * rows[i], np.abs(came[i]).max())
            times = factor * r * q[i]
            assert abs(times - round(times)) < 1e-3
            assert round(times) >= 1
            assert not factors[i] or abs(factors[i] - factor) <= 1e-4 * factor
            factors[i] = factor
        drawn = np.rint(factors * r * q).sum()
        assert drawn == r if rows.any(axis=1).all() else drawn <= r


def lift(round_, x):
    codec, params = round_.codec, round_.streams.params.numpy().astype(float)
    for _, slot, own, d in numbered(round_, x):
        if len(slot.shape) < 2 or not slot.size:
            assert not d.any()
            continue
        n, m = slot.shape[0], prod(slot.shape[1:])
        wanted = codec.rank * (n + m) if codec.rank else round(codec.density * n * m)
        count = min(n * m, max(1, wanted))
        sent = d != 0
        assert np.array_equal(d[sent], own[sent])
        assert sent.sum() == count if own.all() else sent.sum() <= count
        if codec.score == "random":
            continue
        weights = params[slot.start : slot.start + slot.size].reshape(n, m)
        if codec.score == "lift":
            left, values, right = np.linalg.svd(weights, full_matrices=False)
            r = codec.filter_rank
            weights = (left[:, :r] * values[:r]) @ right[:r]
        scores = np.abs(weights).ravel()
        assert (scores[sent] >= np.sort(scores)[-count] - 1e-6 * scores.max()).all()


def powersgd(round_, x):
    codec = round_.codec
    for _, slot, own, d in numbered(round_, x):
        n, m = (slot.shape[0], prod(slot.shape[1:])) if len(slot.shape) > 1 else (0, 0)
        if not n * m or codec.rank * (n + m) * codec.min_ratio > n * m or codec.rank > min(n, m):
            assert np.array_equal(d, own)
            continue
        size, matrix = length(own), d.reshape(n, m)
        assert (np.linalg.svd(matrix, compute_uv=False)[codec.rank :] <= 1e-5 * size + 1e-37).all()
        assert abs((own - d) @ d) <= 1e-5 * size * size + 1e-37  # a projection, as P is orthonormal
        tail = np.linalg.svd(own.reshape(n, m), compute_uv=False)[codec.rank :]
        assert length(own - d) >= np.sqrt(np.square(tail).sum()) - 1e-5 * size  # Eckart and Young


def subspace(round_, x):
    shared = round_.streams.shared
    for own, d in zip(x.astype(float), round_.decoded.astype(float), strict=True):
        if shared is None:
            assert np.array_equal(d, own)
            continue
        basis = shared.double().numpy()
        near(basis.T @ basis, np.eye(basis.shape[1]), 1)
        along = basis @ (basis.T @ own)
        near(d, own - along if round_.codec.complement else along, length(own))


def numbered(round_, x):
    """Yield (the tensor's number, its slot, x, d) of each client's tensors."""
    places = {slot.name: number for number, slot in enumerate(round_.layout.parameters)}
    for _, slot, own, d in round_.tensors(x):
        yield places[slot.name], slot, own, d


MATRIX_LAWS = {
    law.__name__: law for law in (frugal, gradnorm_lorp, grass, lift, low_rank, powersgd, subspace)
}
