"""The laws of codecs around another one, which remember: what they hand on, round by round."""

import numpy as np
from codec_draws import layout_of
from codec_laws import LAWS

from gauntlet.clients.codecs import CODECS


def name_of(codec):
    return next(name for name in CODECS.table if type(codec) is CODECS.find(name))


def check(rounds):
    """Assert that each round decodes to the mathematics of its codec, those before it included."""
    WRAPPED.get(name_of(rounds[0].codec), plain)(rounds)


def plain(rounds):
    for round_ in rounds:
        obey(round_, round_.updates.vectors.numpy())


def obey(round_, wanted):
    """Assert the law of a codec that does not remember on what it was handed [K, P]."""
    name = name_of(round_.codec)
    if name == "l_greco":
        layered(round_, wanted)
    else:
        LAWS[name](round_, wanted)


def layered(round_, wanted):
    """Each tensor by the codec inside with the value that the plan gives it."""
    shared, codec = round_.streams.shared, round_.codec
    for number, slot in enumerate(round_.layout.parameters):
        place = codec.uniform if shared is None else int(shared[number])
        where = slice(slot.start, slot.start + slot.size)
        inner = CODECS.build("topk", {"density": codec.menu[place]})
        own = round_._replace(codec=inner, layout=layout_of([slot.shape]), decoded=round_.decoded[:, where])
        obey(own, wanted[:, where])


def difference(rounds):
    for round_ in rounds:
        obey(round_._replace(codec=round_.codec._inner), round_.updates.vectors.numpy())


def error_feedback(rounds):
    """Karimireddy et al. (arXiv:1901.09847): p = e + u, and e is p less what was counted of it."""
    left = {}
    for round_ in rounds:
        ids, u = round_.updates.client_ids.tolist(), round_.updates.vectors.numpy()
        decay = np.float32(round_.codec.decay)
        p = np.stack([row + decay * left.get(i, np.zeros_like(row)) for i, row in zip(ids, u, strict=True)])
        obey(round_._replace(codec=round_.codec._inner), p)
        for i, row, d in zip(ids, p, round_.decoded, strict=True):
            left[i] = row - d if i in round_.counted else row


def momentum_correction(rounds):
    """Lin et al. (arXiv:1712.01887): v + m is sent, and what was counted of it leaves v and m."""
    m, v = {}, {}
    for round_ in rounds:
        ids, u = round_.updates.client_ids.tolist(), round_.updates.vectors.numpy()
        mu, zero = np.float32(round_.codec.momentum), np.zeros_like(u[0])
        own = {i: mu * m.get(i, zero) + row for i, row in zip(ids, u, strict=True)}
        wanted = {i: v.get(i, zero) + own[i] for i in ids}
        obey(round_._replace(codec=round_.codec._inner), np.stack([wanted[i] for i in ids]))
        for i, d in zip(ids, round_.decoded, strict=True):
            counted = i in round_.counted
            v[i] = wanted[i] - d if counted else wanted[i]
            masked = counted and round_.codec.masking
            m[i] = np.where(d != 0, 0, own[i]).astype(np.float32) if masked else own[i]


def ef21(rounds):
    """Richtarik et al. (arXiv:2106.05203): C(u - h) is sent, enters h, and is read with the mean of all h."""
    h, weights = {}, {}
    for round_ in rounds:
        ids, u = round_.updates.client_ids.tolist(), round_.updates.vectors.numpy()
        zero = np.zeros_like(u[0])
        total = sum((weights[i] * h.get(i, zero).astype(float) for i in weights), start=zero.astype(float))
        mean = (total / (sum(weights.values()) or 1)).astype(np.float32)
        size = np.abs(u).max() + max((np.abs(row).max() for row in h.values()), default=0)
        inner = round_.codec._inner
        c = np.stack([
            inner.decode(records, round_.layout, round_.streams.context(i)).numpy()
            for i, records in zip(ids, round_.records, strict=True)
        ])  # fmt: skip
        wanted = np.stack([row - h.get(i, zero) for i, row in zip(ids, u, strict=True)])
        obey(round_._replace(codec=inner, decoded=c), wanted)
        assert np.abs(round_.decoded - (mean + c)).max(initial=0) <= 1e-5 * size
        for i, row, n in zip(ids, c, round_.updates.num_examples.tolist(), strict=True):
            weights.setdefault(i, float(n) if round_.codec.weighting == "num_examples" else 1.0)
            if i in round_.counted:
                h[i] = h.get(i, zero) + row


WRAPPED = {law.__name__: law for law in (difference, ef21, error_feedback, momentum_correction)}
