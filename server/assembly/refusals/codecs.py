"""What the codec of the downlink does not go with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....core.declarations import Algorithms, Codecs, declared
from ....core.errors import ScenarioError

if TYPE_CHECKING:
    from ..parts import Parts


def a_downlink_that_remembers(parts: Parts) -> ScenarioError | None:
    """A codec with a memory, or that needs something beforehand: parameters go down whole in every round."""
    remembers = parts.codec_down.init() is not None
    reads = declared(parts.codec_down, Codecs.reads_params)
    if not remembers and not reads and declared(parts.codec_down, Codecs.share) is None:
        return None
    why = "keeps a memory of its messages" if remembers else "sends something before each message"
    if reads:
        why = "counts on parameters that both sides hold"
    return ScenarioError(
        f"codec_down '{parts.spec.codec_down.name}' {why}, and the server sends its parameters anew in every "
        "round; use one without, such as fp16"
    )


def a_downlink_that_an_algorithm_does_not_expect(parts: Parts) -> ScenarioError | None:
    """A codec that loses something, with an algorithm whose own server half counts on what clients hold."""
    if not parts.brings(Algorithms.step) or declared(parts.codec_down, Codecs.lossless):
        return None
    return ScenarioError(
        f"algorithm '{parts.spec.algorithm.name}' counts on clients that hold the server's own parameters, "
        f"and codec_down '{parts.spec.codec_down.name}' changes them on the way; use identity"
    )
