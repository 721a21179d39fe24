"""What each codec decodes to, stated once more, tensor by tensor, in float64, from its source.

A law is handed a round and what its clients wanted to send, and asserts what came. What a quantiser draws at
random is held to the two levels beside each value, and its sum to what is expected within 7 deviations and 4
steps: on tensors this small that sees no bias of a fraction of a step, which each codec's own test looks for.
"""

from math import inf

import numpy as np
from codec_law_levels import nf4, zero_rows
from codec_law_matrices import MATRIX_LAWS

HALF = 65504.0


def near(found, expected, size=None):
    """Assert equality up to float32's rounding of numbers as large as ``size``, by default the largest."""
    size = np.abs(expected).max(initial=0) if size is None else size
    off = np.abs(found - expected).max(initial=0)
    assert off <= 1e-5 * size + 1e-37, f"off by {off}, sizes {size}"


def halves(values):
    with np.errstate(under="ignore"):
        return np.clip(values.astype(np.float32), -HALF, HALF).astype(np.float16).astype(float)


def drawn_between(x, d, low, high):
    """Assert that d is ``low`` or ``high`` beside x [n], and that their sum fits."""
    step = high - low
    slack = 1e-5 * np.maximum(np.abs(low), np.abs(high)) + 1e-37
    assert (
        ((np.abs(d - low) <= slack) | (np.abs(d - high) <= slack)) & (low - slack <= x) & (x <= high + slack)
    ).all()
    units = np.divide(x - d, step, out=np.zeros_like(x), where=step > 1e-4 * np.abs(high))
    share = np.clip(np.divide(x - low, step, out=np.zeros_like(x), where=step > 1e-4 * np.abs(high)), 0, 1)
    assert abs(units.sum()) <= 7 * np.sqrt((share * (1 - share)).sum()) + 4


def in_buckets(values, size):
    return [values[at : at + (size or len(values))] for at in range(0, len(values), size or len(values) or 1)]


def identity(round_, x):
    assert np.array_equal(round_.decoded, x)


def fp16(round_, x):
    for _, _, own, d in round_.tensors(x):
        scale = np.float32(np.abs(own).max(initial=0) if round_.codec.scale == "max" else 1)
        units = own.astype(np.float32) / scale if scale else own.astype(np.float32)
        near(d, halves(units) * scale)


def sign(round_, x):
    for _, _, own, d in round_.tensors(x):
        sizes, below = np.abs(own), own < 0
        means = [sizes[part].mean() if part.any() else 0.0 for part in (below, ~below)]
        scale = {
            "l1": sizes.mean() if len(own) else 0,
            "l2": np.sqrt(np.square(sizes).mean()) if len(own) else 0,
            "one": float(sizes.any()),
            "two_means": np.where(below, *means),
        }[round_.codec.scale]
        near(d, np.where(below, -1, 1) * scale)


def terngrad(round_, x):
    codec, shared = round_.codec, round_.streams.shared
    number = len(round_.layout.parameters)
    for at, (_, slot, own, d) in enumerate(round_.tensors(x)):
        if slot.size < codec.size_to_binarize:
            near(d, own)
            continue
        if not slot.size:
            continue
        about = own - own.mean() if codec.sd == "std" else own
        bound = codec.clip * np.sqrt(np.square(about).mean()) if codec.clip else inf
        clipped = np.clip(own, -bound, bound)
        scale = bound if codec.scale == "cstd" else np.abs(clipped).max()
        if shared is not None and len(shared) == number and float(shared[at % number]):
            scale = float(shared[at % number])
        scale = codec.theta or scale
        clipped = np.clip(clipped, -scale, scale)
        low, high = np.where(clipped < 0, -scale, 0), np.where(clipped < 0, 0, scale)
        drawn_between(clipped, d, low, high)


def dorefa(round_, x):
    steps = 2**round_.codec.bits - 1 - round_.codec.zero_preserving
    for _, _, own, d in round_.tensors(x):
        for part, came in zip(*(in_buckets(v, round_.codec.bucket_size) for v in (own, d)), strict=True):
            most = np.abs(part).max()
            if not most:
                assert not came.any()
                continue
            place = (part / (2 * most) + 0.5) * steps
            low = np.floor(place + 1e-5 * (place - np.rint(place) < 0) * (np.rint(place) - place < 1e-5))
            drawn_between(part, came, (2 * low / steps - 1) * most, (2 * (low + 1) / steps - 1) * most)


def qsgd(round_, x):
    s = round_.codec.levels
    for _, _, own, d in round_.tensors(x):
        for part, came in zip(*(in_buckets(v, round_.codec.bucket_size) for v in (own, d)), strict=True):
            norm = np.linalg.norm(part) if round_.codec.norm == "l2" else np.abs(part).max()
            if not norm:
                assert not came.any()
                continue
            place = np.abs(part) / norm * s
            low = np.floor(place + 1e-5 * (np.rint(place) - place < 1e-5) * (np.rint(place) > place))
            assert (came * part >= 0).all()
            drawn_between(np.abs(part), np.abs(came), low * norm / s, (low + 1) * norm / s)


