"""What a malicious client does: to its examples, or to its update.

A scenario names an attack without saying which of the two it is: ``family_of`` knows.
"""

from typing import Any

from ...core.contracts import DataAttack, UpdateAttack
from ...core.declarations import DataAttacks, UpdateAttacks
from ...core.errors import PluginError, unknown
from ...core.registry import Family

DATA_ATTACKS: Family[DataAttack] = Family(
    "data_attacks",
    "data attack",
    ("poison",),
    {
        "label_flip": "gauntlet.attacks.poisoning.label_flip:LabelFlip",
        "multi_label_flip": "gauntlet.attacks.poisoning.multi_label_flip:MultiLabelFlip",
        "label_flip_all": "gauntlet.attacks.poisoning.label_flip_all:LabelFlipAll",
        "pixel_backdoor": "gauntlet.attacks.poisoning.pixel_backdoor:PixelBackdoor",
        "dba": "gauntlet.attacks.poisoning.dba:DistributedBackdoor",
        "optimized_trigger": "gauntlet.attacks.poisoning.optimized_trigger:OptimizedTrigger",
        "edge_case": "gauntlet.attacks.poisoning.edge_case:EdgeCase",
        "a3fl": "gauntlet.attacks.poisoning.a3fl:A3FL",
        "iba": "gauntlet.attacks.poisoning.iba:IBA",
        "chameleon": "gauntlet.attacks.poisoning.chameleon:Chameleon",
        "alternating_minimization": "gauntlet.attacks.poisoning.alternating_minimization:AlternatingMin",
        "label_swap": "gauntlet.attacks.poisoning.label_swap:LabelSwap",
        "semantic_backdoor": "gauntlet.attacks.poisoning.semantic_backdoor:SemanticBackdoor",
        "unreliable": "gauntlet.attacks.poisoning.unreliable:Unreliable",
    },
    declares=DataAttacks,
)

UPDATE_ATTACKS: Family[UpdateAttack] = Family(
    "update_attacks",
    "update attack",
    ("init", "corrupt"),
    {
        "sign_flip": "gauntlet.attacks.poisoning.sign_flip:SignFlip",
        "mean_sign_flip": "gauntlet.attacks.poisoning.mean_sign_flip:MeanSignFlip",
        "gaussian": "gauntlet.attacks.poisoning.gaussian:Gaussian",
        "additive_noise": "gauntlet.attacks.poisoning.additive_noise:AdditiveNoise",
        "ipm": "gauntlet.attacks.poisoning.ipm:InnerProductManipulation",
        "alie": "gauntlet.attacks.poisoning.alie:ALittleIsEnough",
        "non_finite": "gauntlet.attacks.poisoning.non_finite:NonFinite",
        "gradient_ascent": "gauntlet.attacks.poisoning.gradient_ascent:GradientAscent",
        "opt_ipm": "gauntlet.attacks.poisoning.opt_ipm:OptimalInnerProductManipulation",
        "opt_alie": "gauntlet.attacks.poisoning.opt_alie:OptimalALittleIsEnough",
        "min_max": "gauntlet.attacks.poisoning.min_max:MinMax",
        "min_sum": "gauntlet.attacks.poisoning.min_sum:MinSum",
        "fang_trim": "gauntlet.attacks.poisoning.fang_trim:FangTrim",
        "fang_krum": "gauntlet.attacks.poisoning.fang_krum:FangKrum",
        "byz_mean": "gauntlet.attacks.poisoning.byz_mean:ByzMean",
        "mimic": "gauntlet.attacks.poisoning.mimic:Mimic",
        "model_replacement": "gauntlet.attacks.poisoning.model_replacement:ModelReplacement",
        "train_and_scale": "gauntlet.attacks.poisoning.train_and_scale:TrainAndScale",
        "constrain_and_scale": "gauntlet.attacks.poisoning.constrain_and_scale:ConstrainAndScale",
        "neurotoxin": "gauntlet.attacks.poisoning.neurotoxin:Neurotoxin",
        "evasion": "gauntlet.attacks.poisoning.evasion:Evasion",
        "free_rider": "gauntlet.attacks.poisoning.free_rider:FreeRider",
        "poisonedfl": "gauntlet.attacks.poisoning.poisonedfl:PoisonedFL",
        "agr_tailored": "gauntlet.attacks.poisoning.agr_tailored:AGRTailored",
        "three_d_fed": "gauntlet.attacks.poisoning.three_d_fed:ThreeDFed",
        "permutation": "gauntlet.attacks.poisoning.permutation:Permutation",
        "sybil": "gauntlet.attacks.poisoning.sybil:Sybil",
        "zero": "gauntlet.attacks.poisoning.zero:Zero",
        "num_examples_inflation": "gauntlet.attacks.poisoning.num_examples_inflation:NumExamplesInflation",
    },
    declares=UpdateAttacks,
)


def family_of(name: str) -> Family[Any]:
    """Return the family of the attack ``name``: ``DATA_ATTACKS`` or ``UPDATE_ATTACKS``.

    Raises:
        PluginError: Nothing of that name, or it cannot be loaded, or it has the verb of neither or
            of both.
    """
    if ":" not in name:
        for family in (DATA_ATTACKS, UPDATE_ATTACKS):
            if name in family.names():
                return family
        raise PluginError(unknown("attack", name, [*DATA_ATTACKS.names(), *UPDATE_ATTACKS.names()]))
    found = Family[Any]("attacks", "attack", (), {}).find(name)
    has = {verb: callable(getattr(found, verb, None)) for verb in ("poison", "corrupt")}
    if has["poison"] and has["corrupt"]:
        raise PluginError(f"attack '{name}' has both poison and corrupt: make it two attacks")
    if not any(has.values()):
        raise PluginError(f"attack '{name}' has neither method poison (data) nor corrupt (update)")
    return DATA_ATTACKS if has["poison"] else UPDATE_ATTACKS
