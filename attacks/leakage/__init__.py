"""Attacks that read what a client sent: rebuild its examples, or infer facts about them."""

from typing import Any

from ...core.contracts import InferenceAttack, LeakageAttack
from ...core.declarations import LeakageAttacks
from ...core.registry import Family

LEAKAGE_ATTACKS: Family[LeakageAttack] = Family(
    "leakage_attacks",
    "leakage attack",
    ("reconstruct",),
    {
        "dlg": "gauntlet.attacks.leakage.dlg:DLG",
        "idlg": "gauntlet.attacks.leakage.idlg:IDLG",
        "inverting_gradients": "gauntlet.attacks.leakage.inverting_gradients:InvertingGradients",
        "gradinversion": "gauntlet.attacks.leakage.gradinversion:GradInversion",
        "dia": "gauntlet.attacks.leakage.dia:DIA",
        "wiig": "gauntlet.attacks.leakage.wiig:WIIG",
        "unrolled": "gauntlet.attacks.leakage.unrolled:Unrolled",
        "summed_rounds": "gauntlet.attacks.leakage.summed_rounds:SummedRounds",
        "sme": "gauntlet.attacks.leakage.sme:SME",
        "altered_examples": "gauntlet.attacks.leakage.altered_examples:AlteredExamples",
        "bayes": "gauntlet.attacks.leakage.bayes:Bayes",
        "bias_trick": "gauntlet.attacks.leakage.bias_trick:BiasTrick",
        "spear": "gauntlet.attacks.leakage.spear:Spear",
        "rgap": "gauntlet.attacks.leakage.rgap:RGap",
        "embedding_rows": "gauntlet.attacks.leakage.embedding_rows:EmbeddingRows",
        "dager": "gauntlet.attacks.leakage.dager:DAGER",
        "tag": "gauntlet.attacks.leakage.tag:TAG",
        "lamp": "gauntlet.attacks.leakage.lamp:LAMP",
        "tiger": "gauntlet.attacks.leakage.tiger:TIGER",
        "recit_style": "gauntlet.attacks.leakage.recit_style:RecitStyle",
        "film": "gauntlet.attacks.leakage.film:FILM",
        "imprint_bins": "gauntlet.attacks.leakage.imprint_bins:ImprintBins",
        "trap_rows": "gauntlet.attacks.leakage.trap_rows:TrapRows",
    },
    declares=LeakageAttacks,
)

INFERENCE_ATTACKS: Family[InferenceAttack] = Family(
    "inference_attacks",
    "inference attack",
    ("infer",),
    {
        "bias_counts": "gauntlet.attacks.leakage.bias_counts:BiasCounts",
        "llg": "gauntlet.attacks.leakage.llg:LLG",
        "llg_whitebox": "gauntlet.attacks.leakage.llg_whitebox:LLGWhitebox",
        "ilrg": "gauntlet.attacks.leakage.ilrg:ILRG",
        "gradinversion_labels": "gauntlet.attacks.leakage.gradinversion_labels:GradInversionLabels",
        "negative_rows": "gauntlet.attacks.leakage.negative_rows:NegativeRows",
        "dimitrov_counts": "gauntlet.attacks.leakage.dimitrov_counts:DimitrovCounts",
        "backward_lens": "gauntlet.attacks.leakage.backward_lens:BackwardLens",
        "membership": "gauntlet.attacks.leakage.membership:Membership",
        "row_membership": "gauntlet.attacks.leakage.row_membership:RowMembership",
        "lira": "gauntlet.attacks.leakage.lira:LiRA",
        "property_inference": "gauntlet.attacks.leakage.property_inference:PropertyInference",
    },
    declares=LeakageAttacks,
)


def infers(name: str) -> bool:
    """Return whether a plug-in is an inference attack: by its name, or for ``place:Class`` by its verb.

    Raises:
        PluginError: There is no such class.
    """
    if ":" not in name:
        return name in INFERENCE_ATTACKS.names()
    found: Any = Family[Any]("any", "attack", (), {}).find(name)
    return callable(getattr(found, "infer", None))
