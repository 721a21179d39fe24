"""Codecs: how an update becomes bytes, and bytes an update."""

from ...core.contracts import Codec
from ...core.declarations import Codecs
from ...core.registry import Family

CODECS: Family[Codec] = Family(
    "codecs",
    "codec",
    ("init", "encode", "decode", "records", "max_body", "ideal_bits"),
    {
        "error_feedback": "gauntlet.clients.codecs.error_feedback:ErrorFeedback",
        "fp16": "gauntlet.clients.codecs.fp16:Fp16",
        "identity": "gauntlet.clients.codecs.identity:Identity",
        "terngrad": "gauntlet.clients.codecs.terngrad:TernGrad",
        "topk": "gauntlet.clients.codecs.topk:TopK",
    },
    declares=Codecs,
)
