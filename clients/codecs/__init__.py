"""Codecs: how an update becomes bytes, and bytes an update."""

from ...core.contracts import Codec
from ...core.declarations import Codecs
from ...core.registry import Family

CODECS: Family[Codec] = Family(
    "codecs",
    "codec",
    ("init", "encode", "decode", "max_body"),
    {
        "identity": "gauntlet.clients.codecs.identity:Identity",
        "terngrad": "gauntlet.clients.codecs.terngrad:TernGrad",
    },
    declares=Codecs,
)
