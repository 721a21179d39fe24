"""A codec as it is after its first round, when the server knows which tensors a message has."""

from types import SimpleNamespace

import torch

from gauntlet.clients.codecs.contract.specimens import LAYOUT, P, mixed
from gauntlet.core.contracts import CodecStreams


def informed(codec, rounds=1):
    """Return a codec like ``codec`` that begins after ``rounds`` rounds, so that it shares what it learnt."""
    state, shared = codec.init(), None
    for number in range(rounds):
        _, state = codec.encode(mixed(), LAYOUT, state, CodecStreams(17, number, shared, "codec-contract"))
        shared = codec.share(torch.linspace(-1, 1, P), torch.linspace(1, 0, P), state)
    own = {name: getattr(codec, name) for name in dir(codec) if not name.startswith("_")}
    return SimpleNamespace(**own | {"init": lambda: state})
