"""Floor 2: robust aggregation: what the server does with a cohort's updates, some of which lie."""

from ..core.contracts import Defense, PreAggregation
from ..core.declarations import Defenses, PreAggregations
from ..core.registry import Family

DEFENSES: Family[Defense] = Family(
    "defenses",
    "defense",
    ("init", "aggregate"),
    {
        "mean": "gauntlet.defenses.mean:Mean",
        "median": "gauntlet.defenses.median:Median",
        "trimmed_mean": "gauntlet.defenses.trimmed_mean:TrimmedMean",
        "krum": "gauntlet.defenses.krum:Krum",
        "multi_krum": "gauntlet.defenses.multi_krum:MultiKrum",
        "geometric_median": "gauntlet.defenses.geometric_median:GeometricMedian",
        "bulyan": "gauntlet.defenses.bulyan:Bulyan",
        "meamed": "gauntlet.defenses.meamed:Meamed",
        "mda": "gauntlet.defenses.mda:MDA",
        "monna": "gauntlet.defenses.monna:MoNNA",
        "caf": "gauntlet.defenses.caf:CAF",
        "centered_clipping": "gauntlet.defenses.centered_clipping:CenteredClipping",
        "norm_clipping": "gauntlet.defenses.norm_clipping:NormClipping",
        "parameter_certificate": "gauntlet.defenses.parameter_certificate:ParameterCertificate",
        "mud_hog": "gauntlet.defenses.mud_hog:MudHog",
        "foolsgold": "gauntlet.defenses.foolsgold:FoolsGold",
        "fltrust": "gauntlet.defenses.fltrust:FLTrust",
        "flame": "gauntlet.defenses.flame:FLAME",
        "dnc": "gauntlet.defenses.dnc:DnC",
        "signguard": "gauntlet.defenses.signguard:SignGuard",
        "clipped_clustering": "gauntlet.defenses.clipped_clustering:ClippedClustering",
        "rlr": "gauntlet.defenses.rlr:RLR",
        "lasa": "gauntlet.defenses.lasa:LASA",
        "fldetector": "gauntlet.defenses.fldetector:FLDetector",
        "flanders": "gauntlet.defenses.flanders:FLANDERS",
        "zeno": "gauntlet.defenses.zeno:Zeno",
        "mgda": "gauntlet.defenses.mgda:MGDA",
        "orthogonal": "gauntlet.defenses.orthogonal:Orthogonal",
    },
    schemes={"flower": "gauntlet.server.flower.strategies:strategy_defense"},
    declares=Defenses,
)

PRE_AGGREGATIONS: Family[PreAggregation] = Family(
    "pre_aggregations",
    "pre-aggregation",
    ("init", "transform"),
    {
        "nnm": "gauntlet.defenses.nnm:NNM",
        "clipping": "gauntlet.defenses.clipping:Clipping",
        "arc": "gauntlet.defenses.arc:ARC",
        "bucketing": "gauntlet.defenses.bucketing:Bucketing",
        "pcgrad": "gauntlet.defenses.pcgrad:PCGrad",
        "gradient_calibration": "gauntlet.defenses.gradient_calibration:GradientCalibration",
    },
    declares=PreAggregations,
)