def natural(round_, x):
    for _, _, own, d in round_.tensors(x):
        sizes = np.abs(own)
        low = np.exp2(np.floor(np.log2(np.maximum(sizes, 2.0**-100))))
        assert (d * own >= 0).all()
        assert (d[own == 0] == 0).all()
        some = (sizes > 0) & (sizes < 2.0**18)  # larger ones are cut off there
        drawn_between(sizes[some], np.abs(d[some]), low[some], 2 * low[some])
        assert (np.abs(d[sizes >= 2.0**18]) == 2.0**18).all()


def eden(round_, x):
    """<R, S q> is the squared length with the unbiased scale, and ||S q||^2 with that of least error."""
    for _, _, own, d in round_.tensors(x):
        for part, came in zip(*(in_buckets(v, round_.codec.chunk) for v in (own, d)), strict=True):
            along, whole = part @ came, part @ part
            if not whole:
                assert not came.any()
            elif round_.codec.scale == "unbiased":
                assert abs(along - whole) <= 1e-4 * whole
            else:
                padded = len(part) & (len(part) - 1)
                assert came @ came <= along * (1 + 1e-4)
                assert padded or abs(came @ came - along) <= 1e-4 * whole


def kept_places(own, density):
    """Return the max(1, round(density n)) largest places, of equals the first."""
    order = sorted(range(len(own)), key=lambda i: (-abs(own[i]), i))
    return order[: min(len(own), max(1, round(density * len(own))))]


def topk(round_, x):
    for _, _, own, d in round_.tensors(x):
        expected, places = np.zeros_like(own), kept_places(own, round_.codec.density)
        expected[places] = halves(own[places]) if round_.codec.values == "f16" else own[places]
        assert np.array_equal(d, expected)


def stc(round_, x):
    for _, _, own, d in round_.tensors(x):
        expected, places = np.zeros_like(own), kept_places(own, round_.codec.density)
        places = [i for i in places if own[i]]
        if places:
            expected[places] = np.abs(own[places]).mean() * np.sign(own[places])
        near(d, expected)


def randk(round_, x):
    codec, supports = round_.codec, {}
    for k, slot, own, d in round_.tensors(x):
        count = min(slot.size, max(1, round(codec.density * slot.size)))
        factor = np.float32(slot.size / count if codec.scaled and count else 1)
        wanted = own.astype(np.float32) * factor
        wanted = halves(wanted) if codec.values == "f16" else wanted.astype(float)
        sent = d != 0
        assert np.array_equal(d[sent], wanted[sent])
        assert sent.sum() == count if wanted.all() else sent.sum() <= count
        whose = slot.name if codec.shared_support else (slot.name, k)
        supports[whose] = supports.get(whose, np.zeros(slot.size, dtype=bool)) | sent
        assert supports[whose].sum() <= count


def eblc(round_, x):
    bound = round_.codec.bound
    for _, _, own, d in round_.tensors(x):
        width = max(own.max(initial=0), 0) - min(own.min(initial=0), 0)
        assert (np.abs(own - d) <= bound * width * (1 + 1e-4) + 1e-37).all()
        if width:
            near(d / (2 * bound * width), np.rint(d / (2 * bound * width)), 10 / bound)


def int4(round_, x):
    """arXiv:2407.12637's interval for large entries, or that of least squared error, of 20 values each."""
    codec = round_.codec
    n, tried = 2 ** (codec.bits - 1) - 1, 0.9 ** np.arange(20)
    for _, _, own, d in round_.tensors(x):
        most = np.abs(own).max(initial=0)
        if not most:
            assert not d.any()
            continue
        units, came = own / most, d / most

        def rounded(gamma, units=units):
            return gamma * np.rint(np.clip(units / gamma, -1, 1) * n) / n

        fixed = {"max": [1.0], "minimax": [(2**codec.bits - 2) / (2**codec.bits - 1)]}
        gammas = fixed.get(codec.interval, tried)
        found = [
            g for g in gammas if np.abs(rounded(g) - came).max() <= 1.01 * g / n and _on_grid(came, g / n)
        ]
        assert found
        large = np.sort(np.abs(units))[::-1][: max(1, round(0.01 * len(units)))]

        def loss(gamma, units=units, large=large):
            if codec.interval == "large":
                return np.abs(gamma * np.rint(np.clip(large / gamma, -1, 1) * n) / n - large).sum()
            return np.square(rounded(gamma) - units).sum()

        assert min(map(loss, found)) <= min(map(loss, gammas)) + 1e-5
        off = min(np.abs(rounded(g) - came).max() for g in found)
        ties = min(_distance_to_ties(units / g * n).min() for g in found)
        assert off <= 1e-5 or ties < 1e-4


def _on_grid(values, step):
    return np.abs(values / step - np.rint(values / step)).max(initial=0) < 1e-2


def _distance_to_ties(places):
    return np.abs(places - np.floor(places) - 0.5)


