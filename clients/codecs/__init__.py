"""Codecs: how an update becomes bytes, and bytes an update."""

from ...core.contracts import Codec
from ...core.declarations import Codecs
from ...core.registry import Family

CODECS: Family[Codec] = Family(
    "codecs",
    "codec",
    ("init", "encode", "decode", "records", "max_body", "ideal_bits"),
    {
        "count_sketch": "gauntlet.clients.codecs.count_sketch:CountSketch",
        "difference": "gauntlet.clients.codecs.difference:Difference",
        "dorefa": "gauntlet.clients.codecs.dorefa:DoReFa",
        "eblc": "gauntlet.clients.codecs.eblc:EBLC",
        "eden": "gauntlet.clients.codecs.eden:EDEN",
        "ef21": "gauntlet.clients.codecs.ef21:EF21",
        "error_feedback": "gauntlet.clients.codecs.error_feedback:ErrorFeedback",
        "few_bit": "gauntlet.clients.codecs.few_bit:FewBit",
        "fp16": "gauntlet.clients.codecs.fp16:Fp16",
        "frugal": "gauntlet.clients.codecs.frugal:Frugal",
        "gradnorm_lorp": "gauntlet.clients.codecs.gradnorm_lorp:GradNormLoRP",
        "grass": "gauntlet.clients.codecs.grass:Grass",
        "identity": "gauntlet.clients.codecs.identity:Identity",
        "int4": "gauntlet.clients.codecs.int4:Int4",
        "l_greco": "gauntlet.clients.codecs.l_greco:LGreco",
        "lift": "gauntlet.clients.codecs.lift:Lift",
        "low_rank": "gauntlet.clients.codecs.low_rank:LowRank",
        "momentum_correction": "gauntlet.clients.codecs.momentum_correction:MomentumCorrection",
        "natural": "gauntlet.clients.codecs.natural:Natural",
        "nf4": "gauntlet.clients.codecs.nf4:NF4",
        "one_byte": "gauntlet.clients.codecs.one_byte:OneByte",
        "power": "gauntlet.clients.codecs.power:Power",
        "powersgd": "gauntlet.clients.codecs.powersgd:PowerSGD",
        "qsgd": "gauntlet.clients.codecs.qsgd:QSGD",
        "randk": "gauntlet.clients.codecs.randk:RandK",
        "replay": "gauntlet.clients.codecs.replay:Replay",
        "sign": "gauntlet.clients.codecs.sign:Sign",
        "stc": "gauntlet.clients.codecs.stc:STC",
        "subspace": "gauntlet.clients.codecs.subspace:Subspace",
        "terngrad": "gauntlet.clients.codecs.terngrad:TernGrad",
        "topk": "gauntlet.clients.codecs.topk:TopK",
        "trit_planes": "gauntlet.clients.codecs.trit_planes:TritPlanes",
        "zero_rows": "gauntlet.clients.codecs.zero_rows:ZeroRows",
    },
    declares=Codecs,
)