def few_bit(round_, x):
    """Each value becomes the nearest of 2^bits levels, and no tensor loses more than its length."""
    for k, slot, own, d in round_.tensors(x):
        body = round_.records[k][round_.layout.parameters.index(slot)].body
        levels = np.frombuffer(body, "<f4", 1 << round_.codec.bits).astype(float)
        best = levels[np.abs(own[:, None] - levels).argmin(axis=1)]
        near(np.abs(own - d), np.abs(own - best), np.abs(own).max(initial=0))
        assert np.isin(d, levels).all()


def power(round_, x):
    codec, budget = round_.codec, {}
    exponents = (1, 0.75, 0.5, 0.35) if codec.exponent is None else (codec.exponent,)
    for k, slot, own, d in round_.tensors(x):
        bits = round_.records[k][round_.layout.parameters.index(slot)].body[5]
        budget[k] = budget.get(k, 0) + bits * slot.size
        assert bits in (0, *range(2, 9)) if codec.plan else bits == codec.bits
        most = np.abs(own).max(initial=0)
        if not bits or not most:
            assert not d.any()
            continue
        n, units = 2 ** (bits - 1) - 1, own / most
        fits = []
        for a in exponents:
            places = np.abs(units) ** a * n
            found = np.sign(units) * (np.rint(places) / n) ** (1 / a)
            sure = _distance_to_ties(places) > 1e-4
            fits.append(np.abs(found - d / most)[sure].max(initial=0) <= 1e-5)
        assert any(fits)
    assert all(total <= codec.bits * round_.layout.num_parameters for total in budget.values())


def trit_planes(round_, x):
    """Each value of a group is one of the nine sums of the two scales that were sent."""
    size = round_.codec.group
    for k, slot, own, d in round_.tensors(x):
        if not slot.size:
            continue
        body = round_.records[k][round_.layout.parameters.index(slot)].body
        groups = -(-slot.size // size)
        scales = np.frombuffer(body, "<f4", 2 * groups).reshape(groups, 2).astype(float)
        for (a, b), part, came in zip(scales, *(in_buckets(v, size) for v in (own, d)), strict=True):
            sums = np.array([a * i + b * j for i in (-1, 0, 1) for j in (-1, 0, 1)])
            near(np.abs(came[:, None] - sums).min(axis=1), 0, max(a, b))
            assert np.square(part - came).sum() <= np.square(part).sum() * (1 + 1e-5) + 1e-37


def count_sketch(round_, x):
    """FetchSGD's read-out (arXiv:2007.07682), summed cell by cell with the round's hashes."""
    codec, numel = round_.codec, round_.layout.num_parameters
    hashes = codec._hashes(numel, round_.streams.context(0))
    cells, signs = hashes.cells, hashes.signs
    for own, d in zip(x.astype(float), round_.decoded.astype(float), strict=True):
        sketch = np.zeros(cells.max(initial=0) + 1)
        for row, sign_row in zip(cells, signs, strict=True):
            for cell, value in zip(row, own * sign_row, strict=True):
                sketch[cell] += value
        medians = np.median(sketch[cells] * signs, axis=0)
        count = min(numel, max(1, round(codec.density * numel)))
        size = np.abs(own).sum()
        kept = d != 0
        near(d[kept], medians[kept], size)
        assert kept.sum() <= count
        least = np.sort(np.abs(medians))[-count]
        assert (np.abs(medians)[~kept] <= least + 1e-5 * size).all()


def one_byte(round_, x):
    """The nearest combination of the client's directions, each factor as one byte of the specification."""
    codec, numel = round_.codec, round_.layout.num_parameters
    for k, (own, d) in enumerate(zip(x.astype(float), round_.decoded.astype(float), strict=True)):
        context = round_.streams.context(int(round_.updates.client_ids[k]))
        z = np.stack(list(codec._directions(round_.layout, context).each())).astype(float)  # [S, P]
        codes = np.frombuffer(round_.records[k][0].body, np.uint8).astype(int)
        sizes = np.where(codes & 127, np.exp(((codes & 127) - 64) / 8), 0) * codec.unit
        factors = np.where(codes & 128, -sizes, sizes)
        near(d, factors @ z, np.abs(factors) @ np.abs(z).max(axis=1) if numel else 0)
        assert np.linalg.norm(own - d) <= np.linalg.norm(own) * (1 + 1e-5) + 1e-37
        wanted = np.linalg.lstsq(z.T, own, rcond=1e-10)[0] / codec.unit
        inside = (np.abs(wanted) > 4e-4) & (np.abs(wanted) < 2600)
        if factors.any() and len(z) <= numel // 2 and inside.all():
            off = np.abs(np.log(np.abs(wanted)) - np.log(sizes / codec.unit))
            assert (off <= 1 / 16 + 1e-3).all()


LAWS = {law.__name__: law for law in (
    count_sketch, dorefa, eblc, eden, few_bit, fp16, identity, int4, natural, nf4, one_byte, power, qsgd,
    randk, sign, stc, terngrad, topk, trit_planes, zero_rows,
)} | {"replay": identity, **MATRIX_LAWS}  # fmt: skip
"""From a codec's name to its law."""
